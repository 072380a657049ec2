"""Medoids: worked by hand, and each amid its own."""

import numpy as np
import pytest
from helpers.random_pools import clusters
from scipy.spatial.distance import cdist

from al_rotate.sampling.measures.diversity import k_center, k_medoids


def rng(seed=0):
    return np.random.default_rng(seed)


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
