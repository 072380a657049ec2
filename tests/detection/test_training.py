from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from mmengine.config import Config  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402
from mmrotate.registry import DATASETS  # noqa: E402

from al_rotate import RotatedInstances, boxes, evaluate  # noqa: E402
from al_rotate.data import dataset as labelled  # noqa: E402
from al_rotate.data import synthetic  # noqa: E402
from al_rotate.detection import configs  # noqa: E402
from al_rotate.detection.checkpoints import read_checkpoint  # noqa: E402
from al_rotate.detection.detector import Detector  # noqa: E402
from al_rotate.detection.openmmlab.components import (  # noqa: E402
    RotatedInstancesDataset,
    TrainingDiverged,
)
from al_rotate.detection.small_models import small_rtmdet  # noqa: E402
from al_rotate.detection.training import finetune  # noqa: E402
from al_rotate.detection.training_config import training_config  # noqa: E402

RTMDET = "rotated_rtmdet_tiny-3x-dota"
NOWHERE = "https://weights.invalid/backbone.pth"  # .invalid is no one's, by RFC 2606


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The arguments of a training that takes a few seconds."""
    folder = tmp_path_factory.mktemp("quick")
    labels = synthetic.write_dataset(folder, 8, 64, seed=1)
    options = {
        **small_rtmdet(64, iterations=6),
        "train_dataloader.batch_size": 2,
        "train_dataloader.num_workers": 0,
        "default_hooks.checkpoint.interval": 2,
    }
    given = {"images": folder / "images", "labels": labels, "classes": synthetic.CLASSES, "cfg_options": options}
    return {"config": RTMDET, **given}


def weights(path: Path) -> dict[str, Any]:
    return read_checkpoint(path).state


def equal(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class TestDataset:
    @pytest.fixture
    def written(self, tmp_path: Path) -> tuple[Path, RotatedInstances]:
        """Five images, of any suffix, in no order, one without a box."""
        names = ["b/two.jpeg", "a.b.tiff", "empty.png", "b/one.webp", "z.JPG"]
        files = {}
        for name in names:
            files[name.rsplit(".", 1)[0]] = tmp_path / name
            (tmp_path / name).parent.mkdir(exist_ok=True)
            Image.new("RGB", (40, 30)).save(tmp_path / name)
        labels = RotatedInstances(
            list(files),
            [0, 2, 3, 3, 4, 5],
            [[10, 10, 8, 4, 0.5], [20, 20, 6, 3, -0.2], [9, 9, 4, 4, 0], [30, 20, 9, 2, 1.2], [5, 5, 4, 2, -1]],
            [1, 0, 1, 0, 0],
            classes=("ship", "plane"),
        )
        return labelled.write(tmp_path / "data.parquet", files, labels, labels.classes or ()), labels

    def build(self, path: Path, **kwargs: Any) -> RotatedInstancesDataset:
        return RotatedInstancesDataset(ann_file=str(path), metainfo={"classes": ("ship", "plane")}, **kwargs)

    def test_everything_is_there_in_order(self, written):
        path, labels = written
        dataset = self.build(path)
        assert [item["img_id"] for item in dataset] == ["b/two", "a.b", "empty", "b/one", "z"]
        assert [Path(item["img_path"]).name for item in dataset] == [
            "two.jpeg",
            "a.b.tiff",
            "empty.png",
            "one.webp",
            "z.JPG",
        ]
        found = [instance for item in dataset for instance in item["instances"]]
        assert [instance["bbox_label"] for instance in found] == labels.labels.tolist()
        corners = np.array([instance["bbox"] for instance in found]).reshape(-1, 4, 2)
        np.testing.assert_allclose(boxes.from_corners(corners), labels.boxes, atol=1e-5)
        assert dataset.get_cat_ids(0) == [1, 0]
        assert dataset.metainfo["classes"] == ("ship", "plane")

    def test_empty_images_leave_only_when_asked_to(self, written):
        path, _ = written
        counts = {
            None: 5,
            json.dumps({"filter_empty_gt": False}): 5,
            json.dumps({"filter_empty_gt": True}): 4,
        }
        for filter_cfg, count in counts.items():
            assert len(self.build(path, filter_cfg=filter_cfg and json.loads(filter_cfg))) == count
        assert len(self.build(path, filter_cfg={"filter_empty_gt": True}, test_mode=True)) == 5

    def test_its_images_look_as_the_detector_sees_them(self, written):
        path, _ = written
        turned = Image.fromarray(np.arange(3600, dtype=np.uint8).reshape(30, 40, 3))
        exif = Image.Exif()
        exif[0x0112] = 6
        turned.save(path.with_name("empty.png"), exif=exif)
        dataset = self.build(path, pipeline=[{"type": "mmrotate.LoadImageAsShown"}])
        loaded = dataset[2]
        assert loaded["img_shape"] == loaded["ori_shape"] == (40, 30)
        np.testing.assert_array_equal(loaded["img"], np.rot90(np.asarray(turned), -1)[..., ::-1])


class TestConfig:
    @pytest.fixture(autouse=True)
    def scope(self):
        init_default_scope("mmrotate")  # as a Runner does

    def test_empty_images_are_kept_unless_asked_otherwise(self, quick, tmp_path: Path):
        labels = quick["labels"]
        some = labels.where(labels.image_index != 0)
        empty = int((some.counts == 0).sum())
        assert empty > 0
        for keep, count in ((True, 8), (False, 8 - empty)):
            config = training_config(**{**quick, "labels": some, "keep_empty": keep}, work_dir=tmp_path)
            assert len(DATASETS.build(config.train_dataloader.dataset)) == count

    def test_shipped_configs_of_each_kind_become_trainable(self, quick, tmp_path: Path):
        """Data, classes and evaluator are put in their place, whatever the config wraps them in."""
        names = [
            "rotated_rtmdet_l-coco_pretrain-3x-dota_ms",
            "oriented-rcnn-le90_r50_fpn_1x_dota",
            "roi-trans-le90_r50_fpn_1x_dota",
            "rotated-retinanet-rbox-le90_r50_fpn_rr-6x_hrsc",
            "gliding-vertex-qbox_r50_fpn_1x_dota",
            "h2rbox-le90_r50_fpn_adamw-1x_dior",
        ]
        for name in names:
            given = {"images": quick["images"], "labels": quick["labels"], "classes": quick["classes"]}
            config = training_config(name, **given, work_dir=tmp_path / name, val=quick["labels"])
            again = Config.fromfile(tmp_path / name / "config.py")
            assert again.model == config.model
            for loader in (config.train_dataloader, config.val_dataloader):
                dataset = DATASETS.build(loader.dataset)
                assert dataset.metainfo["classes"] == synthetic.CLASSES
                sample = dataset[0]
                assert {"inputs", "data_samples"} == set(sample)
            # To resume takes a checkpoint of ours: one of elsewhere has no iterations to go on from.
            assert config.resume is not bool(config.get("load_from"))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"classes": ("a", "b")}, r"expected labels of the classes \('a', 'b'\), got \('vehicle'"),
            ({"labels": RotatedInstances.empty(["scene_0000"])}, "at least one box to train on, got <Rotated"),
            ({"images": {}}, "an image file for every label, got none for 8, e.g. 'scene_0000'"),
            ({"val": RotatedInstances.empty(["other"])}, "got none for 1, e.g. 'other'"),
        ],
    )
    def test_what_cannot_be_trained_on(self, quick, tmp_path: Path, change: dict[str, Any], message: str):
        with pytest.raises(ValueError, match=message):
            finetune(**{**quick, **change}, work_dir=tmp_path)
        assert not list(tmp_path.glob("*.pth"))


class TestFinished:
    def test_what_is_left_behind(self, finetuned, scenes):
        metrics = finetuned.metrics
        assert metrics["iterations"] == 40
        assert np.isfinite(metrics["last_loss"])
        assert metrics["last_loss_cls"] < metrics["last_loss"]
        assert read_checkpoint(finetuned.checkpoint).classes == synthetic.CLASSES
        there = {synthetic.CLASSES[label] for label in scenes.labels.labels}
        per_class = {name.removeprefix("dota/AP/"): value for name, value in metrics.items() if "/AP/" in name}
        assert set(per_class) == there
        assert metrics["dota/mAP"] == pytest.approx(np.mean(list(per_class.values())))
        assert set(metrics) <= {"iterations", "last_loss", "last_loss_cls", "last_loss_bbox", "dota/mAP"} | {
            f"dota/AP/{name}" for name in there
        }

    def test_its_metrics_are_what_the_detector_then_reaches(self, finetuned, scenes):
        detector = Detector(finetuned.config, finetuned.checkpoint, "cpu")
        found = detector.predict(scenes.images, progress=False)
        for name, value in evaluate(found, scenes.labels).metrics().items():
            assert finetuned.metrics[f"dota/{name}"] == pytest.approx(value, abs=1e-6), name
        assert finetuned.metrics["dota/mAP"] > 0  # it has learnt something, or this shows nothing

    def test_the_same_call_returns_at_once(self, finetuned, finetune_arguments):
        before = finetuned.checkpoint.stat().st_mtime_ns
        assert finetune(**finetune_arguments) == finetuned
        assert finetuned.checkpoint.stat().st_mtime_ns == before

    @pytest.mark.parametrize("change", ["labels", "val", "config", "checkpoint"])
    def test_another_call_is_refused_and_harms_nothing(self, finetuned, finetune_arguments, change: str, scenes):
        kept = {
            file: file.read_bytes()
            for file in finetuned.checkpoint.parent.rglob("*")
            if file.suffix in (".py", ".parquet")
        }
        fewer = scenes.labels.subset(scenes.labels.image_ids[:10])
        options = {**finetune_arguments["cfg_options"], "optim_wrapper.optimizer.lr": 1e-5}
        other = {"labels": fewer, "val": fewer, "config": options, "checkpoint": finetuned.checkpoint}[change]
        arguments = {**finetune_arguments, {"config": "cfg_options"}.get(change, change): other}
        with pytest.raises(ValueError, match=rf"holds a training with another {change}; choose another work_dir"):
            finetune(**arguments)
        assert {file: file.read_bytes() for file in kept} == kept

    def test_a_kill_after_the_last_iteration(self, finetuned, finetune_arguments, tmp_path: Path):
        """Evaluated, or written, again: the same figures, the same weights."""
        shutil.copytree(finetuned.checkpoint.parent, tmp_path / "work")
        (tmp_path / "work" / "finetuned.json").unlink()
        (tmp_path / "work" / "finetuned.pth").unlink()
        again = finetune(**{**finetune_arguments, "work_dir": tmp_path / "work"})
        assert again.metrics == pytest.approx(finetuned.metrics)
        assert equal(weights(again.checkpoint), weights(finetuned.checkpoint))
        assert multiprocessing.active_children() == []


class TestResume:
    def test_a_kill_costs_what_came_after_the_last_checkpoint(self, quick, tmp_path: Path):
        labels = quick["labels"].save(tmp_path / "labels.parquet")
        script = tmp_path / "script.py"
        script.write_text(f"""
