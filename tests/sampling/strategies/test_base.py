"""Score and batch strategies of a user: what their tables do with scores and ties."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.random_pools import context_of, random_pool, rng

from al_rotate.sampling import (
    STRATEGIES,
    BatchStrategy,
    ScoreStrategy,
    explain,
    figures_of,
    make_strategy,
    rank,
    select,
)

NOTHING = random_pool([0] * 12)
NOT_BY_BOXES = ("random", "core-set", "typiclust", "hybrid")  # which draw, or tell such images apart by their features


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


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name not in NOT_BY_BOXES])
@pytest.mark.filterwarnings("ignore::al_rotate.sampling.NotCalibrated")
def test_images_are_drawn_where_no_box_is_detected_in_any(name):
    """Not taken in the order of their ids; by a seed always the same ones."""
    context = context_of(NOTHING, 40)
    queries = [select(NOTHING, name, 3, rng(seed), context) for seed in range(60)]
    assert queries[5] == select(NOTHING, name, 3, rng(5), context)
    times = np.array([sum(i in query for query in queries) for i in NOTHING.image_ids])
    assert times.sum() == 180
    assert times.min() >= 4  # each of the 12 is expected 15 times, with a standard deviation of 3.4
    assert times.max() <= 28
    ranking = rank(NOTHING, name, rng(5), context, 3)
    assert ranking["image_id"].tolist()[:3] == queries[5]
    assert ranking["drawn"].all()
    assert np.isnan(figures_of(make_strategy(name), ranking)).all()
    assert explain(ranking)[0].startswith("Drawn at random from 12 images; ")
    assert explain(ranking)[0].endswith("nothing is detected yet.")


@pytest.mark.parametrize("name", ["pal", "mus-cdb", "cald", "ppal"])
@pytest.mark.filterwarnings("ignore::al_rotate.sampling.NotCalibrated")
def test_images_are_drawn_where_the_same_is_detected_in_each(name):
    """As by a head that has hardly been trained. Nobody is told of a class that they were not asked for."""
    pool = random_pool([2] * 12, tied=True)
    context = replace(context_of(pool), views=lambda image_ids, views: [pool.subset(image_ids)] * len(views))
    queries = {tuple(select(pool, name, 3, rng(seed), context)) for seed in range(10)}
    assert len(queries) > 5
    ranking = rank(pool, name, rng(1), context, 3)
    assert ranking["drawn"].all()
    assert "quota" not in ranking
    assert explain(ranking)[0].startswith("Drawn at random from 12 images; ")
    assert "asked for" not in explain(ranking)[0]


def test_features_tell_images_without_a_box_apart():
    for name in ("core-set", "typiclust", "hybrid"):
        assert "drawn" not in rank(NOTHING, name, rng(), context_of(NOTHING, 40), 3)


def test_what_ties_for_a_whole_query_is_drawn():
    """Of 8 images, 5 have two boxes and tie for the first place: up to 4 of them are drawn."""
    pool = random_pool([1, 2, 2, 2, 0, 2, 2, 1], tied=True)
    counts = ScoreStrategy(lambda candidates, rng, context: {"score": candidates.counts}, empty="last")
    by_id = [i for i in sorted(pool.image_ids) if pool[i].n_boxes == 2]
    assert select(pool, counts, 4) == by_id[:4]  # without a generator
    drawn = {i for seed in range(20) for i in select(pool, counts, 4, rng(seed))}
    assert sorted(drawn) == by_id
    ranking = rank(pool, counts, rng(1), budget=4)
    assert ranking["drawn"].tolist() == [True] * 5 + [False] * 3
    assert ranking["n_boxes"].tolist() == [2] * 5 + [1, 1, 0]
    assert explain(ranking)[0].startswith("Drawn at random from 5 images; ")
    assert explain(ranking)[5].startswith("Rank 6 of 8: ")
    assert np.isnan(figures_of(counts, ranking)).tolist() == [True] * 5 + [False] * 3
    assert select(pool, counts, 5, rng(1)) == by_id
    assert "drawn" not in rank(pool, counts, rng(1), budget=5)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("entropy", "score"),
        ("box-count", "score"),
        ("cald", "inconsistency"),
        ("ppal", "uncertainty"),
        ("pal", "uncertainty"),
        ("mus-cdb", "uncertainty"),
        ("badge", "gradient"),
        ("core-set", None),
        ("typiclust", None),
        ("random", None),
    ],
)
@pytest.mark.filterwarnings("ignore::al_rotate.sampling.NotCalibrated")
def test_the_strategys_own_figure(name, column):
    pool = random_pool([3, 1, 4, 1, 5, 2])
    ranking = rank(pool, name, rng(), context_of(pool, 40), 4)
    figures = figures_of(make_strategy(name), ranking)
    expected = np.full(6, np.nan) if column is None else ranking[column]
    np.testing.assert_array_equal(figures, expected)
    assert column is None or np.isfinite(figures).all()


def test_a_function_of_your_own_has_no_figure():
    assert np.isnan(figures_of(lambda candidates, budget, rng: [], rank(NOTHING, "entropy"))).all()
