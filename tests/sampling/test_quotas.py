"""Shares of classes, by hand."""

import math

import numpy as np
import pytest

from al_rotate.sampling.quotas import class_balance, fill, rarity


def test_class_balance():
    """Of 30, 10 and 0 labels: exponents 0.25, 0.75 and 1."""
    weights = [math.exp(0.25), math.exp(0.75), math.e]
    assert class_balance([30, 10, 0], 100).tolist() == pytest.approx([100 * w / sum(weights) for w in weights])
    assert class_balance([7, 7], 10).tolist() == pytest.approx([5, 5])
    share = class_balance([10**9, 0], 1)
    assert share[1] / share[0] == pytest.approx(math.e)


def test_rarity():
    """Labelled 3:1, predicted 1:1: r = 1 - (0.75 + 0.5) / 2 and 1 - (0.25 + 0.5) / 2."""
    assert rarity([3, 1], [50, 50], 16).tolist() == pytest.approx([16 * 0.375, 16 * 0.625])
    assert rarity([3, 1], [50, 4], 16)[1] == 4  # there are no more
    assert rarity([0, 0], [0, 0], 16).tolist() == [0, 0]
    assert rarity([5], [9], 3).tolist() == [3]  # one class has it all, however common


def test_rows_whose_class_is_wanted_go_first():
    contents = [[5, 0], [1, 0], [0, 1], [0, 2], [0, 0]]
    # One of the first class is enough, though the row has five; then the second class, until its two are there.
    assert fill([0, 1, 2, 3, 4], contents, [1, 2], 5).tolist() == [0, 2, 3, 1, 4]
    assert fill([4, 3, 1, 2, 0], contents, [1, 2], 2).tolist() == [3, 1]
    assert fill([0, 1, 2, 3, 4], contents, [0, 0], 3).tolist() == [0, 1, 2]
    assert fill([4, 0, 1, 2, 3], contents, [100, 100], 9).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("bad", [[], [-1, 2], [[1, 2]], [np.nan, 1]])
def test_what_are_no_counts(bad):
    for call in (lambda: class_balance(bad, 5), lambda: rarity(bad, [1, 2], 5), lambda: rarity([1, 2], bad, 5)):
        with pytest.raises(ValueError, match="expected counts >= 0 of each class"):
            call()


def test_other_refusals():
    with pytest.raises(ValueError, match="expected a budget above 0, got 0"):
        class_balance([1], 0)
    with pytest.raises(ValueError, match="expected counts of the same classes, got 1 and 2"):
        rarity([1], [1, 2], 5)
    for order, contents, quotas in (([0], [[1], [2]], [1]), ([0, 0], [[1], [2]], [1]), ([0], [[1]], [1, 2])):
        with pytest.raises(ValueError, match="expected an order of"):
            fill(order, contents, quotas, 1)
