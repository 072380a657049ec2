"""What all pickers refuse, and how much memory they take."""

import numpy as np
import pytest
from helpers.random_pools import clusters

from al_rotate.sampling.measures.diversity import (
    determinantal,
    k_center,
    k_means_plus_plus,
    k_medoids,
    most_typical,
    space,
    typicality,
)


def rng(seed=0):
    return np.random.default_rng(seed)


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
    squared = space.Space.squared
    monkeypatch.setattr(space.Space, "squared", lambda self, c: widest.append(len(c)) or squared(self, c))
    rows = clusters(600)
    k_center(rows, 200, selected=clusters(300, seed=2))
    k_means_plus_plus(rows, 50, selected=clusters(300, seed=2), rng=rng())
    assert max(widest) <= space.AHEAD + 1
