"""Drawn by squared distance: how often each row is drawn."""

import numpy as np
import pytest

from al_rotate.sampling.measures.diversity import k_means_plus_plus


def rng(seed=0):
    return np.random.default_rng(seed)


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


def test_equal_rows_come_last_and_once():
    rows = [[0.0, 0.0]] * 5 + [[3.0, 4.0]] * 5
    drawn = k_means_plus_plus(rows, 10, rng=rng()).tolist()
    assert len({drawn[0] < 5, drawn[1] < 5}) == 2
    assert sorted(drawn) == list(range(10))
