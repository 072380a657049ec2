from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from al_rotate import RotatedInstances, boxes  # noqa: E402
from al_rotate.data import images, synthetic, tiling  # noqa: E402
from al_rotate.data.tiling.tiles import Tiling  # noqa: E402
from al_rotate.data.views import View  # noqa: E402
from al_rotate.detection import configs  # noqa: E402
from al_rotate.detection import detector as module  # noqa: E402
from al_rotate.detection.checkpoints import read_checkpoint  # noqa: E402
from al_rotate.detection.detector import Detector  # noqa: E402
from al_rotate.detection.networks import features  # noqa: E402

RTMDET = "rotated_rtmdet_tiny-3x-dota"
MANY_BOXES = {"model.test_cfg.score_thr": 0.01, "model.test_cfg.nms_pre": 200, "model.test_cfg.max_per_img": 40}
DOTA = Path(__file__).resolve().parents[3] / "shared" / "data" / "dota" / "images"


def predict(detector: Detector, given: Any, **kwargs: Any) -> RotatedInstances:
    return detector.predict(given, progress=False, **kwargs)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Twelve images of nine sizes, in an order that is not the alphabet's."""
    folder = tmp_path_factory.mktemp("mixed")
    files = {}
    sizes = [(128, 128), (200, 200), (150, 100), (100, 150), (64, 64), (97, 131), (260, 128), (31, 40), (128, 96)]
    for i, (width, height) in enumerate(sizes + sizes[:3]):
        picture, _, _ = synthetic.render(max(width, height, 64), 100 + i)
        suffix = "jpg" if i % 2 else "png"
        files[f"z{99 - i}"] = folder / f"{99 - i}.{suffix}"
        Image.fromarray(picture[:height, :width]).save(files[f"z{99 - i}"])
    return files


def same_boxes(ours: RotatedInstances, theirs: list[Any]) -> None:
    """MMRotate's results, image by image and box by box, in canonical form."""
    for (image_id, one), sample in zip(ours, theirs, strict=True):
        found = sample.pred_instances
        np.testing.assert_array_equal(one.labels, found.labels.numpy(), err_msg=image_id)
        np.testing.assert_allclose(one.scores, found.scores.numpy(), atol=1e-5, err_msg=image_id)
        raw = getattr(found.bboxes, "tensor", found.bboxes).numpy()
        np.testing.assert_allclose(one.boxes, boxes.canonical(raw), atol=1e-3, err_msg=image_id)
        assert one.image_sizes[0].tolist() == list(sample.ori_shape[::-1])


def close(found: RotatedInstances, expected: RotatedInstances) -> bool:
    """Equal, but for what a batch of another size does to the last digits."""
    values = [(found.boxes, expected.boxes, 1e-3), (found.scores, expected.scores, 1e-5)]
    rounded = all(a.shape == b.shape and np.allclose(a, b, rtol=0, atol=atol) for a, b, atol in values)
    return rounded and found.replace(boxes=expected.boxes, scores=expected.scores) == expected


