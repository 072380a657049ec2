"""Shares of classes, by hand."""

import math

import numpy as np
import pytest

from al_rotate.sampling.measures.quotas import class_balance, draw, rarity


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


class TestDraw:
    WORTH = np.array([[0.9, np.nan], [0.8, 0.1], [0.7, np.nan], [np.nan, 0.3], [np.nan, np.nan]])
    CONTENTS = np.array([[5, 0], [1, 1], [1, 0], [0, 2], [0, 0]])

    def drawn(self, quotas, n):
        return [part.tolist() for part in draw(self.WORTH, self.CONTENTS, quotas, n)]

    def test_best_boxes_of_wanted_classes_bring_their_images(self):
        # One of the first class is enough, though the image has five; then two of the second, which row 3 has all of.
        assert self.drawn([1, 2], 5) == [[0, 3, 1, 2, 4], [0, 1, -1, -1, -1]]
        # With three wanted row 1 comes for its box of the second class, before row 2, whose best box is better.
        assert self.drawn([1, 3], 4) == [[0, 3, 1, 2], [0, 1, 1, -1]]
        # What an image brings of other classes counts, too: row 1 uses up the second class on the way.
        assert self.drawn([6, 1], 3) == [[0, 1, 2], [0, 0, -1]]

    def test_quotas_do_not_shorten_the_selection(self):
        assert self.drawn([0, 0], 3) == [[0, 1, 2], [-1, -1, -1]]
        assert self.drawn([100, 100], 9) == [[0, 1, 2, 3, 4], [0, 0, 0, 1, -1]]
        assert self.drawn([100, 100], 2) == [[0, 1], [0, 0]]

    def test_shapes(self):
        for bad in ((self.WORTH[:2], self.CONTENTS, [1, 1]), (self.WORTH, self.CONTENTS, [1]), ([1], [1], [1])):
            with pytest.raises(ValueError, match=r"expected \(M, C\), \(M, C\) and \(C,\)"):
                draw(*bad, 1)


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
