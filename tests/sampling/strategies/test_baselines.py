"""What the baselines pick."""

import numpy as np
import pytest
from helpers.random_pools import random_pool, rng

from al_rotate.sampling import rank, select


def test_random_is_uniform_and_by_seed():
    candidates = random_pool([1, 0, 5, 2])
    firsts = [select(candidates, "random", 1, rng(seed))[0] for seed in range(800)]
    _, counts = np.unique(firsts, return_counts=True)
    assert len(counts) == 4
    assert np.abs(counts - 200).max() < 60  # 200 +- 5 standard deviations of 12
    with pytest.raises(ValueError, match=r"'random' needs a random generator: rng=np.random.default_rng"):
        rank(candidates, "random")


def test_random_detected_draws_first_where_something_is_shown():
    candidates = random_pool([1, 0, 5, 2, 0, 1])
    scores = np.full(candidates.n_boxes, 0.5)
    scores[0] = 0.29  # image 0 has a box that nobody is shown
    candidates = candidates.replace(scores=scores)
    shown = {candidates.image_ids[k] for k in (2, 3, 5)}
    rankings = [rank(candidates, "random-detected", rng(seed))["image_id"].tolist() for seed in range(600)]
    assert all({*ranking[:3]} == shown for ranking in rankings)
    for place in (0, 3):  # each of three images comes first of its half equally often
        _, counts = np.unique([ranking[place] for ranking in rankings], return_counts=True)
        assert len(counts) == 3
        assert np.abs(counts - 200).max() < 58  # 5 standard deviations of 11.5
    with pytest.raises(ValueError, match="'random-detected' needs a random generator"):
        rank(candidates, "random-detected")