class TestEqualsMMRotate:
    def test_rtmdet(self, detector: Detector, finetuned, mixed: dict[str, Path]):
        from mmdet.apis import inference_detector, init_detector

        configs.load(finetuned.config)  # registers what the config names, as a user of MMRotate does
        theirs = init_detector(str(finetuned.config), str(finetuned.checkpoint), device="cpu", cfg_options=MANY_BOXES)
        found = predict(detector, mixed, batch_size=5)
        assert found.image_ids.tolist() == list(mixed)
        assert found.n_boxes > 50
        same_boxes(found, [inference_detector(theirs, str(file)) for file in mixed.values()])

    def test_oriented_rcnn(self, two_stage: Detector, mixed: dict[str, Path]):
        """Here images keep their shapes: a batch that mixed them would be padded, and found otherwise."""
        from mmdet.apis import inference_detector

        two_stage.model.cfg = two_stage.config
        found = predict(two_stage, mixed, batch_size=3)
        assert found.n_boxes > 50
        same_boxes(found, [inference_detector(two_stage.model, str(file)) for file in mixed.values()])

    @pytest.mark.parametrize(
        "name",
        [
            "rotated-fcos-le90_r50_fpn_1x_dota",
            "s2anet-le135_r50_fpn_1x_dota",  # deformable convolutions
            "r3det-oc_r50_fpn_1x_dota",  # features aligned by an operation of mmcv
            "roi-trans-le90_r50_fpn_1x_dota",  # and pooled by another
        ],
    )
    def test_other_architectures_against_a_model_of_mmrotates_own_making(self, name, resnet18, mixed, tmp_path: Path):
        """Weights that lie otherwise in memory must not be misread by mmcv's operations."""
        from mmdet.apis import inference_detector, init_detector

        torch.manual_seed(0)
        detector = Detector(name, device="cpu", cfg_options=resnet18(name), precision="fp32")
        if hasattr(detector.model, "roi_head"):  # scores far enough apart to choose the same proposals
            detector.model.rpn_head.rpn_cls.weight.data *= 30
            for head in detector.model.roi_head.bbox_head:
                head.fc_cls.weight.data *= 30
        theirs = init_detector(
            str(configs.find(name)),
            str(detector.save(tmp_path / "saved.pth")),
            device="cpu",
            cfg_options=resnet18(name),
        )
        some = dict(list(mixed.items())[:4])
        found = predict(detector, some, batch_size=1)
        assert found.n_boxes > 50
        for (image_id, one), file in zip(found, some.values(), strict=True):
            sample = inference_detector(theirs, str(file)).pred_instances
            np.testing.assert_allclose(np.sort(one.scores), np.sort(sample.scores.numpy()), atol=1e-4, err_msg=image_id)
            raw = boxes.canonical(getattr(sample.bboxes, "tensor", sample.bboxes).numpy())
            # Random weights give scores that all but tie: compared as sets.
            assert (boxes.iou(one.boxes, raw).max(axis=1) > 0.99).mean() > 0.9

    @pytest.mark.skipif(not DOTA.is_dir(), reason="needs the shared DOTA scenes")
    def test_a_dense_harbour(self, finetuned):
        """P0706 holds 531 ships."""
        from mmdet.apis import inference_detector

        resize = {"type": "mmdet.Resize", "scale": (1024, 1024), "keep_ratio": True}
        keys = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")
        options = {
            "model.test_cfg.score_thr": 0.005,
            "model.test_cfg.nms_pre": 2000,
            "test_dataloader.dataset.pipeline": [
                {"type": "mmdet.LoadImageFromFile"},
                resize,
                {"type": "mmdet.Pad", "size_divisor": 32, "pad_val": {"img": (114, 114, 114)}},
                {"type": "mmdet.PackDetInputs", "meta_keys": keys},
            ],
        }
        detector = Detector(finetuned.config, finetuned.checkpoint, "cpu", options, precision="fp32")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # minutes of training on tiny scenes: some boxes may have no end
            found = predict(detector, DOTA / "P0706.png", class_scores=True, features=True)
        assert found.image_sizes.tolist() == [[1111, 1182]]
        assert found.n_boxes > 100
        detector.model.cfg = detector.config
        theirs = inference_detector(detector.model, str(DOTA / "P0706.png"))
        raw = getattr(theirs.pred_instances.bboxes, "tensor", theirs.pred_instances.bboxes)
        theirs.pred_instances = theirs.pred_instances[(raw.abs() < 1e9).all(dim=1)]
        same_boxes(found, [theirs])


class TestInputs:
    def test_one_answer_however_images_are_given(self, detector: Detector, scenes):
        files = images.find(scenes.images)
        arrays = {image_id: np.ascontiguousarray(images.read(file)[..., ::-1]) for image_id, file in files.items()}
        expected = predict(detector, scenes.images)
        assert expected.image_ids.tolist() == list(files)
        assert expected.classes == synthetic.CLASSES
        assert expected.n_boxes > 50
        for given in (str(scenes.images), list(files.values()), files, arrays.items(), iter(list(files.items()))):
            assert predict(detector, given) == expected
        numbered = predict(detector, (array for array in arrays.values()))
        assert numbered.image_ids.tolist() == [str(i) for i in range(16)]
        assert numbered.replace(image_ids=expected.image_ids) == expected

    @pytest.mark.parametrize("which", ["detector", "two_stage"])
    def test_batches_and_threads_change_nothing(self, which: str, request: pytest.FixtureRequest, mixed):
        detector = request.getfixturevalue(which)
        single = predict(detector, mixed, batch_size=1, workers=1, class_scores=True)
        batched = predict(detector, mixed, batch_size=8, workers=3, class_scores=True)
        np.testing.assert_allclose(single.class_scores, batched.class_scores, atol=1e-5)
        assert close(single.replace(class_scores=None), batched.replace(class_scores=None))

    def test_the_order_is_the_one_given(self, detector: Detector, scenes):
        files = dict(reversed(images.find(scenes.images).items()))
        found = predict(detector, files, batch_size=3)
        assert found.image_ids.tolist() == list(files)
        assert close(found, predict(detector, scenes.images).subset(files))

    def test_no_images(self, detector: Detector, tmp_path: Path):
        for out in (None, tmp_path):
            found = predict(detector, [], out=out)
            assert (len(found), found.classes) == (0, synthetic.CLASSES)

    @pytest.mark.parametrize(
        ("array", "message"),
        [
            (np.zeros((8, 8), np.uint8), r"uint8 BGR, got uint8 \(8, 8\) for image 'odd'"),
            (np.zeros((8, 8, 4), np.uint8), r"got uint8 \(8, 8, 4\)"),
            (np.zeros((8, 8, 3)), r"got float64 \(8, 8, 3\)"),
            (np.zeros((0, 8, 3), np.uint8), r"got uint8 \(0, 8, 3\)"),
        ],
    )
    def test_other_arrays_are_refused(self, detector: Detector, array: Any, message: str):
        with pytest.raises(ValueError, match=message):
            predict(detector, [("odd", array)])

    def test_other_things_are_refused(self, detector: Detector):
        picture = Image.new("RGB", (64, 64))  # RGB, which an array of it would not tell
        with pytest.raises(TypeError, match="expected image files or arrays, got Image at position 0"):
            predict(detector, [picture])


