"""Scenes cut into tiles, detected in and merged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.detectors import close, predict
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from al_rotate import RotatedInstances  # noqa: E402
from al_rotate.data import images, tiling  # noqa: E402
from al_rotate.data.tiling import Tiling  # noqa: E402
from al_rotate.detection import Detector  # noqa: E402

BLANK = {"class_scores": None, "box_features": None, "image_features": None}
TILING = Tiling(128, 48)


@pytest.fixture(scope="module")
def wide(scenes, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two scenes of 256 x 224 pixels, each of four rendered ones side by side, and a small one."""
    folder = tmp_path_factory.mktemp("wide")
    pictures = [images.read(file) for file in images.find(scenes.images).values()]
    for k in range(2):
        a, b, c, d = pictures[4 * k : 4 * k + 4]
        whole = np.concatenate([np.concatenate([a, b], axis=1), np.concatenate([c, d], axis=1)])
        Image.fromarray(whole[:224]).save(folder / f"scene{k}.png")
    Image.fromarray(pictures[9][:100, :90]).save(folder / "small.png")
    return images.find(folder)


def test_as_if_cut_predicted_and_merged_by_hand(detector: Detector, wide, tmp_path: Path):
    detections = detector.predict_scenes(wide, TILING, progress=False, class_scores=True, features=True)
    assert detections.image_ids.tolist() == list(wide)
    assert detections.image_sizes.tolist() == [[256, 224], [256, 224], [90, 100]]
    files = tiling.cut(wide, tmp_path / "tiles", TILING)
    assert len(files) == 1 + 2 * 9
    tiles = predict(detector, files, class_scores=True, features=True)
    sizes = {scene: images.size(file) for scene, file in wide.items()}
    by_hand = tiling.merge(tiles, sizes, 0.1).subset(wide)
    assert detections.n_boxes > 10
    assert detections.n_boxes < tiles.n_boxes
    assert close(detections.replace(**BLANK), by_hand.replace(**BLANK))
    np.testing.assert_allclose(detections.image_features, by_hand.image_features, atol=1e-4)


def test_a_scene_of_one_tile_is_that_image(detector: Detector, scenes):
    """Of the tile's own size: nothing is padded, nothing is merged away."""
    files = dict(list(images.find(scenes.images).items())[:3])
    on_scenes = detector.predict_scenes(files, TILING, progress=False)
    for image_id, image in predict(detector, files):
        order = np.argsort(-image.scores, kind="stable")
        np.testing.assert_allclose(on_scenes[image_id].scores, image.scores[order], atol=1e-5)
        np.testing.assert_allclose(on_scenes[image_id].boxes, image.boxes[order], atol=1e-3)


def test_in_shards_and_with_broken_ones(detector: Detector, wide, tmp_path: Path, monkeypatch):
    (tmp_path / "empty.png").touch()
    cut_off = tmp_path / "half.png"
    cut_off.write_bytes(next(iter(wide.values())).read_bytes()[:5000])
    files = {**wide, "empty": tmp_path / "empty.png", "half": cut_off}
    expected = detector.predict_scenes(wide, TILING, progress=False)
    for _ in range(2):
        with pytest.warns(UserWarning, match="2 images could not be read"):
            detections = detector.predict_scenes(files, TILING, progress=False, out=tmp_path / "out")
        assert close(detections.replace(skipped={}), expected)
        assert {*detections.skipped} == {"empty", "half"}
    on_disk = RotatedInstances.load(tmp_path / "out")  # whoever only reads the folder learns of all scenes too
    assert {*on_disk.image_ids, *on_disk.skipped} == {*files}
    with pytest.raises(ValueError, match="with another tiling"):
        detector.predict_scenes(files, Tiling(100, 20), progress=False, out=tmp_path / "out")
    with pytest.raises(ValueError, match="with another tiling"):
        predict(detector, files, out=tmp_path / "out")


def test_scenes_are_no_decompression_bombs(detector: Detector, wide, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    with pytest.warns(UserWarning, match="2 images could not be read"):
        plain = predict(detector, wide)
    assert len(plain) == 1
    assert len(detector.predict_scenes(wide, TILING, progress=False)) == 3
    assert Image.MAX_IMAGE_PIXELS == 10_000


def test_every_scene_is_decoded_once(detector: Detector, wide):
    calls: list[str] = []

    def source(name: str, file: Path):
        return lambda: calls.append(name) or images.read(file, "BGR")

    pairs = [(name, source(name, file)) for name, file in wide.items()]
    detector.predict_scenes(pairs, TILING, progress=False, batch_size=2)
    # Once for its size, which a file has in its header, and once for its pixels.
    assert sorted(calls) == sorted([*wide, *wide])
