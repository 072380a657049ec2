"""One shard after the other, in bounded memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.detectors import predict

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from al_rotate import RotatedInstances  # noqa: E402
from al_rotate.data import images  # noqa: E402
from al_rotate.detection import Detector  # noqa: E402
from al_rotate.detection import detector as module  # noqa: E402


def test_shard_by_shard_the_same(detector: Detector, scenes, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(module, "SHARD", 6)
    expected = predict(detector, scenes.images)
    for out in (None, tmp_path, tmp_path):  # the second time from what is there
        parts = list(detector.stream(scenes.images, progress=False, out=out))
        assert [len(part) for part in parts] == [6, 6, 4]
        assert RotatedInstances.concat(parts) == expected
    assert RotatedInstances.load(tmp_path) == expected


def test_the_model_is_itself_between_two_shards(detector: Detector, scenes, monkeypatch):
    monkeypatch.setattr(module, "SHARD", 6)
    parts = detector.stream(scenes.images, progress=False, class_scores=True, features=True)
    next(parts)
    assert "extract_feat" not in vars(detector.model)
    assert predict(detector, scenes.images).class_scores is None
    assert len(list(parts)) == 2


def test_it_checks_at_once_and_detects_when_iterated(detector: Detector, scenes, tmp_path: Path):
    decoded: list[str] = []

    def source(image_id: str):
        return lambda: decoded.append(image_id) or images.read(scenes.images / f"{image_id}.jpg", "BGR")

    with pytest.raises(ValueError, match="expected a score_thr of at least"):
        detector.stream(scenes.images, score_thr=0.001)
    image_ids = ["scene_0000", "scene_0001"]
    parts = detector.stream([(i, source(i)) for i in image_ids], progress=False, out=tmp_path)
    assert (decoded, [file.name for file in tmp_path.iterdir()]) == ([], ["detections.json"])
    assert [len(part) for part in parts] == [2]
    assert sorted(decoded) == image_ids