class TestFiles:
    @pytest.fixture
    def broken(self, scenes, tmp_path: Path) -> dict[str, Path]:
        whole = (scenes.images / "scene_0000.jpg").read_bytes()
        (tmp_path / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
        (tmp_path / "zero.png").touch()
        (tmp_path / "text.jpg").write_text("not an image")
        return {name: tmp_path / name for name in ("truncated.jpg", "zero.png", "text.jpg", "missing.png")}

    def test_unreadable_ones_are_reported_and_the_rest_goes_on(
        self, detector: Detector, scenes, broken, tmp_path: Path
    ):
        good = dict(list(images.find(scenes.images).items())[:3])
        a, b, c = good
        given = {a: good[a], **broken, b: good[b], c: good[c]}
        with pytest.warns(UserWarning, match=r"4 images could not be read, the first truncated\.jpg: .*truncated"):
            found = predict(detector, given, batch_size=2)
        assert close(found, predict(detector, good))
        assert {name: reason.split(": ", 1)[0] for name, reason in found.skipped.items()} == {
            name: str(file) for name, file in broken.items()
        }
        assert "empty file" in found.skipped["zero.png"]
        assert "not an image" in found.skipped["text.jpg"]
        assert "No such file" in found.skipped["missing.png"]
        for _ in range(2):  # streamed, and streamed before
            with pytest.warns(UserWarning, match="4 images could not be read"):
                kept = predict(detector, given, batch_size=2, out=tmp_path / "out")
            assert (kept, kept.skipped) == (found, found.skipped)

    def test_nor_are_only_unreadable_ones_fatal(self, detector: Detector, broken, tmp_path: Path):
        for out in (None, tmp_path / "out"):
            with pytest.warns(UserWarning, match="4 images could not be read"):
                found = predict(detector, broken, out=out, class_scores=True, features=True)
            assert (len(found), list(found.skipped)) == (0, list(broken))

    def test_odd_but_good_files_look_as_they_are_shown(self, detector: Detector, tmp_path: Path):
        picture, _, _ = synthetic.render(150, 7)
        picture = picture[:100]  # 150 wide, 100 high
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned by 90 degrees clockwise
        Image.fromarray(picture).save(tmp_path / "turned.png", exif=exif)
        alpha = np.arange(15000, dtype=np.uint8).reshape(100, 150, 1)
        Image.fromarray(np.concatenate([picture, alpha], axis=2)).save(tmp_path / "rgba.png")
        grey = picture[..., 0].astype(np.uint16) * 256 + 77
        Image.fromarray(grey).save(tmp_path / "grey.png")
        shown = {
            "grey": np.repeat(picture[..., :1], 3, axis=2),
            "rgba": picture[..., ::-1],
            "turned": np.rot90(picture, -1)[..., ::-1],
        }
        found = predict(detector, tmp_path)
        assert found.image_sizes.tolist() == [[150, 100], [150, 100], [100, 150]]
        assert found.n_boxes > 3
        assert found == predict(detector, shown.items())


class TestShards:
    @pytest.fixture(autouse=True)
    def small_shards(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(module, "SHARD", 4)

    def test_a_kill_costs_one_shard(self, detector: Detector, finetuned, scenes, tmp_path: Path):
        script = tmp_path / "script.py"
        script.write_text(f"""
import time
from al_rotate import detector, images
detector.SHARD = 4
files = images.find({str(scenes.images)!r})
def slowly():
    for position, pair in enumerate(files.items()):
        if position == 9:
            time.sleep(600)
        yield pair
given = ({str(finetuned.config)!r}, {str(finetuned.checkpoint)!r}, "cpu", {MANY_BOXES!r})
made = detector.Detector(*given, precision="fp32")
made.predict(slowly(), out={str(tmp_path / "out")!r}, class_scores=True)
""")
        process = subprocess.Popen([sys.executable, "-u", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while not (tmp_path / "out" / "part-00001.parquet").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        out, _ = process.communicate()
        assert out == b""  # neither the packages nor the detector have anything to say

        (tmp_path / "out" / ".part-00002.parquet.1.tmp").write_bytes(b"half a shard")
        before = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "out").glob("part-*")}
        assert sorted(before) == ["part-00000.parquet", "part-00001.parquet"]
        found = predict(detector, scenes.images, out=tmp_path / "out", class_scores=True)
        after = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "out").glob("part-*")}
        assert len(after) == 4
        assert before.items() <= after.items()
        assert found == RotatedInstances.load(tmp_path / "out")
        undisturbed = predict(detector, scenes.images, out=tmp_path / "undisturbed", class_scores=True)
        assert undisturbed == predict(detector, scenes.images, class_scores=True)
        np.testing.assert_allclose(found.class_scores, undisturbed.class_scores, atol=1e-5)
        assert close(found.replace(class_scores=None), undisturbed.replace(class_scores=None))

    def test_other_settings_are_refused(self, detector: Detector, scenes, tmp_path: Path):
        predict(detector, scenes.images, out=tmp_path)
        with pytest.raises(ValueError, match="holds detections with another score_thr"):
            predict(detector, scenes.images, out=tmp_path, score_thr=0.5)
        with pytest.raises(ValueError, match="with another class_scores, features"):
            predict(detector, scenes.images, out=tmp_path, class_scores=True, features=True)

    def test_other_models_are_refused(self, detector: Detector, finetuned, scenes, tmp_path: Path):
        predict(detector, scenes.images, out=tmp_path)
        other = Detector(finetuned.config, finetuned.checkpoint, "cpu", MANY_BOXES, precision="fp32")
        predict(other, scenes.images, out=tmp_path)  # an equal one
        other.model.backbone.stem[0].conv.weight.data[0, 0, 0, 0] += 1e-3
        with pytest.raises(ValueError, match="with another model"):
            predict(other, scenes.images, out=tmp_path)
        fewer = {**MANY_BOXES, "model.test_cfg.nms_pre": 100}
        other = Detector(finetuned.config, finetuned.checkpoint, "cpu", fewer, precision="fp32")
        with pytest.raises(ValueError, match="with another model"):
            predict(other, scenes.images, out=tmp_path)

    def test_other_images_are_refused(self, detector: Detector, scenes, tmp_path: Path):
        files = images.find(scenes.images)
        predict(detector, files, out=tmp_path)
        first = dict(list(files.items())[:8])
        with pytest.raises(ValueError, match=r"expected 2 shards of these images in .*, got 4: it holds"):
            predict(detector, first, out=tmp_path)
        with pytest.raises(ValueError, match=r"expected 0 shards of these images"):
            predict(detector, [], out=tmp_path)
        with pytest.raises(ValueError, match=r"part-00000\.parquet holds detections of other images"):
            predict(detector, dict(reversed(files.items())), out=tmp_path)

    def test_nor_is_a_strangers_folder_written_to(self, detector: Detector, scenes, tmp_path: Path):
        scenes.labels.save(tmp_path / "labels.parquet")
        with pytest.raises(ValueError, match=r"got other Parquet files"):
            predict(detector, scenes.images, out=tmp_path)
        assert [file.name for file in tmp_path.iterdir()] == ["labels.parquet"]


