"""The conformance test that every named strategy passes."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from helpers.random_pools import MIXED, context_of, random_pool, rng, shuffled

from al_rotate import RotatedInstances
from al_rotate.sampling import (
    STRATEGIES,
    BatchStrategy,
    Budget,
    QueryContext,
    ScoreStrategy,
    explain,
    make_strategy,
    rank,
    select,
    shown,
)

WRAPPED = {
    "entropy, triage": ("entropy", {"triage": 0.8, "audit": 0.25}),
    "pal, all options": (
        "pal",
        {"start": "typiclust", "per_scene": 3, "scene": "(.*)/.*", "triage": 0.8, "audit": 0.2, "duplicates": 0.4},
    ),
    "core-set, duplicates": ("core-set", {"duplicates": 0.4}),
    "random, per scene": ("random", {"per_scene": 2, "scene": "(.*)/.*"}),
}
ALL = {**{name: (name, {}) for name in STRATEGIES}, **WRAPPED}
RANKED = [name for name in STRATEGIES if isinstance(make_strategy(name), ScoreStrategy)]
BATCHES = [name for name in STRATEGIES if isinstance(make_strategy(name), BatchStrategy)]
pytestmark = pytest.mark.filterwarnings("ignore::al_rotate.sampling.NotCalibrated")


def made(name, **options):
    strategy, own = ALL[name]
    return make_strategy(strategy, **own, **options)


@pytest.fixture(params=[0, 40], ids=["no labels", "labels"])
def labelled(request):
    return request.param


@pytest.mark.parametrize("name", ALL)
class TestConformance:
    def test_same_seed_same_images_in_whatever_order_they_come(self, name, labelled):
        for candidates in (MIXED, random_pool([2] * 12, tied=True), random_pool([0] * 12)):
            context = context_of(candidates, labelled)
            for budget in (7, Budget(boxes=11)):
                picked = select(candidates, made(name), budget, rng(3), context)
                assert select(candidates, made(name), budget, rng(3), context) == picked
                assert select(shuffled(candidates), made(name), budget, rng(3), context) == picked

    @pytest.mark.parametrize(
        "candidates", [MIXED, random_pool([2] * 12, tied=True), random_pool([0] * 12)], ids=["mix", "tie", "0"]
    )
    @pytest.mark.parametrize(
        "budget",
        [Budget(images=1), Budget(images=5), Budget(boxes=9), Budget(images=4, boxes=9), Budget(seconds=90)],
        ids=["1", "5", "9 boxes", "both", "seconds"],
    )
    def test_budget_holds_and_no_image_twice_or_from_outside(self, name, candidates, budget, labelled):
        picked = select(candidates, made(name), budget, rng(), context_of(candidates, labelled))
        assert type(picked) is list
        assert all(type(i) is str for i in picked)
        assert len(set(picked)) == len(picked)
        assert set(picked) <= set(candidates.image_ids)
        assert 1 <= len(picked)
        assert budget.images is None or len(picked) <= budget.images
        counts = shown(candidates.subset(picked))
        assert budget.boxes is None or np.maximum(counts, 1).sum() <= budget.boxes
        assert budget.seconds is None or (5 + 6.5 * counts).sum() <= budget.seconds

    def test_budget_is_used(self, name, labelled):
        assert len(select(MIXED, made(name), 7, rng(), context_of(MIXED, labelled))) == 7
        empty = random_pool([0] * 12)
        assert len(select(empty, made(name), Budget(boxes=5), rng(), context_of(empty, labelled))) == 5

    @pytest.mark.parametrize("budget", [10_000, Budget(boxes=10_000)], ids=["images", "boxes"])
    def test_budget_beyond_the_pool_takes_all(self, name, budget, labelled):
        picked = select(MIXED, made(name), budget, rng(), context_of(MIXED, labelled))
        assert sorted(picked) == sorted(MIXED.image_ids)

    @pytest.mark.parametrize("count", [0, 3])
    def test_one_image(self, name, count, labelled):
        image = random_pool([count])
        assert select(image, made(name), 4, rng(), context_of(image, labelled)) == ["scene0/tile000"]

    def test_zero_candidates(self, name, labelled):
        for nothing in (RotatedInstances.empty(), random_pool([])):
            assert select(nothing, made(name), 4, rng(), context_of(nothing, labelled)) == []

    def test_an_image_more_expensive_than_the_budget_is_not_taken(self, name, labelled):
        large = random_pool([5, 5])
        assert select(large, made(name), Budget(boxes=4), rng(), context_of(large, labelled)) == []

    def test_candidates_are_unchanged(self, name, labelled):
        candidates = random_pool([2, 0, 3])
        select(candidates, made(name), 2, rng(), context_of(candidates, labelled))
        assert candidates == random_pool([2, 0, 3])

    def test_labels_are_refused(self, name):
        labels = RotatedInstances(["a"], [0, 1], [[5, 5, 4, 2, 0]], [0])
        with pytest.raises(
            ValueError, match="expected detections with scores, got <RotatedInstances: 1 images, 1 labels"
        ):
            select(labels, made(name), 1, rng())

    def test_table(self, name, labelled):
        for candidates in (MIXED, random_pool([0] * 12), RotatedInstances.empty()):
            context = context_of(candidates, labelled)
            ranking = rank(candidates, made(name), rng(), context, budget=5)
            assert ranking.columns[:6].tolist() == ["rank", "image_id", "score", "n_boxes", "empty", "placement"]
            assert {"n_shown", "expected_seconds", "expected_boxes"} <= {*ranking.columns}
            assert ranking["rank"].tolist() == list(range(1, len(candidates) + 1))
            assert sorted(ranking["image_id"]) == sorted(candidates.image_ids)
            assert ranking["n_boxes"].tolist() == [candidates[i].n_boxes for i in ranking["image_id"]]
            assert ranking["empty"].dtype == bool
            assert ranking["empty"].tolist() == (ranking["n_boxes"] == 0).tolist()
            assert ranking["score"].is_monotonic_decreasing
            assert ranking["n_shown"].tolist() == shown(candidates.subset(ranking["image_id"])).tolist()
            np.testing.assert_allclose(ranking["expected_seconds"], 5 + 6.5 * ranking["n_shown"])
            assert rank(shuffled(candidates), made(name), rng(), context, budget=5).equals(ranking)
            assert explain(ranking, ranking["image_id"].tolist()[:5]) == explain(ranking)[:5]

    def test_selection_is_the_table_cut_at_the_budget(self, name, labelled):
        context = context_of(MIXED, labelled)
        for budget in (Budget(images=6), Budget(boxes=17)):
            ranking = rank(MIXED, made(name), rng(5), context, budget)
            taken = budget.take(ranking["image_id"], ranking["n_shown"])
            assert select(MIXED, made(name), budget, rng(5), context) == taken

    def test_it_needs_what_it_uses(self, name, labelled):
        """Without the columns that it does not need it picks the same; without one that it needs it fails."""
        strategy, context = made(name), context_of(MIXED, labelled)
        columns = {"class_scores": ["class_scores"], "features": ["box_features", "image_features"]}
        spare = [c for need, those in columns.items() if need not in strategy.needs for c in those]
        less = QueryContext(
            context.labels if "labels" in strategy.needs else context.labels.subset([]),
            context.detections if "labels" in strategy.needs else context.detections.subset([]),
            context.features if "labelled_features" in strategy.needs else None,
            context.views if "views" in strategy.needs else None,
            labelled_detections=context.labelled_detections if "labelled_features" in strategy.needs else None,
        )
        options = {"use_class_scores": False} if ALL[name][0] in ("least-confidence", "margin", "entropy") else {}
        full = select(MIXED, made(name, **options), 6, rng(2), context)
        assert select(MIXED.replace(**dict.fromkeys(spare)), made(name, **options), 6, rng(2), less) == full
        if "features" in strategy.needs:
            bare = MIXED.replace(box_features=None, image_features=None)
            with pytest.raises(ValueError, match=r"expected detections with .*features, got .*: predict\("):
                select(bare, made(name), 6, rng(2), context)
        if "views" in strategy.needs:
            with pytest.raises(ValueError, match=r"expected QueryContext\(views=...\)"):
                select(MIXED, made(name), 6, rng(2))


@pytest.mark.parametrize("name", BATCHES)
@pytest.mark.parametrize("budget", [Budget(boxes=4), Budget(boxes=17), Budget(seconds=90)], ids=str)
def test_batches_pick_as_many_as_the_budget_buys(name, budget):
    """Of four boxes, the smallest images would be four; in the order of the strategy it is usually one or two."""
    context = context_of(MIXED, 40)
    ranking = rank(MIXED, name, rng(), context, budget)
    n = (ranking["placement"] == "picked").sum()
    bought = len(budget.take(ranking["image_id"], ranking["n_shown"]))
    assert 1 <= n <= bought
    if n < bought:  # no number of images is what the budget buys in the order for that number
        more = rank(MIXED, name, rng(), context, int(n + 1))
        assert len(budget.take(more["image_id"], more["n_shown"])) < n + 1
    assert ranking["score"].tolist() == [round(1 - k / n, 10) for k in range(n)] + [0] * (len(MIXED) - n)


@pytest.mark.parametrize("name", BATCHES)
def test_views_are_made_once(name):
    asked = []
    context = context_of(MIXED, 40)

    def views(ids, wanted):
        asked.extend(ids)
        return context.predict_views(ids, wanted)

    options = {"views": True} if name == "hybrid" else {}
    rank(MIXED, name, rng(), dataclasses.replace(context, views=views), Budget(boxes=9), **options)
    assert len(asked) == len({*asked})


@pytest.mark.parametrize("name", [name for name in RANKED if make_strategy(name).per_image])
def test_a_pool_on_disk_is_ranked_shard_by_shard(name, tmp_path):
    for number in range(3):
        MIXED.subset(MIXED.image_ids[12 * number : 12 * number + 12]).save(tmp_path / f"part-{number}.parquet")
    context = context_of(MIXED, 40)
    pd.testing.assert_frame_equal(rank(tmp_path, name, rng(), context), rank(MIXED, name, rng(), context), rtol=1e-12)


def test_a_strategy_that_compares_images_loads_the_whole_pool(tmp_path):
    for number in range(3):
        MIXED.subset(MIXED.image_ids[12 * number : 12 * number + 12]).save(tmp_path / f"part-{number}.parquet")
    for name in ("random", "core-set", *WRAPPED):
        whole = rank(MIXED, made(name), rng(4), budget=4)
        assert rank(tmp_path, made(name), rng(4), budget=4).equals(whole)
