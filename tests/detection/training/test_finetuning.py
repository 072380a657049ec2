from __future__ import annotations

import multiprocessing
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.detectors import equal_weights, read_weights, resnet18_options

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from al_rotate import evaluate  # noqa: E402
from al_rotate.data import synthetic  # noqa: E402
from al_rotate.detection import Detector, TrainingDiverged, finetune  # noqa: E402
from al_rotate.detection.checkpoints import read_checkpoint  # noqa: E402
from al_rotate.detection.small_models import small_rtmdet  # noqa: E402

NOWHERE = "https://weights.invalid/backbone.pth"  # .invalid is reserved by RFC 2606


class TestFinished:
    def test_what_is_left_behind(self, finetuned, scenes):
        metrics = finetuned.metrics
        assert metrics["iterations"] == 40
        assert np.isfinite(metrics["last_loss"])
        assert metrics["last_loss_cls"] < metrics["last_loss"]
        assert read_checkpoint(finetuned.checkpoint).classes == synthetic.CLASSES
        present = {synthetic.CLASSES[label] for label in scenes.labels.labels}
        per_class = {name.removeprefix("dota/AP/"): value for name, value in metrics.items() if "/AP/" in name}
        assert set(per_class) == present
        assert metrics["dota/mAP"] == pytest.approx(np.mean(list(per_class.values())))
        assert set(metrics) <= {"iterations", "last_loss", "last_loss_cls", "last_loss_bbox", "dota/mAP"} | {
            f"dota/AP/{name}" for name in present
        }

    def test_its_metrics_are_what_the_detector_then_reaches(self, finetuned, scenes):
        detector = Detector(finetuned.config, finetuned.checkpoint, "cpu", precision="fp32")
        detections = detector.predict(scenes.images, progress=False)
        for name, value in evaluate(detections, scenes.labels).metrics().items():
            assert finetuned.metrics[f"dota/{name}"] == pytest.approx(value, abs=1e-6), name
        assert finetuned.metrics["dota/mAP"] > 0  # else the comparison would show nothing

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
        assert equal_weights(read_weights(again.checkpoint), read_weights(finetuned.checkpoint))
        assert multiprocessing.active_children() == []


class TestKeptCheckpoints:
    def test_the_runners_own_are_deleted_on_request(self, quick, finetuned, tmp_path: Path):
        kept = finetune(**quick, work_dir=tmp_path)
        # The visualiser of an earlier training in this process writes into that one's folder no more.
        assert len([*tmp_path.rglob("scalars.json")]) == 1
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


class TestStart:
    def test_two_stage_from_other_classes_with_its_backbone(self, quick, two_stage, tmp_path: Path):
        """Oriented R-CNN trains on a CPU, by epochs; a learning rate of zero shows where it began."""
        start = two_stage.save(tmp_path / "fifteen.pth")
        options = {
            **resnet18_options("oriented-rcnn"),
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
        before, after = read_weights(start), read_weights(result.checkpoint)
        same = {name for name in after if torch.equal(before[name], after[name])}
        changed = {name for name in after if name not in same}
        assert after["roi_head.bbox_head.fc_cls.weight"].shape == (6, 1024)
        assert changed == {"roi_head.bbox_head.fc_cls.weight", "roi_head.bbox_head.fc_cls.bias"}

    def test_a_backbone_that_cannot_be_fetched(self, quick, tmp_path: Path):
        options = {**quick["cfg_options"], "model.backbone.init_cfg": {"type": "Pretrained", "checkpoint": NOWHERE}}
        message = r"pretrained weights that the config starts from.* put it at .*backbone\.pth.* at random with"
        with pytest.raises(ConnectionError, match=message):
            finetune(**{**quick, "cfg_options": options}, work_dir=tmp_path)

    def test_diverging_stops_with_advice(self, quick, tmp_path: Path):
        options = {**quick["cfg_options"], **small_rtmdet(64, iterations=30, lr=1e6)}
        options["optim_wrapper.clip_grad"] = None
        with pytest.raises(TrainingDiverged, match=r"the loss is (nan|inf) at iteration \d+, learning rate .* Lower"):
            finetune(**{**quick, "cfg_options": options}, work_dir=tmp_path)
        assert not list(tmp_path.glob("*.pth"))
        assert multiprocessing.active_children() == []  # the loader's process has ended, after an error too
