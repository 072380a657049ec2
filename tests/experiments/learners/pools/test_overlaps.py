"""Photographs cut from one scene are found, turned and scaled ones as well; others of the same kind are not."""

from __future__ import annotations

import cv2
import numpy as np

from experiments.learners.pools.overlaps import find_overlaps, group


def ground(seed: int) -> np.ndarray:
    """A scene of 700 x 500 pixels with detail of several sizes."""
    rng, pixels = np.random.default_rng(seed), np.zeros((500, 700))
    for step in (6, 15, 40):
        coarse = rng.normal(0, step, (500 // step + 2, 700 // step + 2))
        pixels += cv2.resize(coarse, (700, 500), interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + 2 * pixels, 0, 255).astype(np.uint8)


def test_photographs_of_the_same_ground_are_pairs(tmp_path):
    one, other = ground(1), ground(2)
    turned = cv2.warpAffine(one, cv2.getRotationMatrix2D((350, 250), 30, 0.8), (700, 500))
    photographs = {
        "left": one[:, :400],
        "right": one[50:, 300:],  # 100 pixels of it are on the left one, too
        "turned": turned[100:400, 200:500],
        "elsewhere": other[:, :400],
        "far": ground(3),
        "blank": np.full((60, 60), 90, np.uint8),
        "black": np.zeros((60, 60), np.uint8),
    }
    for name, pixels in photographs.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), pixels)
    pairs = find_overlaps({name: tmp_path / f"{name}.png" for name in photographs})
    assert pairs == [("left", "right"), ("left", "turned"), ("right", "turned")]


def test_there_may_be_nothing_to_compare(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((40, 40), np.uint8))
    assert find_overlaps({"a": tmp_path / "a.png"}) == []
    assert find_overlaps({}) == []


def test_groups_are_joined_by_way_of_others():
    numbers = group(["a", "b", "c", "d"], [("a", "c"), ("c", "d")])
    assert numbers["a"] == numbers["c"] == numbers["d"] != numbers["b"]
    assert len({*group(["a", "b"], []).values()}) == 2
