"""Typical rows: worked by hand."""

import numpy as np
import pytest

from al_rotate.sampling.measures.diversity import most_typical, typicality

LINE = [[0.0], [1.0], [10.0], [12.0], [5.5]]


def rng(seed=0):
    return np.random.default_rng(seed)


def test_typicality():
    # The two nearest others of 0 are 1 and 5.5; of 5.5 they are 1 and 10, 4.5 away both.
    assert typicality(LINE, 2)[[0, 4]] == pytest.approx([2 / 6.5, 2 / 9])
    assert typicality(LINE, 50)[0] == pytest.approx(4 / 28.5)
    assert typicality([[1.0]]).tolist() == [np.inf]
    assert typicality([[1.0], [1.0], [4.0]], 1).tolist() == pytest.approx([np.inf, np.inf, 1 / 3])


def test_the_most_typical_of_the_clusters_that_lack_labels():
    random = rng(2)
    sizes, places = (30, 20, 10), ([0, 0], [40, 0], [0, 40])
    rows = np.concatenate([random.normal(place, 1, (size, 2)) for size, place in zip(sizes, places, strict=True)])
    picked = most_typical(rows, 3, rng=rng())
    assert [int(k) for k in np.searchsorted([30, 50, 60], picked, side="right")] == [0, 1, 2]  # the largest first
    for k, (start, stop) in zip(picked, ((0, 30), (30, 50), (50, 60)), strict=True):
        assert typicality(rows[start:stop]).argmax() == k - start
    # The first two have a label: the third cluster comes first.
    assert most_typical(rows, 1, selected=[[0.0, 0.5], [40.0, 0.5]], rng=rng())[0] >= 50
    assert sorted(most_typical(rows, 60, rng=rng())) == list(range(60))
    assert sorted(most_typical(np.zeros((5, 2)), 9, rng=rng())) == list(range(5))