import sys, time
from al_rotate import RotatedInstances, training
from al_rotate.detection.openmmlab.components import ProgressBar

after_train_iter = ProgressBar.after_train_iter
def wait(self, runner, *args, **kwargs):
    after_train_iter(self, runner, *args, **kwargs)
    if runner.iter == 4:
        time.sleep(600)  # the parent's moment
ProgressBar.after_train_iter = wait

arguments = {dict(quick, labels=None, images=str(quick["images"]))!r}
arguments["labels"] = RotatedInstances.load({str(labels)!r})
training.finetune(**arguments, work_dir={str(tmp_path / "work")!r})
""")
        process = subprocess.Popen([sys.executable, "-u", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        written = tmp_path / "work" / "last_checkpoint"
        while not (written.exists() and written.read_text().endswith("iter_4.pth")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        out, _ = process.communicate()
        assert out == b""

        # The next checkpoint was half written, and named already.
        whole = (tmp_path / "work" / "iter_4.pth").read_bytes()
        (tmp_path / "work" / "iter_6.pth").write_bytes(whole[: len(whole) // 2])
        written.write_text(str(tmp_path / "work" / "iter_6.pth"))
        with pytest.raises(ValueError, match="another labels"):
            finetune(**{**quick, "labels": quick["labels"].subset(["scene_0000"])}, work_dir=tmp_path / "work")
        result = finetune(**quick, work_dir=tmp_path / "work")
        assert result.metrics["iterations"] == 6
        logs = "".join(file.read_text() for file in (tmp_path / "work").rglob("*.log"))
        assert logs.count("resumed epoch: 0, iter: 4") == 1
        assert Detector(result.config, result.checkpoint, "cpu").classes == synthetic.CLASSES

    def test_nothing_trained_nothing_claimed(self, quick, tmp_path: Path):
        """A call that failed before its first checkpoint does not stand in the way of a corrected one."""
        with pytest.raises(ValueError, match="at least one box"):
            finetune(**{**quick, "labels": quick["labels"].where(quick["labels"].labels < 0)}, work_dir=tmp_path)
        assert finetune(**quick, work_dir=tmp_path).metrics["iterations"] == 6


class TestKeptCheckpoints:
    def test_the_runners_own_are_deleted_on_request(self, quick, tmp_path: Path):
        kept = finetune(**quick, work_dir=tmp_path)
        assert sorted(file.name for file in tmp_path.glob("*.pth")) == ["finetuned.pth", "iter_4.pth", "iter_6.pth"]
        for name in ("best_dota_mAP_iter_4.pth", "start.pth", "my_start.pth"):
            shutil.copy(kept.checkpoint, tmp_path / name)
        # The same training, finished: what is kept is no part of the claim.
        assert finetune(**quick, work_dir=tmp_path, keep_checkpoints=False) == kept
        assert sorted(file.name for file in tmp_path.glob("*.pth")) == ["finetuned.pth", "my_start.pth", "start.pth"]

    def test_after_a_training(self, quick, tmp_path: Path):
        result = finetune(**quick, work_dir=tmp_path, keep_checkpoints=False)
        assert [file.name for file in tmp_path.glob("*.pth")] == [result.checkpoint.name]
        assert finetune(**quick, work_dir=tmp_path) == result


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_request_as_version_0_1_wrote_it_is_recognised(quick, tmp_path: Path):
    labels, settings = quick["labels"], configs.load(quick["config"], quick["cfg_options"]).to_dict()
    arrays = [labels.offsets.tobytes(), labels.labels.tobytes(), labels.boxes.tobytes()]
    request = {
        "config": sha256(json.dumps((settings, list(quick["classes"]), 0, True), sort_keys=True, default=str).encode()),
        "labels": sha256(b"\0".join([*(image_id.encode() for image_id in labels.image_ids), *arrays])),
        "val": None,
        "checkpoint": None,
    }
    content = json.dumps(request, indent=1)
    (tmp_path / "request.json").write_text(content, encoding="utf-8")
    (tmp_path / "finetuned.json").write_text(json.dumps({"metrics": {"last_loss": 0.5}}), encoding="utf-8")
    (tmp_path / "finetuned.pth").touch()
    assert finetune(**quick, work_dir=tmp_path).metrics == {"last_loss": 0.5}
    assert (tmp_path / "request.json").read_text(encoding="utf-8") == content
    with pytest.raises(ValueError, match="holds a training with another config, val; choose another work_dir"):
        finetune(**quick, work_dir=tmp_path, val=labels, seed=1)


class TestStart:
    def test_two_stage_from_other_classes_with_its_backbone(self, quick, two_stage, tmp_path: Path, resnet18):
        """Oriented R-CNN trains on a CPU, by epochs; a learning rate of zero shows where it began."""
        start = two_stage.save(tmp_path / "fifteen.pth")
        options = {
            **resnet18("oriented-rcnn"),
            "load_from": NOWHERE,  # what a checkpoint of one's own replaces
            "model.train_cfg.rpn_proposal.nms_pre": 100,
            "model.train_cfg.rpn_proposal.max_per_img": 100,
            "model.train_cfg.rcnn.sampler.num": 64,
            "train_cfg.max_epochs": 1,
            "optim_wrapper.optimizer.lr": 0.0,
            "train_dataloader.batch_size": 4,
            "train_dataloader.num_workers": 0,
            "train_dataloader.dataset.pipeline": small_rtmdet(64)["train_dataloader.dataset.pipeline"],
        }
        config = "oriented-rcnn-le90_r50_fpn_1x_dota"
        result = finetune(
            **{**quick, "config": config, "cfg_options": options}, work_dir=tmp_path / "work", checkpoint=start
        )
        assert result.metrics["iterations"] == 2
        assert result.metrics["last_loss_rpn_cls"] > 0
        before, after = weights(start), weights(result.checkpoint)
        same = {name for name in after if torch.equal(before[name], after[name])}
        changed = {name for name in after if name not in same}
        assert after["roi_head.bbox_head.fc_cls.weight"].shape == (6, 1024)
        assert changed == {"roi_head.bbox_head.fc_cls.weight", "roi_head.bbox_head.fc_cls.bias"}

    def test_a_backbone_that_cannot_be_fetched(self, quick, tmp_path: Path):
        options = {**quick["cfg_options"], "model.backbone.init_cfg": {"type": "Pretrained", "checkpoint": NOWHERE}}
        with pytest.raises(ConnectionError, match=r"pretrained weights that the config starts from .* at random with"):
            finetune(**{**quick, "cfg_options": options}, work_dir=tmp_path)

    def test_diverging_stops_with_advice(self, quick, tmp_path: Path):
        options = {**quick["cfg_options"], **small_rtmdet(64, iterations=30, lr=1e6)}
        options["optim_wrapper.clip_grad"] = None
        with pytest.raises(TrainingDiverged, match=r"the loss is (nan|inf) at iteration \d+, learning rate .* Lower"):
            finetune(**{**quick, "cfg_options": options}, work_dir=tmp_path)
        assert not list(tmp_path.glob("*.pth"))
        assert multiprocessing.active_children() == []  # the loader's process has ended, after an error too


class TestElsewhere:
    def test_mmrotates_own_tool_runs_the_config(self, quick, tmp_path: Path):
        training_config(**quick, val=quick["labels"], work_dir=tmp_path / "work")
        tool = configs.SHIPPED.parent / "tools" / "train.py"
        command = [sys.executable, tool, tmp_path / "work" / "config.py", "--work-dir", tmp_path / "elsewhere"]
        options = ["--cfg-options", "train_cfg.max_iters=2", "train_cfg.val_interval=2"]
        done = subprocess.run([*map(str, command), *options], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        assert (tmp_path / "elsewhere" / "iter_2.pth").exists()
        assert "dota/mAP" in next((tmp_path / "elsewhere").rglob("*.log")).read_text()

    def test_two_processes_train_one_model(self, quick, finetuned, tmp_path: Path):
        labels = quick["labels"].save(tmp_path / "labels.parquet")
        options = {**quick["cfg_options"], **small_rtmdet(64, iterations=2, lr=0.0), "train_dataloader.num_workers": 0}
        script = tmp_path / "script.py"
        script.write_text(f"""
