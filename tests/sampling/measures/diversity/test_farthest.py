"""Farthest first: worked by hand, against the plain way, and against the best of all subsets."""

import itertools

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from al_rotate.sampling.measures.diversity import k_center

LINE = [[0.0], [1.0], [10.0], [12.0], [5.5]]


def rng(seed=0):
    return np.random.default_rng(seed)


def test_farthest_first():
    # The mean is 5.7: 5.5 begins, then 12 (6.5 away), 0 (5.5), 10 (2), 1.
    assert k_center(LINE, 5).tolist() == [4, 3, 0, 2, 1]
    assert k_center(LINE, 2, selected=[[0.0], [11.0]]).tolist() == [4, 1]  # a tie: the lower
    assert k_center(LINE, 99, rng=rng(3)).tolist()[0] == rng(3).integers(5)
    assert sorted(k_center(LINE, 99)) == [0, 1, 2, 3, 4]


def plain_k_center(rows, n, selected, first):
    nearest = cdist(rows, selected).min(axis=1) if len(selected) else np.full(len(rows), np.inf)
    picked = []
    for _ in range(n):
        following = first if np.isinf(nearest[0]) else int(nearest.argmax())
        picked.append(following)
        nearest = np.minimum(nearest, cdist(rows, rows[following][None])[:, 0])
        nearest[picked] = -1
    return picked


@pytest.mark.parametrize("seed", range(6))
def test_farthest_first_as_the_plain_way_has_it(seed):
    """Whole numbers: no rounding, and many ties."""
    rows = rng(seed).integers(-4, 5, (200, 4)).astype("f4")
    selected = rows[:seed]
    picked = k_center(rows, 120, selected)
    assert picked.tolist() == plain_k_center(rows, 120, selected, int(cdist(rows, [rows.mean(axis=0)]).argmin()))


def test_farthest_first_is_within_twice_the_best():
    rows = rng(5).normal(size=(14, 2))
    distances = cdist(rows, rows)
    best = min(distances[:, list(subset)].min(axis=1).max() for subset in itertools.combinations(range(14), 4))
    assert distances[:, k_center(rows, 4)].min(axis=1).max() <= 2 * best + 1e-9


def test_equal_rows_come_last_and_once():
    rows = [[0.0, 0.0]] * 5 + [[3.0, 4.0]] * 5
    picked = k_center(rows, 10).tolist()
    assert {*picked[:2]} == {0, 5}
    assert sorted(picked) == list(range(10))
