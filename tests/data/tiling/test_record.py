"""A folder of tiles holds those of one cut, and of the scenes as they are now."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from al_rotate.data import images
from al_rotate.data.tiling import Tiling, cut


def scene(folder: Path, name: str = "a", size: tuple[int, int] = (120, 80), grey: int = 0) -> Path:
    path = folder / "scenes" / f"{name}.png"
    path.parent.mkdir(exist_ok=True)
    Image.new("L", size, grey).save(path)
    os.utime(path, (grey, grey))
    return path


def grey_of(folder: Path, tile: str) -> int:
    return int(images.read(folder / "tiles" / f"{tile}.png").flat[0])


@pytest.mark.parametrize("tiling", [Tiling(100, 0), Tiling(64, 20), Tiling(64, 0, (1.0, 0.5))])
def test_another_tiling_is_refused(tmp_path: Path, tiling: Tiling) -> None:
    scene(tmp_path)
    files = cut(tmp_path / "scenes", tmp_path / "tiles", Tiling(64, 0))
    with pytest.raises(ValueError, match=r"holds tiles with another .*; give another folder, or delete it"):
        cut(tmp_path / "scenes", tmp_path / "tiles", tiling)
    assert images.find(tmp_path / "tiles") == files


def test_another_tiling_is_refused_where_an_older_version_recorded_none(tmp_path: Path) -> None:
    scene(tmp_path)
    files = cut(tmp_path / "scenes", tmp_path / "tiles", Tiling(64, 0))
    (tmp_path / "tiles" / "tiles.json").unlink()
    with pytest.raises(ValueError, match="has tiles of another cut, such as a__64__0___0; give"):
        cut(tmp_path / "scenes", tmp_path / "tiles", Tiling(100, 0))
    assert not (tmp_path / "tiles" / "tiles.json").exists()
    assert images.find(tmp_path / "tiles") == files


def test_a_scene_that_has_changed_is_cut_again_and_others_are_kept(tmp_path: Path) -> None:
    scene(tmp_path, "a", grey=10)
    scene(tmp_path, "b", grey=20)
    cut(tmp_path / "scenes", tmp_path / "tiles", Tiling(64, 0))
    for file in images.find(tmp_path / "tiles").values():
        os.utime(file, (1, 1))
    scene(tmp_path, "a", grey=30)
    files = cut(tmp_path / "scenes", tmp_path / "tiles", Tiling(64, 0))
    assert grey_of(tmp_path, "a__64__0___0") == 30
    assert grey_of(tmp_path, "b__64__0___0") == 20
    assert {tile.split("__")[0] for tile, file in files.items() if file.stat().st_mtime == 1} == {"b"}


def test_tiles_of_which_nothing_is_recorded_are_cut_again(tmp_path: Path) -> None:
    scene(tmp_path, grey=10)
    cut(tmp_path / "scenes", tmp_path / "tiles", Tiling(64, 0))
    (tmp_path / "tiles" / "tiles.json").unlink()
    scene(tmp_path, grey=30)
    cut(tmp_path / "scenes", tmp_path / "tiles", Tiling(64, 0))
    assert grey_of(tmp_path, "a__64__0___0") == 30


def test_a_scene_of_another_size_is_refused(tmp_path: Path) -> None:
    scene(tmp_path)
    cut(tmp_path / "scenes", tmp_path / "tiles", Tiling(64, 0))
    scene(tmp_path, size=(100, 80), grey=5)
    with pytest.raises(ValueError, match=r"has tiles of another cut, such as a__64__56___0; give another folder"):
        cut(tmp_path / "scenes", tmp_path / "tiles", Tiling(64, 0))


def test_scenes_may_be_added_later(tmp_path: Path) -> None:
    a, b = scene(tmp_path, "a", grey=10), scene(tmp_path, "b", grey=20)
    first = cut([a], tmp_path / "tiles", Tiling(64, 0))
    second = cut([b], tmp_path / "tiles", Tiling(64, 0))
    assert images.find(tmp_path / "tiles") == first | second
    recorded = json.loads((tmp_path / "tiles" / "tiles.json").read_text())
    assert recorded["scenes"] == {"a": images.stamp(a), "b": images.stamp(b)}
    assert (recorded["size"], recorded["overlap"], recorded["scales"]) == (64, 0, [1.0])


def test_deep_scenes_are_stretched_as_a_whole(tmp_path: Path) -> None:
    values = np.tile(np.arange(120, dtype=np.uint16) * 10, (80, 1))
    (tmp_path / "scenes").mkdir()
    Image.fromarray(values).save(tmp_path / "scenes" / "a.png")
    files = cut(tmp_path / "scenes", tmp_path / "tiles", Tiling(64, 0), stretch=(0, 100))
    whole = images.read(tmp_path / "scenes" / "a.png", stretch=(0, 100))
    np.testing.assert_array_equal(images.read(files["a__64__56___0"]), whole[:64, 56:120])
    with pytest.raises(ValueError, match="holds tiles with another stretch"):
        cut(tmp_path / "scenes", tmp_path / "tiles", Tiling(64, 0))


def test_a_broken_record_is_named(tmp_path: Path) -> None:
    scene(tmp_path)
    cut(tmp_path / "scenes", tmp_path / "tiles", Tiling(64, 0))
    (tmp_path / "tiles" / "tiles.json").write_text("")
    with pytest.raises(ValueError, match=r"tiles\.json is empty or damaged"):
        cut(tmp_path / "scenes", tmp_path / "tiles", Tiling(64, 0))
