"""Photographs of speckle cut from one scene are found by their shift; independent speckle and blank ones are not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from experiments.learners.pools import shifts
from experiments.learners.pools.overlaps import find_overlaps
from experiments.learners.pools.shifts import find_shifted


def sea(seed: int, height: int = 400, width: int = 800) -> np.ndarray:
    """Speckle of four looks, (height, width), too faint for keypoints."""
    return (40 + 3 * np.random.default_rng(seed).gamma(4, 1, (height, width))).astype(np.uint8)


def files_of(folder, photographs):
    for name, pixels in photographs.items():
        cv2.imwrite(str(folder / f"{name}.png"), pixels)
    return {name: folder / f"{name}.png" for name in photographs}


def test_speckle_of_one_scene_is_found(tmp_path, monkeypatch):
    scene = sea(1)
    photographs = {
        "a": scene[:, :480],
        "b": scene[11:, 321:],  # 159 columns, a third, are on `a` as well
        "c": scene[101:, 7:300],  # of another size, on `a` alone
        "d": sea(2)[:, :480],
        "e": sea(3)[:150, :300],
    }
    files = files_of(tmp_path, photographs)
    assert find_shifted(files) == find_overlaps(files) == [("a", "b"), ("a", "c")]
    monkeypatch.setattr(shifts, "NEAR", 0)
    assert find_overlaps(files) == []  # by keypoints alone


def test_brightness_and_other_ships_do_not_matter(tmp_path):
    scene = sea(4)
    left, right = scene[:, :480].copy(), (2.5 * scene[30:, 240:]).astype(np.uint8)
    left[60:90, 60:70], right[60:120, 400:415] = 255, 255
    assert find_shifted(files_of(tmp_path, {"a": left, "b": right})) == [("a", "b")]


def test_what_is_blank_shows_no_ground(tmp_path):
    framed = {name: np.zeros((400, 480), np.uint8) for name in "ab"}  # black, with ground in the same place
    for seed, pixels in enumerate(framed.values()):
        pixels[50:350, 60:400] = sea(seed)[:300, :340]
    blank = {"black": np.zeros((60, 90), np.uint8), "grey": np.full((60, 90), 90, np.uint8)}
    assert find_shifted(files_of(tmp_path, {**framed, **blank, "white": np.full((1, 1), 255, np.uint8)})) == []
    assert find_shifted({}) == []


def test_a_faint_pattern_in_common_is_no_ground(tmp_path, monkeypatch):
    """A tenth of the variance is the same everywhere, as patterns of resampling are: a peak, but no correlation."""
    pattern = np.random.default_rng(9).normal(0, 2, (400, 480))
    files = files_of(tmp_path, {name: (sea(k)[:, :480] + pattern).astype(np.uint8) for k, name in enumerate("ab")})
    assert find_shifted(files) == []
    monkeypatch.setattr(shifts, "CORRELATED", 0.0)
    assert find_shifted(files) == [("a", "b")]


def test_photographs_far_apart_in_order_are_not_compared(tmp_path, monkeypatch):
    scene = sea(5)
    files = files_of(tmp_path, {"a": scene[:, :480], "b": sea(6)[:, :480], "c": scene[:, 200:680]})
    assert find_shifted(files) == [("a", "c")]
    monkeypatch.setattr(shifts, "NEAR", 1)
    assert find_shifted(files) == []


@pytest.mark.parametrize("down", [0, 1, 7, -54])
@pytest.mark.parametrize("across", [0, 3, -140])
def test_shifts_of_either_sign_and_parity_are_found(tmp_path, down, across):
    scene = sea(8, 500, 700)
    photographs = {"a": scene[60:360, 150:550], "b": scene[60 + down : 360 + down, 150 + across : 550 + across]}
    assert find_shifted(files_of(tmp_path, photographs)) == [("a", "b")]
