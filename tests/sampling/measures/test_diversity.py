"""Diverse sets: worked by hand, and against plain versions of the same algorithms."""

import itertools

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from al_rotate.sampling.measures import diversity
from al_rotate.sampling.measures.diversity import (
    determinantal,
    k_center,
    k_means_plus_plus,
    k_medoids,
    most_typical,
    typicality,
)

LINE = [[0.0], [1.0], [10.0], [12.0], [5.5]]


def rng(seed=0):
    return np.random.default_rng(seed)


def clusters(n, centres=12, d=16, seed=1):
    random = rng(seed)
    return (random.normal(0, 4, (centres, d))[random.integers(0, centres, n)] + random.normal(0, 1, (n, d))).astype(
        "f4"
    )


# Farthest first.


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
    drawn = k_means_plus_plus(rows, 10, rng=rng()).tolist()
    assert len({drawn[0] < 5, drawn[1] < 5}) == 2
    assert sorted(drawn) == list(range(10))


# Drawn by distance.


def test_draws_follow_the_squared_distance():
    """From 0 and with 1 and 3 to draw: one time in ten and nine in ten."""
    random = rng(7)
    first = [int(k_means_plus_plus([[1.0], [3.0]], 1, [[0.0]], random)[0]) for _ in range(4000)]
    assert np.mean(first) == pytest.approx(0.9, abs=0.02)
    evenly = [int(k_means_plus_plus([[1.0], [3.0]], 1, None, random)[0]) for _ in range(4000)]
    assert np.mean(evenly) == pytest.approx(0.5, abs=0.04)


def test_what_is_covered_is_not_drawn():
    rows = [[0.0], [5.0], [0.0], [0.0]]
    assert all(k_means_plus_plus(rows, 1, [[0.0]], rng(seed))[0] == 1 for seed in range(50))


# Medoids.


def test_medoids():
    rows = np.array([[0.0], [1.0], [2.0], [3.0], [50.0], [51.0], [52.0]])
    picked = k_medoids(cdist(rows, rows), 2)
    assert picked.tolist() in ([1, 5], [2, 5])  # the larger cluster first
    assert k_medoids(cdist(rows, rows), 1).tolist() == [3]
    assert sorted(k_medoids(cdist(rows, rows), 9)) == list(range(7))
    assert sorted(k_medoids(np.zeros((4, 4)), 3).tolist()) == [0, 1, 2]


@pytest.mark.parametrize("seed", range(4))
def test_medoids_are_amid_their_own(seed):
    rows = clusters(120, seed=seed)
    distances = cdist(rows, rows)
    picked = k_medoids(distances, 8)
    own = picked[distances[:, picked].argmin(axis=1)]
    for medoid in picked:
        members = np.flatnonzero(own == medoid)
        assert distances[np.ix_(members, members)].sum(axis=1).argmin() == np.flatnonzero(members == medoid)[0]
    start = k_center(rows, 8)
    assert distances[:, picked].min(axis=1).sum() < distances[:, start].min(axis=1).sum()


# Typical ones.


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


# Determinants.


def test_the_largest_determinant_step_by_step():
    rows, quality = rng(4).normal(size=(12, 3)), rng(5).uniform(0.5, 2, 12)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    kernel = quality[:, None] * (unit @ unit.T + 0.1 * np.eye(12)) * quality
    picked = []
    for _ in range(6):
        others = [k for k in range(12) if k not in picked]
        picked.append(max(others, key=lambda k: np.linalg.det(kernel[np.ix_([*picked, k], [*picked, k])])))
    assert determinantal(rows, 6, quality).tolist() == picked


def test_copies_are_worth_little_and_good_ones_more():
    rows = [[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]
    assert determinantal(rows, 3).tolist() == [0, 2, 1]
    assert determinantal(rows, 3, [1, 1.1, 0.9]).tolist() == [1, 2, 0]
    # Worth 0.19 of 1.1 to begin with, a copy goes first where it is three times as good (squares count).
    assert determinantal(rows, 2, [1, 1, 0.3]).tolist() == [0, 1]
    assert sorted(determinantal([[0.0, 0.0]] * 3, 3).tolist()) == [0, 1, 2]


# All of them.

ALL = [
    k_center,
    lambda rows, n: k_means_plus_plus(rows, n, rng=rng()),
    k_medoids,
    lambda rows, n: most_typical(rows, n, rng=rng()),
    determinantal,
    typicality,
]


@pytest.mark.parametrize("pick", ALL)
@pytest.mark.parametrize(
    ("rows", "n", "message"),
    [
        (np.zeros(3), 1, r"expected features \(n, d\), got \(3,\)"),
        (np.zeros((0, 4)), 1, r"expected features \(n, d\), got \(0, 4\)"),
        ([[0.0, 1.0], [1.0, np.nan]], 1, "expected finite features, got .* in row 1"),
        (np.zeros((2, 2)), 0, "expected to pick at least one row, got 0"),
        (np.zeros((2, 2)), 1.5, "expected to pick at least one row, got 1.5"),
    ],
)
def test_refusals(pick, rows, n, message):
    with pytest.raises(ValueError, match=message):
        pick(rows, n)


@pytest.mark.parametrize("pick", [k_means_plus_plus, most_typical])
def test_what_draws_wants_a_generator(pick):
    with pytest.raises(ValueError, match="a random generator"):
        pick(np.zeros((2, 2)), 1)


@pytest.mark.parametrize("pick", [k_center, k_means_plus_plus, most_typical])
def test_selected_rows_must_fit(pick):
    with pytest.raises(ValueError, match=r"expected selected rows of 2 numbers like the features, got \(1, 3\)"):
        pick(np.zeros((4, 2)), 1, selected=np.zeros((1, 3)), rng=rng())


def test_other_refusals():
    with pytest.raises(ValueError, match=r"expected distances \(m, m\) >= 0"):
        k_medoids(np.zeros((3, 2)), 1)
    with pytest.raises(ValueError, match=r"expected distances \(m, m\) >= 0, got \(2, 2\) from -1"):
        k_medoids([[0, -1], [-1, 0]], 1)
    for quality in ([1, 0], [1], [1, np.nan]):
        with pytest.raises(ValueError, match="expected a finite quality > 0 for each of 2 rows"):
            determinantal(np.eye(2), 1, quality)


def test_memory_is_of_the_order_of_the_rows(monkeypatch):
    """No matrix has more than a few columns, whatever is picked from however many selected rows."""
    widest = []
    squared = diversity._Space.squared
    monkeypatch.setattr(diversity._Space, "squared", lambda self, c: widest.append(len(c)) or squared(self, c))
    rows = clusters(600)
    k_center(rows, 200, selected=clusters(300, seed=2))
    k_means_plus_plus(rows, 50, selected=clusters(300, seed=2), rng=rng())
    assert max(widest) <= diversity._AHEAD + 1
