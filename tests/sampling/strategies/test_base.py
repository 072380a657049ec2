"""Score and batch strategies of a user: what their tables do with scores and ties."""

import numpy as np
import pytest
from helpers.random_pools import random_pool

from al_rotate.sampling import BatchStrategy, ScoreStrategy, rank, select


def test_last_bits_do_not_decide():
    # 0.1 + 0.2 + 0.3 differs from 0.3 + 0.2 + 0.1 in the last bit
    ranking = ScoreStrategy(
        lambda candidates, rng, context: {"score": np.array([0.1 + 0.2 + 0.3, 0.3 + 0.2 + 0.1])[::-1]}
    )
    assert ranking.rank(random_pool([1, 1]))["image_id"].tolist() == ["scene0/tile000", "scene1/tile001"]


def test_a_score_strategy():
    biggest = ScoreStrategy(
        lambda candidates, rng, context: {"score": 9.0 - candidates.counts, "boxes": candidates.counts},
        empty="last",
    )
    ranking = rank(random_pool([2, 0, 1]), biggest)
    assert ranking["n_boxes"].tolist() == ranking["boxes"].tolist() == [1, 2, 0]
    assert select(random_pool([2, 0, 1]), biggest, 1) == ["scene2/tile002"]


def test_bad_scores_name_the_image():
    with pytest.raises(ValueError, match="expected finite scores, got nan for image 'scene1/tile001'"):
        rank(random_pool([1, 1]), ScoreStrategy(lambda candidates, rng, context: {"score": np.array([0.0, np.nan])}))
    with pytest.raises(ValueError, match=r"expected a score for each of 2 images, got \(3,\)"):
        rank(random_pool([1, 1]), ScoreStrategy(lambda candidates, rng, context: {"score": np.zeros(3)}))


def test_a_batch_strategy():
    """Picked images first, the others by the fallback score; the picker gets them by id."""

    def pick(candidates, n, rng, context):
        assert candidates.image_ids.tolist() == sorted(candidates.image_ids)
        return [2, 0][:n], {"fallback_score": np.array([0, 1, 2, 3]), "boxes": candidates.counts}

    candidates = random_pool([1, 3, 2, 0]).subset([f"scene{i % 3}/tile{i:03d}" for i in (3, 1, 2, 0)])
    table = rank(candidates, BatchStrategy(pick), budget=2)
    assert [i[-1] for i in table["image_id"]] == ["1", "0", "2", "3"]
    assert table["score"].tolist() == [1, 0.5, 0, 0]
    assert table["placement"].tolist() == ["picked"] * 2 + ["rest"] * 2
    assert table["boxes"].tolist() == table["n_boxes"].tolist()
    assert "fallback_score" not in table