class TestStream:
    def test_shard_by_shard_the_same(self, detector: Detector, scenes, tmp_path: Path, monkeypatch):
        monkeypatch.setattr(module, "SHARD", 6)
        expected = predict(detector, scenes.images)
        for out in (None, tmp_path, tmp_path):  # the second time from what is there
            parts = list(detector.stream(scenes.images, progress=False, out=out))
            assert [len(part) for part in parts] == [6, 6, 4]
            assert RotatedInstances.concat(parts) == expected
        assert RotatedInstances.load(tmp_path) == expected

    def test_the_model_is_itself_between_two_shards(self, detector: Detector, scenes, monkeypatch):
        monkeypatch.setattr(module, "SHARD", 6)
        parts = detector.stream(scenes.images, progress=False, class_scores=True, features=True)
        next(parts)
        assert "extract_feat" not in vars(detector.model)
        assert predict(detector, scenes.images).class_scores is None
        assert len(list(parts)) == 2


RANKED = """
import os, sys, time
from pathlib import Path
from al_rotate import detector, images
detector.SHARD = 2
files = images.find({images!r})
work = Path({work!r})
me = os.environ["RANK"]
slow = len(sys.argv) > 1 and me == sys.argv[1]

def read(file):
    if slow and (work / "out" / f"part-0000{{me}}.parquet").exists():
        (work / "pid").write_text(str(os.getpid()))
        time.sleep(600)  # with its second shard in hand
    return images.read(file, "BGR")

pairs = [(image_id, lambda file=file: read(file)) for image_id, file in files.items()]
made = detector.Detector({config!r}, {checkpoint!r}, "cpu", {options!r}, precision="fp32")
found = made.predict(pairs, out=work / "out", class_scores=True, progress=False)
found.save(work / f"rank{{me}}.parquet")
"""


