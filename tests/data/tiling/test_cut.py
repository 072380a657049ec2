"""Scenes cut into tile files, and their labels distributed to the tiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from al_rotate.data import RotatedInstances, images
from al_rotate.data.tiling import Tile, Tiling, cut, cut_labels

SIZES = {"a": (300, 200)}
ACROSS = Tiling(200, 100)  # of a 300 x 200 scene: two tiles, at x 0 and 100


def test_tiles_as_files(tmp_path: Path):
    scene = np.random.default_rng(1).integers(0, 255, (200, 300, 3), np.uint8)
    (tmp_path / "scenes" / "sub").mkdir(parents=True)
    Image.fromarray(scene).save(tmp_path / "scenes" / "sub" / "a.png")
    files = cut(tmp_path / "scenes", tmp_path / "tiles", ACROSS)
    assert list(files) == ["sub/a__200__0___0", "sub/a__200__100___0"]
    assert images.find(tmp_path / "tiles") == files
    np.testing.assert_array_equal(images.read(files["sub/a__200__100___0"]), scene[:, 100:])
    before = [file.stat().st_mtime_ns for file in files.values()]
    assert cut(tmp_path / "scenes", tmp_path / "tiles", ACROSS) == files
    assert [file.stat().st_mtime_ns for file in files.values()] == before  # not cut again
    files["sub/a__200__0___0"].unlink()
    assert cut(tmp_path / "scenes", tmp_path / "tiles", ACROSS) == files
    assert files["sub/a__200__0___0"].stat().st_mtime_ns > before[0]


BROKEN = {"truncated": lambda whole: whole[:-90], "empty": lambda _: b"", "HTML": lambda _: b"<html>log in</html>"}


@pytest.mark.parametrize("kind", [*BROKEN, "missing"])
def test_one_scene_that_cannot_be_read(tmp_path: Path, kind: str):
    scene = np.random.default_rng(1).integers(0, 255, (200, 300, 3), np.uint8)
    scenes = {name: tmp_path / f"{name}.png" for name in ("a", "b", "c")}
    for file in scenes.values():
        Image.fromarray(scene).save(file)
    whole = scenes["b"].read_bytes()
    scenes["b"].unlink() if kind == "missing" else scenes["b"].write_bytes(BROKEN[kind](whole))
    with pytest.warns(UserWarning, match=r"1 of 3 images cannot be read and are left out, the first b: .*b\.png"):
        files = cut(scenes, tmp_path / "tiles", ACROSS)
    assert [*files] == [f"{name}__200__{x}___0" for name in ("a", "c") for x in (0, 100)]
    with pytest.raises(images.UnreadableImage, match=r"b\.png"):
        cut({"b": scenes["b"]}, tmp_path / "others", ACROSS)
    scenes["b"].write_bytes(whole)  # repaired
    assert len(cut(scenes, tmp_path / "tiles", ACROSS)) == 6


def test_labels_go_to_the_tiles_that_show_them():
    rows = [
        [50, 100, 40, 20, 0],  # the left tile alone
        [150, 100, 40, 20, 0.4],  # both
        [205, 100, 30, 20, 0],  # the left tile ends at 200 and shows a third
        [150, 50, 300, 20, 0],  # neither shows 70 %; both show two thirds
    ]
    labels = RotatedInstances(["a"], [0, 4], rows, [0, 1, 0, 1], classes=["ship", "plane"], difficult=[0, 1, 0, 0])
    on_tiles = cut_labels(labels, SIZES, ACROSS)
    assert on_tiles.image_ids.tolist() == ["a__200__0___0", "a__200__100___0"]
    np.testing.assert_allclose(on_tiles["a__200__0___0"].boxes, [rows[0], rows[1], rows[3]], atol=1e-5)
    np.testing.assert_allclose(on_tiles["a__200__100___0"].boxes, np.array([rows[1], rows[2]]) - [100, 0, 0, 0, 0])
    assert on_tiles["a__200__100___0"].labels.tolist() == [1, 0]
    assert on_tiles["a__200__100___0"].difficult.tolist() == [1, 0]
    assert on_tiles.image_sizes.tolist() == [[200, 200]] * 2


def test_a_box_without_an_area_stays_and_one_outside_is_told():
    rows = [[150, 100, 0, 0, 0], [50, 100, 30, 0, 0.4], [400, 100, 9, 5, 0], [50, -100, 9, 5, 0]]
    labels = RotatedInstances(["a"], [0, 4], rows, [0, 0, 1, 0], classes=["ship", "plane"])
    with pytest.warns(
        UserWarning, match=r"2 boxes are outside .* the first is \[400\.0, 100\.0, 9\.0, 5\.0, 0\.0\] in 'a'"
    ):
        on_tiles = cut_labels(labels, SIZES, ACROSS)
    assert on_tiles.counts.tolist() == [2, 1]  # both tiles show the point, the left one the line
    assert on_tiles.boxes[:, :2].tolist() == [[150, 100], [50, 100], [50, 100]]


@pytest.mark.parametrize("visible", [0, 1.5, float("nan")])
def test_shares_that_cannot_be(visible: float):
    labels = RotatedInstances(["a"], [0, 1], [[50, 50, 9, 9, 0]], [0])
    with pytest.raises(ValueError, match=r"expected visible in \(0, 1\]"):
        cut_labels(labels, SIZES, ACROSS, visible)
    with pytest.raises(ValueError, match=r"expected the size of every scene, got \(0, 0\) of 'a'"):
        cut_labels(labels, {"a": (0, 0)}, ACROSS)


def test_what_is_labelled_is_labelled_on_a_tile():
    rng = np.random.default_rng(4)
    box = rng.uniform([0, 0, 20, 5, -1.5], [300, 200, 250, 20, 1.5], (40, 5))
    labels = RotatedInstances(["a"], [0, 40], box, np.zeros(40, int), classes=["ship"])
    on_tiles = cut_labels(labels, SIZES, ACROSS)
    back = np.concatenate([tile.boxes + np.float32([Tile.of(i).x, Tile.of(i).y, 0, 0, 0]) for i, tile in on_tiles])
    assert {tuple(row) for row in np.round(labels.boxes, 3)} == {tuple(row) for row in np.round(back, 3)}
    with pytest.raises(ValueError, match="expected the size of every scene"):
        cut_labels(labels, {}, ACROSS)
