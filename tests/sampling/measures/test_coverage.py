"""A bit of everything: what images hold, and sets that hold much of it."""

import itertools
import math
import re

import numpy as np
import pytest

from al_rotate import RotatedInstances
from al_rotate.sampling.measures.coverage import (
    contents,
    cover,
    require_scene_pattern,
    scene_of,
    spread_over_scenes,
    turns,
)


def test_what_images_hold():
    """A small upright square of class 0, two needles of class 1 in two directions; an image with nothing."""
    boxes = [[50, 50, 10, 10, 0.7], [50, 50, 200, 20, 0.1], [90, 90, 200, 20, -1.5]]
    detections = RotatedInstances(["a", "b"], [0, 3, 3], boxes, [0, 1, 1], scores=[0.5, 0.25, 1.0], classes=["x", "y"])
    table = contents(detections).reshape(2, 2, 14)
    expected = np.zeros((2, 14))
    expected[0, [0, 5, 13]] = 0.5  # below 16 px; below 1.2; no direction
    expected[1, 2] = 0  # sqrt(4000) = 63.2: from 32 to 64 px
    expected[1, [2, 8]] = 1.25  # and ten times as long as wide
    expected[1, 9 + 2] = 0.25  # 0.1 rad lies in the third of four parts from -pi/2
    expected[1, 9 + 0] = 1.0
    np.testing.assert_allclose(table[0], expected)
    assert not table[1].any()
    labels = detections.replace(scores=None)
    assert contents(labels).sum() == 9  # three boxes, each by size, shape and direction
    assert contents(detections, n_classes=5).shape == (2, 5 * 14)
    assert contents(RotatedInstances.empty(["a"], ["x"])).tolist() == [[0] * 14]


def value(table, rows, have=0.0):
    return np.sqrt(have + table[list(rows)].sum(axis=0)).sum()


def test_something_of_everything():
    table = [[9, 0, 0], [4, 0, 0], [0, 1, 0], [0, 0, 1], [9, 0, 0]]
    # 3; then the copy adds sqrt(18) - 3 = 1.24, the others 1 each.
    assert cover(table, 4).tolist() == [0, 4, 2, 3]
    assert cover(table, 2, have=[9, 0, 0]).tolist() == [0, 2]
    assert cover(table, 3, have=[100, 0, 0]).tolist() == [2, 3, 0]
    assert cover(table, 1, quality=[1, 1, 4, 1, 1]).tolist() == [2]
    assert sorted(cover(table, 99).tolist()) == [0, 1, 2, 3, 4]
    assert cover(np.zeros((3, 2)), 2).tolist() == [0, 1]


@pytest.mark.parametrize("seed", range(5))
def test_lazily_as_if_all_were_looked_at_each_time(seed):
    rng = np.random.default_rng(seed)
    table, good = rng.poisson(0.4, (60, 12)).astype(float), rng.uniform(0.2, 1, 60)
    picked, now = [], np.zeros(12)
    for _ in range(25):
        gains = good * (np.sqrt(now + table) - np.sqrt(now)).sum(axis=1)
        gains[picked] = -1
        picked.append(int(gains.round(9).argmax()))
        now += table[picked[-1]]
    assert cover(table, 25, quality=good).tolist() == picked


def test_within_the_bound_of_the_best_set():
    table = np.random.default_rng(3).poisson(0.5, (11, 5)).astype(float)
    best = max(value(table, rows) for rows in itertools.combinations(range(11), 4))
    assert value(table, cover(table, 4)) >= (1 - 1 / math.e) * best


@pytest.mark.parametrize(
    ("held", "options"),
    [
        ([1, 2], {}),
        ([[-1.0]], {}),
        ([[np.nan]], {}),
        ([[1.0]], {"have": [1, 2]}),
        ([[1.0]], {"quality": [1, 2]}),
        ([[1.0]], {"quality": [-1]}),
    ],
)
def test_what_cannot_be_covered(held, options):
    with pytest.raises(ValueError, match="expected finite values >= 0"):
        cover(held, 1, **options)


def test_at_least_one():
    with pytest.raises(ValueError, match="expected to pick at least one row, got 0"):
        cover([[1.0]], 0)
    with pytest.raises(ValueError, match="expected at least one image of a scene, got 0"):
        spread_over_scenes(["a"], 0)


def test_scenes():
    assert scene_of("P0001__1024__0___824") == "P0001"
    assert scene_of("train/P0001__1__0___0") == "train/P0001"
    assert scene_of("harbour") == "harbour"
    assert scene_of("__x") == "__x"
    assert [scene_of(i, r"(clip\d)/\d+") for i in ("clip1/07", "clip1/08", "clip2/07", "port")] == [
        *("clip1", "clip1", "clip2", "port")
    ]
    tiles = ["a__1", "a__2", "b__1", "a__3", "c", "b__2"]
    assert spread_over_scenes(tiles, 1) == ["a__1", "b__1", "c", "a__2", "b__2", "a__3"]
    assert spread_over_scenes(tiles, 2) == ["a__1", "a__2", "b__1", "c", "b__2", "a__3"]
    assert spread_over_scenes(tiles, 9) == tiles
    assert spread_over_scenes(tiles, 1, scene=lambda image_id: "one") == tiles
    assert spread_over_scenes([], 1) == []
    assert turns(tiles, 1).tolist() == [0, 1, 0, 2, 0, 1]
    assert turns(tiles, 2).tolist() == [0, 0, 0, 1, 0, 0]


def test_patterns_of_scenes():
    require_scene_pattern(None)
    require_scene_pattern("(.*)/.*")
    for wrong in (".*", "(", "", 3):
        with pytest.raises(ValueError, match=f"with a group, got {re.escape(repr(wrong))}"):
            require_scene_pattern(wrong)