import json, os
from al_rotate import RotatedInstances, training
from al_rotate.checkpoints import read_checkpoint

labels = RotatedInstances.load({str(labels)!r})
arguments = {dict(quick, labels=None, images=str(quick["images"]), cfg_options=options)!r}
arguments.update(labels=labels, val=labels, checkpoint={str(finetuned.checkpoint)!r})
arguments["work_dir"] = {str(tmp_path / "work")!r}
result = training.finetune(**arguments)
read_checkpoint(result.checkpoint)  # there for every rank when the call returns
assert training.finetune(**arguments) == result
with open({str(tmp_path)!r} + "/rank" + os.environ["RANK"], "w") as file:
    json.dump(result.metrics, file)
""")
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
        done = subprocess.run([sys.executable, *launch], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        first, second = (json.loads((tmp_path / f"rank{rank}").read_text()) for rank in (0, 1))
        assert first == second
        assert (first["iterations"], "dota/mAP" in first) == (2, True)
        assert [file.name for file in (tmp_path / "work").glob("*.pth") if "iter" not in file.name] == ["finetuned.pth"]
        # Nothing but the statistics of batch normalisation moved from where it was told to start.
        before, after = weights(finetuned.checkpoint), weights(tmp_path / "work" / "finetuned.pth")
        learnt = [name for name in before if "running" not in name and "tracked" not in name]
        assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in learnt)


def test_slurm_of_one_task_is_no_distributed_training(quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A shell inside an allocation has SLURM_PROCID too."""
    for variable in ("LOCAL_RANK", "SLURM_PROCID", "SLURM_NTASKS"):
        monkeypatch.delenv(variable, raising=False)
    found = []
    for variables in ({}, {"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, {"SLURM_NTASKS": "2"}, {"LOCAL_RANK": "0"}):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        found.append(training_config(**quick, work_dir=tmp_path).launcher)
    assert found == ["none", "none", "slurm", "pytorch"]
