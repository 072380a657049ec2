"""Predictions on disk: a kill costs one shard, and a folder of another prediction is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers.detectors import MANY_BOXES, close, predict

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from al_rotate import RotatedInstances  # noqa: E402
from al_rotate.data import images  # noqa: E402
from al_rotate.data.tiling import Tiling  # noqa: E402
from al_rotate.data.views import View  # noqa: E402
from al_rotate.detection import Detector  # noqa: E402
from al_rotate.detection import detector as module  # noqa: E402
from al_rotate.detection.inference.pipeline import iterate_shards  # noqa: E402
from al_rotate.detection.inference.processes import Process  # noqa: E402
from al_rotate.detection.inference.shards import Shards  # noqa: E402


class TestShards:
    @pytest.fixture(autouse=True)
    def small_shards(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(module, "SHARD", 4)

    def test_a_kill_costs_one_shard(self, detector: Detector, finetuned, scenes, tmp_path: Path):
        script = tmp_path / "script.py"
        script.write_text(f"""
import time
from al_rotate import images
from al_rotate.detection import detector
detector.SHARD = 4
files = images.find({str(scenes.images)!r})
def slowly():
    for position, pair in enumerate(files.items()):
        if position == 9:
            time.sleep(600)
        yield pair
arguments = ({str(finetuned.config)!r}, {str(finetuned.checkpoint)!r}, "cpu", {MANY_BOXES!r})
loaded = detector.Detector(*arguments, precision="fp32")
loaded.predict(slowly(), out={str(tmp_path / "out")!r}, class_scores=True)
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
        detections = predict(detector, scenes.images, out=tmp_path / "out", class_scores=True)
        after = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "out").glob("part-*")}
        assert len(after) == 4
        assert before.items() <= after.items()
        assert detections == RotatedInstances.load(tmp_path / "out")
        undisturbed = predict(detector, scenes.images, out=tmp_path / "undisturbed", class_scores=True)
        assert undisturbed == predict(detector, scenes.images, class_scores=True)
        np.testing.assert_allclose(detections.class_scores, undisturbed.class_scores, atol=1e-5)
        assert close(detections.replace(class_scores=None), undisturbed.replace(class_scores=None))

    def test_a_folder_as_version_0_1_wrote_it_is_resumed(self, detector: Detector, scenes, tmp_path: Path):
        expected = predict(detector, scenes.images, out=tmp_path, score_thr=0.02)
        manifest = tmp_path / "detections.json"
        written = json.loads(manifest.read_text(encoding="utf-8"))
        facts = {"pipeline": str(detector._prepare), "precision": "fp32", "shard": 4, "tiling": None}
        settings = {"score_thr": 0.02, "class_scores": False, "features": False}
        old = json.dumps({"model": written["model"], **facts, **settings, "shards": 4}, indent=1)
        later = {"choice of bands": None, "stretch": None}  # facts that it did not know
        assert written == {**json.loads(old), **later}
        manifest.write_text(old, encoding="utf-8")
        for number in (1, 3):
            (tmp_path / f"part-0000{number}.parquet").unlink()
        first = (tmp_path / "part-00000.parquet").stat().st_mtime_ns
        assert predict(detector, scenes.images, out=tmp_path, score_thr=0.02) == expected
        assert (tmp_path / "part-00000.parquet").stat().st_mtime_ns == first
        assert json.loads(manifest.read_text(encoding="utf-8")) == written
        # Of a generator it did not know the number of shards.
        manifest.write_text(old.replace('"shards": 4', '"shards": null'), encoding="utf-8")
        assert predict(detector, scenes.images, out=tmp_path, score_thr=0.02) == expected
        assert json.loads(manifest.read_text(encoding="utf-8"))["shards"] is None

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

    def test_a_shard_of_images_that_have_changed_is_computed_again(self, detector: Detector, scenes, tmp_path: Path):
        pool, out = tmp_path / "pool", tmp_path / "out"
        shutil.copytree(scenes.images, pool)
        names = sorted(pool.iterdir())
        whole = names[5].read_bytes()
        names[5].write_bytes(whole[:-900])
        with pytest.warns(UserWarning, match="1 images could not be read"):
            before = predict(detector, pool, out=out)
        assert [*before.skipped] == [names[5].stem]
        written = {file.name: file.stat().st_mtime_ns for file in out.glob("part-*")}
        names[5].write_bytes(whole)  # repaired
        names[13].write_bytes(names[0].read_bytes())  # another image of this name
        after = predict(detector, pool, out=out)
        assert after == predict(detector, pool, out=tmp_path / "anew")
        assert not after.skipped
        same = [file.name for file in sorted(out.glob("part-*")) if file.stat().st_mtime_ns == written[file.name]]
        assert same == ["part-00000.parquet", "part-00002.parquet"]

    @pytest.mark.parametrize("call", ["predict_views", "predict_scenes"])
    def test_so_are_views_and_scenes(self, detector: Detector, scenes, tmp_path: Path, call: str):
        first, second = sorted(scenes.images.iterdir())[:2]
        file = tmp_path / "x.png"
        options = {"tiling": Tiling(64, 16)} if call == "predict_scenes" else {"views": [View(quarters=1)]}

        def found(source: Path) -> object:
            file.write_bytes(source.read_bytes())
            return getattr(detector, call)([file], progress=False, out=tmp_path / "out", **options)

        expected = getattr(detector, call)({"x": second}, progress=False, **options)
        assert found(first) != expected
        assert found(second) == expected

    def test_nor_is_a_strangers_folder_written_to(self, detector: Detector, scenes, tmp_path: Path):
        scenes.labels.save(tmp_path / "labels.parquet")
        with pytest.raises(ValueError, match=r"got other Parquet files"):
            predict(detector, scenes.images, out=tmp_path)
        assert [file.name for file in tmp_path.iterdir()] == ["labels.parquet"]


def test_files_that_change_between_calls(tmp_path: Path):
    """Of two shards of two images each, only those are made anew whose files have changed."""
    files = {name: tmp_path / f"{name}.png" for name in "abcd"}
    for file in files.values():
        file.write_bytes(b"x")

    def made() -> list[str]:
        shards, called = Shards(tmp_path / "out", {"model": "a"}, 2), []

        def detect(group: list[tuple[str, Path]]) -> RotatedInstances:
            called.append("".join(image_id for image_id, _ in group))
            return RotatedInstances.empty([image_id for image_id, _ in group])

        groups = [list(files.items())[:2], list(files.items())[2:]]
        list(iterate_shards(groups, lambda group: group, detect, shards, Process(), lambda _: None))
        return called

    assert [made(), made()] == [["ab", "cd"], []]
    files["c"].write_bytes(b"yy")
    assert [made(), made()] == [["cd"], []]
    files["a"].unlink()
    assert [made(), made()] == [["ab"], []]
    files["b"] = tmp_path / "elsewhere"
    files["b"].write_bytes(b"another image of this name")
    assert [made(), made()] == [["ab"], []]
    (tmp_path / "out" / "images-00000.txt").unlink()  # as earlier versions left it
    assert made() == []
