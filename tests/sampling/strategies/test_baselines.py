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
