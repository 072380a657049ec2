"""Tiles of a scene: where they lie, how they are named, and their pixels."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from al_rotate.data.tiling import Tile, Tiling, window
from al_rotate.sampling.measures.coverage import scene_of


def test_the_last_ends_where_the_scene_does():
    tiles = Tiling(1024, 200).tiles("P1", 2500, 1000)
    assert [(t.x, t.y, t.side) for t in tiles] == [(0, 0, 1024), (824, 0, 1024), (1476, 0, 1024)]
    assert tiles[1].id == "P1__1024__824___0"
    assert scene_of(tiles[1].id) == "P1"


def test_scales_are_windows_of_other_sizes():
    tiles = Tiling(100, 20, (1.0, 0.5)).tiles("s", 180, 100)
    assert [(t.side, t.x, t.y) for t in tiles] == [(100, 0, 0), (100, 80, 0), (200, 0, 0)]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 700), st.integers(1, 700), st.integers(2, 300), st.data())
def test_every_pixel_is_seen_and_neighbours_share_the_overlap(width, height, size, data):
    overlap = data.draw(st.integers(0, size - 1).filter(lambda o: size - o > 3 or size < 20))
    tiles = Tiling(size, overlap).tiles("s", width, height)
    seen = np.zeros((height, width), bool)
    for tile in tiles:
        seen[tile.y : tile.y + size, tile.x : tile.x + size] = True
        assert tile.x + size <= max(width, size)
        assert tile.y + size <= max(height, size)
    assert seen.all()
    columns = sorted({tile.x for tile in tiles})
    assert all(b - a <= size - overlap for a, b in pairwise(columns))
    assert len({tile.id for tile in tiles}) == len(tiles)


def test_names_come_back():
    tile = Tile("folder/P1__old", 1024, 5, 70)
    assert Tile.of(tile.id) == tile
    others = ("P1", "P1__1024__5", "__1__2___3", "P1__0__0___0", "P1__010__0___0", "P1__\u0661__0___0")
    for other in (*others, f"P1__100__{'9' * 400}___0"):
        with pytest.raises(ValueError, match="expected a tile's name, SCENE__SIZE__X___Y, got"):
            Tile.of(other)


@pytest.mark.parametrize(
    "arguments",
    [
        (100, 100),
        (100, -1),
        (100, 20, ()),
        (100, 20, 1.0),
        (100, 20, "1.0"),
        (100, 20, (0.0,)),
        (100, 20, (1.0, 1.0)),
        (100, 20, (1e-9,)),
        (100, 20, (float("nan"),)),
        (99.5, 20),
        ("1024",),
    ],
)
def test_what_cannot_be_cut_is_refused(arguments: tuple):
    with pytest.raises(ValueError, match="expected"):
        Tiling(*arguments)


def test_pixels_are_the_scenes_and_grey_beyond():
    scene = np.random.default_rng(0).integers(0, 255, (50, 70, 3), np.uint8)
    inside = window(scene, Tile("s", 30, 40, 20))
    np.testing.assert_array_equal(inside, scene[20:50, 40:70])
    beyond = window(scene, Tile("s", 64, 10, 0))
    np.testing.assert_array_equal(beyond[:50, :60], scene[:, 10:])
    assert (beyond[50:] == 114).all()
    assert (beyond[:, 60:] == 114).all()
