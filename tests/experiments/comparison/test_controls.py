"""The control with equal shares of predicted classes, on a pool with many of one class and few of another."""

from __future__ import annotations

import numpy as np
import pytest

from al_rotate import Budget, RotatedInstances
from al_rotate.sampling import QueryContext
from experiments.comparison.controls import random_class


def pool(scores: float = 0.9) -> RotatedInstances:
    """40 images with a ship each, 4 with a plane, 40 without a box."""
    labels = [0] * 40 + [1] * 4
    return RotatedInstances(
        [f"i{k:02d}" for k in range(84)],
        np.minimum(np.arange(85), 44),
        np.tile(np.array([10, 10, 4, 4, 0], np.float32), (44, 1)),
        np.array(labels, np.int32),
        np.full(44, scores, np.float32),
        classes=("ship", "plane"),
    )


def ranked(seed: int, scores: float = 0.9) -> list[int]:
    table = random_class().rank(pool(scores), np.random.default_rng(seed), QueryContext())
    return [int(image_id[1:]) for image_id in table["image_id"]]


def test_classes_take_turns_until_one_is_used_up():
    rows = ranked(0)
    assert sorted(rows) == list(range(84))
    kinds = ["ship" if row < 40 else "plane" if row < 44 else "empty" for row in rows]
    for k in range(0, 8, 2):
        assert {*kinds[k : k + 2]} == {"ship", "plane"}
    assert {*kinds[8:44]} == {"ship"}
    assert {*kinds[44:]} == {"empty"}


def test_it_is_random_within_a_class_and_repeats_with_a_seed():
    assert ranked(1) == ranked(1) != ranked(2)
    assert len({next(row for row in ranked(seed) if row < 40) for seed in range(20)}) > 5


def test_boxes_that_nobody_is_shown_do_not_count():
    rows = ranked(0, scores=0.1)  # below what is shown
    assert len([row for row in rows[:44] if row >= 44]) > 5


def test_a_budget_is_kept():
    asked = random_class()(pool(), Budget(images=6), np.random.default_rng(0), QueryContext())
    assert sum(int(image_id[1:]) >= 40 for image_id in asked) == 3


def test_it_needs_a_generator():
    with pytest.raises(ValueError, match="random generator"):
        random_class().rank(pool(), None, QueryContext())
