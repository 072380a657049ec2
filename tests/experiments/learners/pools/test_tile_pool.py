"""Pools of tiles: no object is lost, no photograph divided, no measured one in a pool; tiles merge to photographs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import al_rotate as al
from al_rotate.data.tiling.tiles import Tile
from experiments.learners.pools.grid import Grid
from experiments.learners.pools.rendered import render_scenes
from experiments.learners.pools.tile_pool import Recipe, TilePool, make_pool

N = 24  # photographs


@pytest.fixture(scope="module")
def pool(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> TilePool:
    return make_pool(Recipe("photos", 160, 64), tmp_path_factory.mktemp("pool"), photographs)


@pytest.mark.parametrize(
    ("width", "height", "n", "side"),
    [(500, 333, 6, 167), (958, 808, 12, 270), (100, 90, 1, 100), (320, 320, 4, 160)],
)
def test_a_grid_covers_a_photograph_and_repeats_little(width, height, n, side):
    tiles = Grid(256 if width > 900 else 160, 0).tiles("p", width, height)
    assert (len(tiles), {tile.side for tile in tiles}) == (n, {side})
    shown = np.zeros((height, width), int)
    for tile in tiles:
        shown[tile.y : tile.y + tile.side, tile.x : tile.x + tile.side] += 1
    assert shown.min() == 1
    assert shown.mean() < 1.25


def test_each_object_is_on_a_tile_and_most_tiles_are_empty(pool):
    assert len(pool.labels) == len(pool.files) == N * 6
    assert pool.labels.n_boxes >= N
    assert {Tile.of(i).scene for i in pool.labels.image_ids[pool.labels.counts > 0]} == {*pool.truth.image_ids}
    assert (pool.labels.counts == 0).mean() > 0.7
    tile = Tile.of(pool.labels.image_ids[0])
    assert cv2.imread(str(pool.files[tile.id])).shape == (tile.side, tile.side, 3)


def test_tiles_of_a_photograph_add_up_to_it_and_to_its_objects(pool):
    for photograph in pool.train[:6]:
        tiles = pool.tiles_of([photograph])
        photographs, objects = pool.shares(tiles)
        n_boxes = pool.labels.subset(tiles).counts
        assert photographs == pytest.approx([1 / 6] * 6)
        assert objects @ n_boxes == pytest.approx(1)  # a ship each
        assert objects == pytest.approx([1 / n_boxes.sum()] * 6)
    assert [part.shape for part in pool.shares([])] == [(0,), (0,)]


def test_photographs_are_not_divided_and_measured_ones_are_in_no_pool(pool):
    draws = {(seed, measure): pool.draw(seed, measure, 4) for seed in (0, 1) for measure in ("val", "test")}

    def of(tiles):
        return {Tile.of(tile).scene for tile in tiles}

    for (_, measure), draw in draws.items():
        parts = [of(draw.known), of(draw.pool), of(draw.measured)]
        assert not any(a & b for k, a in enumerate(parts) for b in parts[k + 1 :])
        assert [len(part) for part in parts] == ([4, 11, 3] if measure == "val" else [4, 14, 6])
        assert sum(map(len, (draw.known, draw.pool, draw.measured))) == 6 * sum(map(len, parts))
        assert {*draw.photographs} == parts[2]
    assert draws[0, "val"].measured == draws[1, "val"].measured
    assert draws[0, "val"].known != draws[1, "val"].known
    assert {*draws[0, "test"].photographs} == {*pool.test}
    assert not {*draws[0, "val"].photographs} & {*pool.test}


def test_photographs_that_overlap_with_a_measured_one_are_left_out(pool):
    first, one, other, third = pool.test[0], *pool.train[:3]
    joined = replace(pool, overlaps=[(one, first), (first, other), (third, other)])
    draw = joined.draw(0, "test", 4)
    drawn = {Tile.of(tile).scene for tile in draw.known + draw.pool}
    assert drawn == {*pool.train} - {one, other}
    assert first in draw.photographs
    assert pool.overlaps == []  # noise overlaps with nothing


def test_a_pool_can_be_limited(photographs, tmp_path):
    limited = make_pool(Recipe("photos", 160, 64, most=5), tmp_path, photographs)
    assert [len({Tile.of(i).scene for i in limited.draw(seed, "test", 4).pool}) for seed in (0, 1)] == [5, 5]
    assert limited.draw(0, "test", 4).pool != limited.draw(1, "test", 4).pool


def test_perfect_detections_on_tiles_are_perfect_on_photographs(pool):
    """And what a person draws on tiles is what is there on photographs: an object on two tiles counts once."""
    tiles = pool.labels.replace(scores=np.full(pool.labels.n_boxes, 0.9, np.float32))
    merged = pool.merged(tiles, pool.test)
    assert merged.image_ids.tolist() == pool.test
    assert merged.n_boxes == len(pool.test)
    assert al.evaluate(merged, pool.truth.subset(pool.test)).mean_ap == pytest.approx(1)
    nothing = pool.merged(al.RotatedInstances.empty(pool.labels.image_ids.tolist(), ("ship",)), pool.test)
    assert len(nothing) == len(pool.test)


def test_it_is_made_once_and_only_for_its_recipe(pool, photographs):
    folder = next(iter(pool.files.values())).parents[1]
    again = make_pool(pool.recipe, folder, None)
    assert again.labels == pool.labels
    assert (again.truth, again.train, again.test, again.overlaps) == (pool.truth, pool.train, pool.test, pool.overlaps)
    assert json.loads((folder / "made.json").read_text())["recipe"]["tile"] == 160
    with pytest.raises(ValueError, match=r"expected .*'tile': 99.*got .*'tile': 160"):
        make_pool(Recipe("photos", 99, 64), folder, photographs)


def test_photographs_have_to_be_somewhere(tmp_path):
    with pytest.raises(ValueError, match="--data"):
        make_pool(Recipe("photos", 160, 64), tmp_path, None)


def test_rendered_scenes_have_as_many_empty_tiles_as_they_say(tmp_path):
    """Within what 40 scenes allow; the kind of a scene does not tell whether it is empty."""
    shares = {}
    for empties in (80, 95):
        scenes = render_scenes(tmp_path / str(empties), empties, 40, 0)
        tiles = np.unique(np.column_stack([scenes.labels.image_index, scenes.labels.boxes[:, :2] // 160]), axis=0)
        shares[empties] = 100 - 100 * len(tiles) / (40 * 16)
    assert abs(shares[80] - 80) < 9
    assert abs(shares[95] - 95) < 4
    first = render_scenes(tmp_path / "again", 95, 2, 1)
    assert first.labels == render_scenes(tmp_path / "again", 95, 2, 1).labels
    assert (first.train, first.test) == (["scene0000", "scene0001"], ["scene0002"])
