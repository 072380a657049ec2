"""Walking down a ranking under a budget."""

import dataclasses
import json

import numpy as np
import pytest

from al_rotate.sampling.budget import Budget
from al_rotate.sampling.costs import ExpectedCost

IDS, N_BOXES = ["a", "b", "c", "d", "e"], [3, 0, 4, 1, 2]


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (Budget(images=2), ["a", "b"]),
        (Budget(images=99), IDS),
        (Budget(boxes=3), ["a"]),
        (Budget(boxes=4), ["a", "b"]),  # b holds no box and is charged one
        (Budget(boxes=5), ["a", "b", "d"]),  # c does not fit, d does
        (Budget(boxes=7), ["a", "b", "d", "e"]),
        (Budget(boxes=11), IDS),
        (Budget(boxes=10), ["a", "b", "c", "d"]),
        (Budget(boxes=2), ["b", "d"]),
        (Budget(images=2, boxes=99), ["a", "b"]),
        (Budget(images=99, boxes=5), ["a", "b", "d"]),
        (Budget(images=2, boxes=2), ["b", "d"]),
    ],
)
def test_take(budget, expected):
    taken = budget.take(IDS, N_BOXES)
    assert taken == expected
    assert budget.take(np.array(IDS, object), np.array(N_BOXES)) == expected
    assert budget.covers([N_BOXES[IDS.index(i)] for i in taken])


def test_a_budget_in_time():
    """Five seconds an image and two a box: 11, 5, 13, 7 and 9 seconds."""
    cost = ExpectedCost(image=5, box=1, correction=2, corrections_per_box=0.5)
    assert Budget(seconds=16, cost=cost).take(IDS, N_BOXES) == ["a", "b"]
    assert Budget(seconds=17, cost=cost).take(IDS, N_BOXES) == ["a", "b"]
    assert Budget(seconds=24, cost=cost).take(IDS, N_BOXES) == ["a", "b", "d"]
    assert Budget(seconds=45, cost=cost).take(IDS, N_BOXES) == IDS
    assert Budget(seconds=16, cost=cost).covers([3, 0])
    assert not Budget(seconds=15, cost=cost).covers([3, 0])
    assert Budget(seconds=99, images=1, cost=cost).take(IDS, N_BOXES) == ["a"]
    third = ExpectedCost(image=0.1, box=0, correction=0)
    assert len(Budget(seconds=1, cost=third).take(list("abcdefghijkl"), [0] * 12)) == 10  # tenths, which do not add up


def test_a_budget_is_remembered_as_plain_values():
    budget = Budget(seconds=60, cost=ExpectedCost(image=7))
    assert Budget(**json.loads(json.dumps(dataclasses.asdict(budget)))) == budget
    assert repr(Budget(images=5, boxes=7)) == "Budget(images=5, boxes=7)"
    assert Budget(seconds=11).take(["a"], [1]) == []  # 5 + (0.5 + 6) by default
    assert Budget(seconds=12).take(["a"], [1]) == ["a"]


def test_nothing_to_take():
    assert Budget(images=1).take([], []) == []
    assert Budget(boxes=1).take([], []) == []
    assert Budget(boxes=5).take(["harbour"], [531]) == []


def test_covers():
    assert Budget(images=2).covers([9, 9])
    assert not Budget(images=2).covers([0, 0, 0])
    assert Budget(boxes=3).covers([2, 0])
    assert not Budget(boxes=3).covers([2, 0, 0])
    assert not Budget(images=9, boxes=3).covers([4])
    assert Budget(images=1, boxes=1).covers([])


def test_limits_are_plain_integers_and_fixed():
    budget = Budget(images=np.int64(5))
    assert type(budget.images) is int
    assert budget == Budget(images=5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        budget.images = 6  # type: ignore[misc]


@pytest.mark.parametrize("limits", [{}, {"images": None}, {"images": 0}, {"boxes": -1}, {"images": 5, "boxes": 0}])
def test_limits_are_positive(limits):
    with pytest.raises(ValueError, match="expected a budget"):
        Budget(**limits)


@pytest.mark.parametrize("limit", [1.5, "3", True])
def test_limits_are_integers(limit):
    with pytest.raises(TypeError, match="expected an integer budget of boxes"):
        Budget(boxes=limit)


def test_lengths_agree():
    with pytest.raises(ValueError, match="expected n_boxes for each of 2 images, got 1"):
        Budget(images=5).take(["a", "b"], [1])
