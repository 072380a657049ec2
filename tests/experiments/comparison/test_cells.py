"""Rounds on tiles: what is known is free, arms share their start, photographs are measured, kills are survived."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import al_rotate as al
from al_rotate import CostModel
from al_rotate.data.tiling.tiles import Tile
from experiments.comparison import cells
from experiments.comparison.cells import KINDS, run_cell
from experiments.comparison.config import cell_folder, list_cells, load_config, result_file, run_as
from experiments.learners.features import CHANNELS, STRIDES, prepare_tiles
from experiments.learners.pools.tile_pool import Recipe, make_pool

pytestmark = pytest.mark.mm
SIZE = 64


def brightness(images: Any) -> list[Any]:
    """A backbone that shows the mean of each patch: it sees little, and is quick."""
    return [images.mean(1, keepdim=True).unfold(2, s, s).unfold(3, s, s).mean((-1, -2)).expand(-1, c, -1, -1)
            for c, s in zip(CHANNELS, STRIDES, strict=True)]  # fmt: skip


@pytest.fixture(scope="module")
def small(tmp_path_factory, photographs, write_config):
    """A comparison on tiles of the photographs, its folder, and its rows so far by (arm, round)."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(cells.POOLS, "photos", Recipe("photos", 160, SIZE))
        work = tmp_path_factory.mktemp("work")
        pool = make_pool(cells.POOLS["photos"], work / "pools" / "photos", photographs)
        prepare_tiles(pool, work / "pools" / "photos", brightness)
        config = load_config(
            write_config(
                work,
                pool="photos",
                known=4,
                first_iterations=3,
                training={"per_image": 0.05, "least": 1, "most": 5},
                budget={"seconds": [60, 120]},
                cost={"image": 4},
                arms={"random": None, "random-detected": None, "random-class": None},
                seeds=[0],
            )
        )
        rows = {}
        for cell in list_cells(config):
            rows[cell.arm, cell.round] = run_cell(work, photographs, config, run_as(config, cell))
        yield config, work, pool, rows


def test_what_is_known_is_free_and_is_trained_on(small):
    _, work, pool, rows = small
    start = rows["random", 0]
    assert (start["images"], start["boxes"], start["seconds"], start["asked"]) == (0, 0, 0, [])
    assert start["iterations"] == max(1, round(0.05 * len(pool.draw(0, "test", 4).known)))  # like all others
    known = {*pool.draw(0, "test", 4).known}
    later = rows["random", 2]
    assert not known & {*later["asked"]}
    assert later["iterations"] == max(1, round(0.05 * (len(known) + later["images"])))
    assert len([*(work / "known").iterdir()]) == 1


def test_arms_share_their_start_and_then_go_their_ways(small):
    config, work, _, rows = small
    for number in (0, 1):
        assert rows["random", number] == rows["random-detected", number]
    folders = {cell_folder(work, config, run_as(config, cell)) for cell in list_cells(config)}
    assert len(folders) == 4
    assert {*rows["random", 1]["asked"]}.isdisjoint(rows["random", 2]["asked"])


def test_seconds_are_those_of_the_answers_and_near_the_budget(small):
    """Tiles without an object take 4 s here, and a box that is drawn 12 s."""
    config, _, pool, rows = small
    cost = CostModel(image=4)
    for arm in config["arms"]:
        spent = 0.0
        for number in (1, 2):
            row = rows[arm, number]
            spent += cost.image * len(row["asked"]) + sum(getattr(cost, k) * row[f"asked_{k}"] for k in KINDS)
            assert row["seconds"] == pytest.approx(spent)
            assert row["image_seconds"] == 4
            labels = pool.labels.subset(row["asked"])
            assert row["asked_boxes"] == labels.n_boxes
            assert row["asked_empty"] == (labels.counts == 0).sum()
        assert 60 < rows[arm, 2]["seconds"] < 240


def test_rows_say_what_the_tiles_are_of_whole_photographs(small):
    _, _, pool, rows = small
    known = pool.draw(0, "test", 4).known
    photographs = sorted({Tile.of(i).scene for i in known})
    for row in rows.values():
        assert (row["known_images"], row["known_boxes"]) == (len(known), pool.labels.subset(known).n_boxes)
        assert row["known_photographs"] == pytest.approx(4)
        assert row["known_objects"] == pytest.approx(pool.truth.subset(photographs).n_boxes)
    row = rows["random", 1]
    of_each = [len(pool.tiles_of([Tile.of(i).scene])) for i in row["asked"]]
    assert row["asked_photographs"] == pytest.approx(sum(1 / n for n in of_each))
    assert 0 <= row["asked_objects"] <= row["asked_boxes"]


def test_photographs_are_measured(small):
    config, work, pool, rows = small
    last = next(cell for cell in list_cells(config) if (cell.arm, cell.round) == ("random", 2))
    folder = cell_folder(work, config, last) / "rounds" / "002" / "test_detections"
    detections = al.RotatedInstances.load(folder)
    assert {Tile.of(i).scene for i in detections.image_ids} == {*pool.test}
    merged = pool.merged(detections, pool.test)
    assert rows["random", 2]["mAP"] == al.evaluate(merged, pool.truth.subset(pool.test)).mean_ap
    assert len(rows["random", 2]["resampled"]) == cells.RESAMPLES
    assert np.isfinite(rows["random", 2]["resampled"]).all()


def test_a_cell_that_is_lost_comes_out_alike(small, photographs):
    config, work, _, rows = small
    last = next(cell for cell in list_cells(config) if (cell.arm, cell.round) == ("random-detected", 2))
    result_file(work, config, last).unlink()
    assert _same(run_cell(work, photographs, config, last)) == _same(rows["random-detected", 2])  # only measured again
    shutil.rmtree(cell_folder(work, config, last))
    assert _same(run_cell(work, photographs, config, replace(last))) == _same(rows["random-detected", 2])


def _same(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if not key.endswith("_s")}