class TestRanks:
    """torchrun on the CPU: every process its own shards, and all of them the whole."""

    def test_processes_share_the_shards_and_a_killed_one_costs_one(
        self, detector: Detector, finetuned, scenes, tmp_path: Path, monkeypatch
    ):
        script, out = tmp_path / "script.py", tmp_path / "out"
        given = {"config": str(finetuned.config), "checkpoint": str(finetuned.checkpoint), "options": MANY_BOXES}
        script.write_text(RANKED.format(images=str(scenes.images), work=str(tmp_path), **given))

        def launch(processes: int, *words: str) -> subprocess.Popen:
            run = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), str(script)]
            return subprocess.Popen([sys.executable, *run, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)

        two = launch(2, "1")
        wanted = [tmp_path / "pid", *(out / f"part-0000{k}.parquet" for k in (0, 2, 4, 6))]
        while not all(file.exists() for file in wanted):
            assert two.poll() is None, two.communicate()
            time.sleep(0.05)
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
        two.communicate()
        before = {file.name: file.stat().st_mtime_ns for file in out.glob("part-*")}
        assert sorted(before) == [f"part-0000{k}.parquet" for k in (0, 1, 2, 4, 6)]
        with pytest.raises(ValueError, match=r"expected 8 shards in .*, got 5: the prediction is not finished"):
            RotatedInstances.load(out)

        four = launch(4)  # by more processes than began
        _, errors = four.communicate()
        assert four.returncode == 0, errors[-3000:]
        after = {file.name: file.stat().st_mtime_ns for file in out.glob("part-*")}
        assert len(after) == 8
        assert before.items() <= after.items()

        monkeypatch.setattr(module, "SHARD", 2)
        alone = predict(detector, scenes.images, class_scores=True, out=tmp_path / "alone")
        assert RotatedInstances.load(out) == alone
        assert all(RotatedInstances.load(tmp_path / f"rank{k}.parquet") == alone for k in range(4))

    def test_a_stale_shard_of_another_process_is_noticed(self, detector: Detector, scenes, tmp_path: Path, monkeypatch):
        """The process that reads it has not written it."""
        monkeypatch.setattr(module, "SHARD", 8)
        files = images.find(scenes.images)
        predict(detector, files, out=tmp_path)
        first, *_, last = files
        changed = {image_id: file for image_id, file in files.items() if image_id != last} | {"other": files[first]}
        for name, value in {"RANK": 0, "WORLD_SIZE": 2}.items():
            monkeypatch.setenv(name, str(value))
        with pytest.raises(ValueError, match=r"part-00001\.parquet holds detections of other images"):
            predict(detector, changed, out=tmp_path)

    def test_each_streams_its_own(self, detector: Detector, scenes, tmp_path: Path, monkeypatch):
        monkeypatch.setattr(module, "SHARD", 6)
        monkeypatch.setattr(module, "cores", lambda: 2)
        parts = {}
        for number in (1, 0):
            for name, value in {"RANK": number, "WORLD_SIZE": 2}.items():
                monkeypatch.setenv(name, str(value))
            parts[number] = list(detector.stream(scenes.images, progress=False, out=tmp_path))
        monkeypatch.delenv("RANK")
        assert [[len(part) for part in parts[number]] for number in (0, 1)] == [[6, 4], [6]]
        both = RotatedInstances.concat([parts[0][0], parts[1][0], parts[0][1]])
        assert both == RotatedInstances.load(tmp_path) == predict(detector, scenes.images)


class TestScenes:
    TILING = Tiling(128, 48)

    @pytest.fixture(scope="class")
    def wide(self, scenes, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
        """Two scenes of 256 x 224 pixels, each of four rendered ones side by side, and a small one."""
        folder = tmp_path_factory.mktemp("wide")
        pictures = [images.read(file) for file in images.find(scenes.images).values()]
        for k in range(2):
            a, b, c, d = pictures[4 * k : 4 * k + 4]
            whole = np.concatenate([np.concatenate([a, b], axis=1), np.concatenate([c, d], axis=1)])
            Image.fromarray(whole[:224]).save(folder / f"scene{k}.png")
        Image.fromarray(pictures[9][:100, :90]).save(folder / "small.png")
        return images.find(folder)

    def test_as_if_cut_predicted_and_merged_by_hand(self, detector: Detector, wide, tmp_path: Path):
        found = detector.predict_scenes(wide, self.TILING, progress=False, class_scores=True, features=True)
        assert found.image_ids.tolist() == list(wide)
        assert found.image_sizes.tolist() == [[256, 224], [256, 224], [90, 100]]
        files = tiling.cut(wide, tmp_path / "tiles", self.TILING)
        assert len(files) == 1 + 2 * 9
        tiles = predict(detector, files, class_scores=True, features=True)
        sizes = {scene: images.size(file) for scene, file in wide.items()}
        by_hand = tiling.merge(tiles, sizes, 0.1).subset(wide)
        assert found.n_boxes > 10
        assert found.n_boxes < tiles.n_boxes
        assert close(found.replace(**BLANK), by_hand.replace(**BLANK))
        np.testing.assert_allclose(found.image_features, by_hand.image_features, atol=1e-4)

    def test_a_scene_of_one_tile_is_that_image(self, detector: Detector, scenes):
        """Of the tile's own size: nothing is padded, nothing is merged away."""
        given = dict(list(images.find(scenes.images).items())[:3])
        found = detector.predict_scenes(given, self.TILING, progress=False)
        plain = predict(detector, given)
        for image_id, one in plain:
            order = np.argsort(-one.scores, kind="stable")
            np.testing.assert_allclose(found[image_id].scores, one.scores[order], atol=1e-5)
            np.testing.assert_allclose(found[image_id].boxes, one.boxes[order], atol=1e-3)

    def test_in_shards_and_with_broken_ones(self, detector: Detector, wide, tmp_path: Path, monkeypatch):
        (tmp_path / "empty.png").touch()
        cut_off = tmp_path / "half.png"
        cut_off.write_bytes(next(iter(wide.values())).read_bytes()[:5000])
        given = {**wide, "empty": tmp_path / "empty.png", "half": cut_off}
        expected = detector.predict_scenes(wide, self.TILING, progress=False)
        for _ in range(2):
            with pytest.warns(UserWarning, match="2 images could not be read"):
                found = detector.predict_scenes(given, self.TILING, progress=False, out=tmp_path / "out")
            assert close(found.replace(skipped={}), expected)
            assert {*found.skipped} == {"empty", "half"}
        there = RotatedInstances.load(tmp_path / "out")  # nobody is lost who only reads the folder
        assert {*there.image_ids, *there.skipped} == {*given}
        with pytest.raises(ValueError, match="with another tiling"):
            detector.predict_scenes(given, Tiling(100, 20), progress=False, out=tmp_path / "out")
        with pytest.raises(ValueError, match="with another tiling"):
            predict(detector, given, out=tmp_path / "out")

    def test_scenes_are_no_decompression_bombs(self, detector: Detector, wide, monkeypatch):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
        with pytest.warns(UserWarning, match="2 images could not be read"):
            plain = predict(detector, wide)
        assert len(plain) == 1
        assert len(detector.predict_scenes(wide, self.TILING, progress=False)) == 3
        assert Image.MAX_IMAGE_PIXELS == 10_000

    def test_every_scene_is_decoded_once(self, detector: Detector, wide):
        asked: list[str] = []

        def source(name: str, file: Path):
            return lambda: asked.append(name) or images.read(file, "BGR")

        given = [(name, source(name, file)) for name, file in wide.items()]
        detector.predict_scenes(given, self.TILING, progress=False, batch_size=2)
        # Once for its size, which a file has in its header, and once for its pixels.
        assert sorted(asked) == sorted([*wide, *wide])


BLANK = {"class_scores": None, "box_features": None, "image_features": None}


class TestOptions:
    def test_score_thr_keeps_the_better_boxes(self, detector: Detector, scenes):
        every = predict(detector, scenes.images)
        threshold = float(np.median(every.scores))
        found = predict(detector, scenes.images, score_thr=threshold)
        assert 0 < found.n_boxes < every.n_boxes
        assert found == every.where(every.scores >= threshold)

    def test_score_thr_cannot_bring_back_what_the_config_drops(self, detector: Detector, two_stage: Detector):
        with pytest.raises(
            ValueError, match=r"at least the config's 0\.01, got 0\.001; .*'model\.test_cfg\.score_thr'"
        ):
            predict(detector, [], score_thr=0.001)
        with pytest.raises(ValueError, match=r"0\.05, got 0\.001; .*'model\.test_cfg\.rcnn\.score_thr': 0\.001"):
            predict(two_stage, [], score_thr=0.001)

    def test_bfloat16_is_close(self, detector: Detector, finetuned, scenes):
        exact = predict(detector, scenes.images, features=True)
        rough = Detector(finetuned.config, finetuned.checkpoint, "cpu", MANY_BOXES, precision="bf16")
        found = predict(rough, scenes.images, features=True)
        assert not np.array_equal(found.image_features, exact.image_features)
        np.testing.assert_allclose(found.image_features, exact.image_features, rtol=0.05, atol=0.05)
        # So short a training may leave boxes of a million pixels, which are not close to anything.
        sound = exact.where((exact.scores > 0.05) & (exact.boxes[:, 2:4] < 128).all(axis=1))
        hits = [boxes.iou(one.boxes, found[image_id].boxes).max(axis=1, initial=0) > 0.8 for image_id, one in sound]
        assert np.concatenate(hits).mean() > 0.9
        assert predict(detector, scenes.images, features=True) == exact  # and nothing of it stays behind

    def test_an_unknown_precision_is_refused(self):
        with pytest.raises(ValueError, match="precision auto, fp32 or bf16, got 'fp16'"):
            Detector(RTMDET, precision="fp16")  # type: ignore[arg-type]


class TestFeatures:
    def test_pooling_by_hand(self):
        """Levels that hold the x and y of each of their pixels, in a picture of 64 x 32."""
        levels = []
        for stride in (8, 16):
            y, x = np.mgrid[0 : 32 // stride, 0 : 64 // stride]
            levels.append(torch.tensor(np.stack([x, y]) * stride + stride / 2))
        centres = torch.tensor([[20.0, 12.0], [33.0, 16.0], [0.0, 32.0]], dtype=torch.float64)
        image, at_boxes = features.pooled(levels, centres, (64, 32))
        assert image.tolist() == [32, 16]
        # The corner lies beyond the outermost pixels' middles: 4 and 8, 28 and 24.
        np.testing.assert_allclose(at_boxes, [[20, 12], [33, 16], [6, 26]])

    def test_no_centres_no_rows(self):
        image, at_boxes = features.pooled([torch.ones(3, 2, 2)], torch.zeros(0, 2), (8, 8))
        assert (image.tolist(), tuple(at_boxes.shape)) == ([1, 1, 1], (0, 3))

    def test_levels_of_different_widths_are_refused(self):
        with pytest.raises(NotImplementedError, match="same number of channels"):
            features.pooled([torch.ones(3, 2, 2), torch.ones(4, 1, 1)], torch.zeros(0, 2), (8, 8))

    @pytest.mark.parametrize("which", ["detector", "two_stage"])
    def test_one_vector_an_image_and_a_box(self, which: str, request: pytest.FixtureRequest, scenes):
        detector = request.getfixturevalue(which)
        found = predict(detector, scenes.images, features=True)
        width = {"detector": 64, "two_stage": 256}[which]
        assert found.image_features.shape == (16, width)
        assert found.box_features.shape == (found.n_boxes, width)
        assert len(np.unique(found.image_features, axis=0)) == 16
        assert found.replace(image_features=None, box_features=None) == predict(detector, scenes.images)

    def test_the_vectors_are_those_of_the_necks_maps(self, detector: Detector, scenes):
        """At twice the network's size, so that boxes and maps are on different scales."""
        array = np.repeat(np.repeat(images.read(scenes.images / "scene_0003.jpg"), 2, axis=0), 2, axis=1)[..., ::-1]
        found = predict(detector, [array], features=True)
        data = detector._prepare(("0", np.ascontiguousarray(array)))
        given = detector.model.data_preprocessor({"inputs": [data["inputs"]], "data_samples": [data["data_samples"]]})
        with torch.no_grad():
            levels = detector.model.extract_feat(given["inputs"])
        np.testing.assert_allclose(
            found.image_features[0], np.mean([level[0].mean(dim=(1, 2)).numpy() for level in levels], axis=0), atol=1e-5
        )
        assert found.n_boxes > 0
        for box, vector in zip(found.boxes, found.box_features, strict=True):
            sampled = []
            for level, stride in zip(levels, (8, 16, 32), strict=True):
                _, height, width = level[0].shape
                x, y = np.clip(box[:2] / 2 / stride - 0.5, 0, [width - 1, height - 1])
                left, top = min(int(x), width - 2), min(int(y), height - 2)
                u, v = x - left, y - top
                patch = level[0, :, top : top + 2, left : left + 2].numpy()
                sampled.append(((1 - v) * patch[:, 0] + v * patch[:, 1]) @ [1 - u, u])
            np.testing.assert_allclose(vector, np.mean(sampled, axis=0), atol=1e-4)


class TestConstruction:
    def test_random_weights_are_silent_and_the_configs_own(self, capfd: pytest.CaptureFixture[str]):
        made = Detector(RTMDET, device="cpu")
        assert made.checkpoint is None
        assert made.classes == configs.dataset_classes(made.config)
        assert not any(isinstance(part, torch.nn.SyncBatchNorm) for part in made.model.modules())
        assert float(made.model.bbox_head.rtm_cls[0].bias.detach()[0]) == pytest.approx(-np.log(99))  # bias_prob 0.01
        assert capfd.readouterr() == ("", "")

    def test_classes_come_from_the_checkpoint(self, finetuned):
        assert Detector(finetuned.config, finetuned.checkpoint, "cpu").classes == synthetic.CLASSES
        wrong = {"three": ("a", "b", "c"), "other order": synthetic.CLASSES[::-1]}
        for classes in wrong.values():
            with pytest.raises(ValueError, match=r"expected the 5 classes of .*finetuned\.pth, .* got \("):
                Detector(finetuned.config, finetuned.checkpoint, "cpu", classes=classes)

    def test_another_configs_checkpoint_is_refused(self, finetuned):
        with pytest.raises(ValueError, match=r"expected a checkpoint of this config's model, .* the config\.py beside"):
            Detector(RTMDET, finetuned.checkpoint, "cpu")

    def test_weights_that_nobody_published(self, finetuned):
        with pytest.raises(ValueError, match="expected a config whose weights MMRotate publishes, got config"):
            Detector(finetuned.config, "zoo", "cpu")

    def test_saved_and_read_again(self, detector: Detector, finetuned, tmp_path: Path):
        path = detector.save(tmp_path / "saved.pth")
        saved, kept = read_checkpoint(path), read_checkpoint(finetuned.checkpoint)
        assert saved.classes == kept.classes
        assert all(torch.equal(saved.state[name], kept.state[name]) for name in kept.state)


def test_a_box_without_an_end_does_not_stop_the_rest(finetuned, scenes):
    """What a training of minutes may come to: some boxes whose size, an exponential, is too large for a number."""
    weak = Detector(finetuned.config, finetuned.checkpoint, "cpu", MANY_BOXES)
    weak.model.bbox_head.rtm_reg[2].bias.data.fill_(100)
    with pytest.warns(UserWarning, match=r"\d+ boxes in \d+ images, the first scene_\d+, are left out: .* not finite"):
        found = predict(weak, scenes.images, class_scores=True, features=True)
    assert len(found) == 16
    assert found.n_boxes > 0
    np.testing.assert_array_equal(found.class_scores[np.arange(found.n_boxes), found.labels], found.scores)
    assert len(found.box_features) == found.n_boxes


class TestViews:
    VIEWS = (View(), View(flip=True), View(True, 1), View(degrees=5, scale=0.8, noise=4))

    def test_what_is_seen_in_each_view_comes_back(self, detector: Detector, mixed):
        """As if each view had been made and predicted on alone, and its boxes mapped back by hand."""
        found = detector.predict_views(mixed, self.VIEWS, progress=False, batch_size=3)
        assert close(found[0], predict(detector, mixed))
        for view, part in zip(self.VIEWS[1:3], found[1:3], strict=True):
            seen = {i: view.pixels(images.read(file))[..., ::-1] for i, file in mixed.items()}
            alone = predict(detector, seen.items())
            assert part.image_ids.tolist() == list(mixed)
            np.testing.assert_allclose(part.scores, alone.scores, atol=1e-4)
            assert [images.size(mixed[i]) for i in mixed] == list(map(tuple, part.image_sizes.tolist()))
            for (image_id, one), (_, other) in zip(part, alone, strict=True):
                there = view.boxes(one.boxes, *images.size(mixed[image_id]))
                np.testing.assert_allclose(boxes.iou(there, other.boxes, paired=True), 1, atol=1e-3)
        assert found[3].n_boxes > 0
        again = detector.predict_views(mixed, self.VIEWS, progress=False, batch_size=3)
        assert again[3] == found[3]  # noise and all

    def test_arrays_broken_files_and_a_kill(self, detector: Detector, mixed, tmp_path):
        broken = tmp_path / "broken.png"
        broken.write_bytes(next(iter(mixed.values())).read_bytes()[:60])
        files = dict(list(mixed.items())[:3]) | {"broken": broken}
        with pytest.warns(UserWarning, match="2 images could not be read"):
            found = detector.predict_views(files, self.VIEWS[1:3], progress=False, out=tmp_path / "out")
        assert [part.image_ids.tolist() for part in found] == [list(files)[:3]] * 2
        assert [list(part.skipped) for part in found] == [["broken"]] * 2
        with pytest.warns(UserWarning, match="2 images could not be read"):
            assert detector.predict_views(files, self.VIEWS[1:3], progress=False, out=tmp_path / "out") == found
        arrays = [(i, np.ascontiguousarray(images.read(file)[..., ::-1])) for i, file in list(mixed.items())[:3]]
        given = detector.predict_views(arrays, self.VIEWS[1:3], progress=False)
        assert [close(one, other.replace(skipped={})) for one, other in zip(given, found, strict=True)] == [True, True]

    def test_views_must_be_distinct(self, detector: Detector, mixed):
        for views in ((), (View(), View(quarters=4))):
            with pytest.raises(ValueError, match="expected distinct views, got"):
                detector.predict_views(mixed, views)
