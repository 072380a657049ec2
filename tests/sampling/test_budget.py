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


class TestSettle:
    """How many images a budget buys in an order that depends on their number."""

    CROWDED = (6, 6, 6, 6, 1, 1, 1, 1, 1, 1, 1, 1)  # boxes; the smallest eight images and no more fit into twelve

    def orders(self, of_n):
        tried = []

        def order_for(n):
            tried.append(n)
            return of_n(n)

        return order_for, tried

    def test_the_order_decides_and_not_the_smallest_images(self):
        """Twelve boxes buy two crowded images, where eight small ones would fit; the first try is at the mean price."""
        budget = Budget(boxes=12)
        assert budget.most(self.CROWDED) == 8
        order_for, tried = self.orders(lambda n: range(12))
        assert budget.settle(order_for, self.CROWDED) == 2
        assert tried == [4, 2]  # twelve by 32 / 12
        order_for, tried = self.orders(lambda n: range(11, -1, -1))
        assert budget.settle(order_for, self.CROWDED) == 8
        assert tried == [4, 8]

    def test_images_need_one_try(self):
        order_for, tried = self.orders(lambda n: range(12))
        assert Budget(images=5).settle(order_for, self.CROWDED) == 5
        assert Budget(images=99).settle(order_for, self.CROWDED) == 12
        assert Budget(images=3, boxes=99).settle(order_for, self.CROWDED) == 3
        assert tried == [5, 12, 3]

    def test_an_order_that_depends_on_the_number(self):
        """One crowded image for each three asked for, then small ones: 6 + 6 * 1 for n = 3 to 5, 6 + 6 for n = 6."""

        def order(n):
            return [*range(n // 3), *range(4, 12), *range(n // 3, 4)]

        budget = Budget(boxes=12)
        bought = [len(budget.take(map(str, order(n)), np.array(self.CROWDED)[order(n)])) for n in range(1, 9)]
        assert bought == [8, 8, 7, 7, 7, 2, 2, 2]
        order_for, tried = self.orders(order)
        assert (
            budget.settle(order_for, self.CROWDED) == 5
        )  # seven are bought in the order for five, two in that for six
        assert tried == [4, 7, 5, 6]

    def test_a_cycle_ends(self):
        """Up to five images are small, which buys eight; more are crowded, which buys two: five is what there is."""
        small, crowded = range(11, -1, -1), range(12)
        order_for, tried = self.orders(lambda n: small if n <= 5 else crowded)
        assert Budget(boxes=12).settle(order_for, self.CROWDED) == 5
        assert tried == [4, 8, 6, 5]
        order_for, tried = self.orders(lambda n: small if n <= 1 else crowded)
        assert Budget(boxes=12).settle(order_for, self.CROWDED) == 2

    def test_seconds(self):
        """Five seconds an image and a box each: 35 for a crowded image, 10 for a small one."""
        budget = Budget(seconds=80, cost=ExpectedCost(image=5, box=5, correction=0))
        order_for, _ = self.orders(lambda n: range(12))
        assert budget.settle(order_for, self.CROWDED) == 3  # 35 + 35 + 10
        assert budget.most(self.CROWDED) == 8

    def test_nothing_fits(self):
        order_for, tried = self.orders(lambda n: [0])
        assert Budget(boxes=5).settle(order_for, [9]) == Budget(boxes=5).settle(order_for, []) == 0
        assert tried == []


def test_price_is_what_the_budget_counts():
    cost = ExpectedCost(image=5, box=1, correction=0)
    assert Budget(images=4).price([0, 9]).tolist() == [0.25, 0.25]
    assert Budget(boxes=10).price([0, 1, 5, 7.5]).tolist() == [0.1, 0.1, 0.5, 0.75]
    np.testing.assert_allclose(Budget(seconds=100, cost=cost).price([0, 15]), [0.05, 0.2])
    np.testing.assert_allclose(Budget(images=4, boxes=10).price([0, 5]), [0.35, 0.75])
    free = ExpectedCost(image=0, box=0, correction=2)
    assert Budget(seconds=100, cost=free).price([0, 5]).tolist() == pytest.approx([1e-6, 0.1])
