"""The conformance test that every named strategy inherits, and what the first ones pick."""

import numpy as np
import pandas as pd
import pytest

from al_rotate.data.instances import RotatedInstances
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

RANKED = [name for name in STRATEGIES if isinstance(make_strategy(name), ScoreStrategy)]
BATCHES = [name for name in STRATEGIES if isinstance(make_strategy(name), BatchStrategy)]
pytestmark = pytest.mark.filterwarnings("ignore::al_rotate.sampling.NotCalibrated")


def rng(seed=0):
    return np.random.default_rng(seed)


def pool(counts, seed=0, tied=False):
    """Detections with all that a strategy may ask for; image i holds counts[i] boxes."""
    draw = rng(seed)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    images, boxes = len(counts), int(offsets[-1])
    class_scores = np.full((boxes, 3), 0.25) if tied else draw.random((boxes, 3)) * 0.9
    return RotatedInstances(
        [f"scene{i % 3}/tile{i:03d}" for i in range(images)],
        offsets,
        np.tile([32, 32, 20, 10, 0], (boxes, 1)) if tied else draw.random((boxes, 5)) + np.array([9, 9, 5, 2, 0]),
        np.zeros(boxes, int) if tied else class_scores.argmax(axis=1),
        scores=class_scores.max(axis=1) if boxes else [],
        class_scores=class_scores,
        box_features=np.ones((boxes, 4)) if tied else draw.normal(size=(boxes, 4)),
        image_features=np.ones((images, 4)) if tied else draw.normal(size=(images, 4)),
        classes=["ship", "plane", "tank"],
    )


def shuffled(instances, seed=9):
    return instances.subset(rng(seed).permutation(instances.image_ids))


MIXED = pool([0, 3, 5, 1, 0, 9, 2, 2, 0, 4, 1, 6] * 3)


def seen_from(candidates):
    """Views in which each image's first box has moved by the image's number, and its last one is gone."""

    def views(image_ids, wanted):
        some = candidates.subset(image_ids)
        moved = some.boxes.copy()
        numbers = np.array([int(i[-3:]) for i in image_ids])
        first, last = some.offsets[:-1][some.counts > 0], np.zeros(some.n_boxes, bool)
        moved[first, 0] += numbers[some.counts > 0] * 0.02
        last[some.offsets[1:][some.counts > 0] - 1] = True
        return [some.replace(boxes=moved).where(~last) for _ in wanted]

    return views


def context_of(candidates, labelled=0):
    """All that a loop would know, after so many images were labelled: half of their detections were right."""
    answered = pool([3] * labelled, seed=5)
    answered = answered.replace(image_ids=[f"labelled/{i}" for i in range(labelled)])
    plain = {"scores": None, "class_scores": None, "box_features": None, "image_features": None}
    right = np.arange(answered.n_boxes) % 2 == 0
    labels = answered.replace(boxes=np.where(right[:, None], answered.boxes, [200, 200, 9, 4, 0]), **plain)
    features = answered.image_features if labelled else None
    return QueryContext(labels, answered, features, seen_from(candidates))


@pytest.fixture(params=[0, 40], ids=["no labels", "labels"])
def labelled(request):
    return request.param


@pytest.mark.parametrize("name", STRATEGIES)
class TestConformance:
    def test_same_seed_same_images_in_whatever_order_they_come(self, name, labelled):
        for candidates in (MIXED, pool([2] * 12, tied=True), pool([0] * 12)):
            context = context_of(candidates, labelled)
            for budget in (7, Budget(boxes=11)):
                once = select(candidates, name, budget, rng(3), context)
                assert select(candidates, name, budget, rng(3), context) == once
                assert select(shuffled(candidates), name, budget, rng(3), context) == once

    @pytest.mark.parametrize("candidates", [MIXED, pool([2] * 12, tied=True), pool([0] * 12)], ids=["mix", "tie", "0"])
    @pytest.mark.parametrize(
        "budget",
        [Budget(images=1), Budget(images=5), Budget(boxes=9), Budget(images=4, boxes=9), Budget(seconds=90)],
        ids=["1", "5", "9 boxes", "both", "seconds"],
    )
    def test_budget_holds_and_no_image_twice_or_from_outside(self, name, candidates, budget, labelled):
        picked = select(candidates, name, budget, rng(), context_of(candidates, labelled))
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
        assert len(select(MIXED, name, 7, rng(), context_of(MIXED, labelled))) == 7
        empty = pool([0] * 12)
        assert len(select(empty, name, Budget(boxes=5), rng(), context_of(empty, labelled))) == 5

    @pytest.mark.parametrize("budget", [10_000, Budget(boxes=10_000)], ids=["images", "boxes"])
    def test_budget_beyond_the_pool_takes_all(self, name, budget, labelled):
        picked = select(MIXED, name, budget, rng(), context_of(MIXED, labelled))
        assert sorted(picked) == sorted(MIXED.image_ids)

    @pytest.mark.parametrize("count", [0, 3])
    def test_one_image(self, name, count, labelled):
        one = pool([count])
        assert select(one, name, 4, rng(), context_of(one, labelled)) == ["scene0/tile000"]

    def test_zero_candidates(self, name, labelled):
        for nothing in (RotatedInstances.empty(), pool([])):
            assert select(nothing, name, 4, rng(), context_of(nothing, labelled)) == []

    def test_an_image_dearer_than_the_budget_is_not_taken(self, name, labelled):
        dear = pool([5, 5])
        assert select(dear, name, Budget(boxes=4), rng(), context_of(dear, labelled)) == []

    def test_candidates_are_left_alone(self, name, labelled):
        candidates = pool([2, 0, 3])
        select(candidates, name, 2, rng(), context_of(candidates, labelled))
        assert candidates == pool([2, 0, 3])

    def test_labels_are_refused(self, name):
        labels = RotatedInstances(["a"], [0, 1], [[5, 5, 4, 2, 0]], [0])
        with pytest.raises(
            ValueError, match="expected detections with scores, got <RotatedInstances: 1 images, 1 labels"
        ):
            select(labels, name, 1, rng())

    def test_table(self, name, labelled):
        for candidates in (MIXED, pool([0] * 12), RotatedInstances.empty()):
            context = context_of(candidates, labelled)
            ranking = rank(candidates, name, rng(), context, budget=5)
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
            assert rank(shuffled(candidates), name, rng(), context, budget=5).equals(ranking)
            assert explain(ranking, ranking["image_id"].tolist()[:5]) == explain(ranking)[:5]

    def test_selection_is_the_table_cut_at_the_budget(self, name, labelled):
        context = context_of(MIXED, labelled)
        for budget in (Budget(images=6), Budget(boxes=17)):
            ranking = rank(MIXED, name, rng(5), context, budget)
            taken = budget.take(ranking["image_id"], ranking["n_shown"])
            assert select(MIXED, name, budget, rng(5), context) == taken

    def test_what_it_needs_is_what_it_looks_at(self, name, labelled):
        """Without the columns that it does not ask for it picks the same; without one that it asks for it says so."""
        strategy, context = make_strategy(name), context_of(MIXED, labelled)
        columns = {"class_scores": ["class_scores"], "features": ["box_features", "image_features"]}
        spare = [c for need, those in columns.items() if need not in strategy.needs for c in those]
        less = QueryContext(
            context.labels if "labels" in strategy.needs else context.labels.subset([]),
            context.detections if "labels" in strategy.needs else context.detections.subset([]),
            context.features if "labelled_features" in strategy.needs else None,
            context.views if "views" in strategy.needs else None,
        )
        options = {"use_class_scores": False} if name in ("least-confidence", "margin", "entropy") else {}
        full = select(MIXED, name, 6, rng(2), context, **options)
        assert select(MIXED.replace(**dict.fromkeys(spare)), name, 6, rng(2), less, **options) == full
        if "features" in strategy.needs:
            bare = MIXED.replace(box_features=None, image_features=None)
            with pytest.raises(ValueError, match=r"expected detections with .*features, got .*: predict\("):
                select(bare, name, 6, rng(2), context)
        if "views" in strategy.needs:
            with pytest.raises(ValueError, match=r"expected QueryContext\(views=...\)"):
                select(MIXED, name, 6, rng(2))


@pytest.mark.parametrize("name", BATCHES)
def test_batches_pick_no_more_than_they_can_use(name):
    ranking = rank(MIXED, name, rng(), context_of(MIXED, 40), Budget(boxes=4))
    assert (ranking["placement"] == "picked").sum() == 4  # four images of one box, or none, would fit
    assert (ranking["score"][:4] == [1, 0.75, 0.5, 0.25]).all()
    assert (ranking["score"][4:] == 0).all()


@pytest.mark.parametrize("name", [name for name in RANKED if make_strategy(name).apart])
def test_a_pool_on_disk_is_ranked_shard_by_shard(name, tmp_path):
    for number in range(3):
        MIXED.subset(MIXED.image_ids[12 * number : 12 * number + 12]).save(tmp_path / f"part-{number}.parquet")
    context = context_of(MIXED, 40)
    pd.testing.assert_frame_equal(rank(tmp_path, name, rng(), context), rank(MIXED, name, rng(), context), rtol=1e-12)


def test_a_strategy_that_looks_at_all_images_loads_them(tmp_path):
    for number in range(3):
        MIXED.subset(MIXED.image_ids[12 * number : 12 * number + 12]).save(tmp_path / f"part-{number}.parquet")
    for name in ("random", "core-set"):
        assert rank(tmp_path, name, rng(4), budget=4).equals(rank(MIXED, name, rng(4), budget=4))


def confidences(images, **options):
    """Detections of one confidence a box from {image id: confidences}."""
    counts = [len(boxes) for boxes in images.values()]
    scores = [score for boxes in images.values() for score in boxes]
    boxes = np.tile([5, 5, 4, 2, 0], (len(scores), 1))
    return RotatedInstances(list(images), np.cumsum([0, *counts]), boxes, np.zeros(len(scores), int), scores, **options)


def order(detections, *arguments, **options):
    return "".join(rank(detections, *arguments, **options)["image_id"])


# Exact in float32, so that equal scores are equal.
IMAGES = {"d": [0.875, 0.875], "b": [0.5], "n": [], "c": [0.25, 0.5, 0.75], "a": [0.6875]}


def test_what_each_strategy_prefers():
    detections = confidences(IMAGES)
    assert order(detections, "least-confidence") == "bcadn"  # b 0.5, c 0.5, a 0.3125, d 0.125
    assert order(detections, "least-confidence", how="max") == "cbadn"  # c 0.75
    assert order(detections, "margin") == "bcadn"  # b 1, c (0.5 + 1 + 0.5) / 3, a 0.625, d 0.25
    assert order(detections, "entropy") == order(detections, "entropy", how="max")
    # b 0.693, a 0.621, c (2 * 0.562 + 0.693) / 3 = 0.606, d 0.377
    assert order(detections, "entropy", how="mean") == "bacdn"
    assert order(detections, "entropy", how="sum") == "cdban"  # c 1.818, d 0.754
    assert order(detections, "entropy", how="max") == "bcadn"  # c 0.693
    assert order(detections, "entropy", how="top-k", k=2) == "bcadn"  # c (0.693 + 0.562) / 2 = 0.628
    assert order(detections, "box-count") == "cdabn"


def test_images_without_a_box():
    detections = confidences(IMAGES)
    assert order(detections, "margin", empty="first") == "nbcad"
    assert order(detections, "margin", empty="mean") == "bcnad"
    ranking = rank(detections, "margin", empty="mean").set_index("image_id")
    assert ranking.loc["n", "score"] == pytest.approx((1 + 2 / 3 + 0.625 + 0.25) / 4, abs=1e-9)
    assert ranking["empty"].to_dict() == {"b": False, "a": False, "n": True, "c": False, "d": False}
    assert np.isnan(ranking.loc["n", "uncertainty_max"])
    # equal scores: the rule decides before the id does
    sure = confidences({"b": [1.0], "a": [], "c": [1.0]})
    assert order(sure, "entropy", empty="last") == "bca"
    assert order(sure, "entropy", empty="first") == "abc"
    between = confidences({"b": [], "a": [1.0], "c": [1.0]})
    assert order(between, "entropy", empty="mean") == "abc"


def test_parts_of_a_score():
    ranking = rank(confidences(IMAGES), "margin", how="sum").set_index("image_id")
    parts = ranking.loc["c", ["score", "uncertainty_mean", "uncertainty_max"]].tolist()
    assert parts == pytest.approx([2.0, 2 / 3, 1.0], abs=1e-9)


def test_class_scores_are_used_where_they_are():
    # by one confidence a is the unsure one, by the classes b
    detections = confidences({"a": [0.5], "b": [0.75]}, class_scores=[[0.5, 0.0], [0.75, 0.75]])
    assert order(detections, "margin") == order(detections, "margin", use_class_scores=True) == "ba"
    assert order(detections, "margin", use_class_scores=False) == "ab"
    with pytest.raises(ValueError, match="expected detections with class_scores, got none"):
        rank(confidences(IMAGES), "margin", use_class_scores=True)


def test_last_bits_do_not_decide():
    # 0.1 + 0.2 + 0.3 differs from 0.3 + 0.2 + 0.1 in the last bit
    ranking = ScoreStrategy(
        lambda candidates, rng, context: {"score": np.array([0.1 + 0.2 + 0.3, 0.3 + 0.2 + 0.1])[::-1]}
    )
    assert ranking.rank(pool([1, 1]))["image_id"].tolist() == ["scene0/tile000", "scene1/tile001"]


def test_random_is_uniform_and_by_seed():
    candidates = pool([1, 0, 5, 2])
    firsts = [select(candidates, "random", 1, rng(seed))[0] for seed in range(800)]
    _, counts = np.unique(firsts, return_counts=True)
    assert len(counts) == 4
    assert np.abs(counts - 200).max() < 60  # 200 +- 5 standard deviations of 12
    with pytest.raises(ValueError, match=r"'random' draws from a generator of yours: rng=np.random.default_rng"):
        rank(candidates, "random")


class TestOwnStrategies:
    def test_a_plain_function(self):
        def most_ships(candidates, budget, rng):
            ships = np.bincount(candidates.image_index, candidates.labels == 0, minlength=len(candidates))
            order = np.lexsort((candidates.image_ids, -ships))
            return budget.take(candidates.image_ids[order], candidates.counts[order])

        candidates = pool([4, 3, 2, 1]).where(np.array([1, 1, 0, 0, 1, 1, 1, 1, 1, 1], bool))  # 2, 3, 2, 1 boxes
        candidates = candidates.replace(labels=np.array([1, 1, 0, 0, 2, 0, 1, 1]))  # 0, 2, 1, 0 ships
        assert select(candidates, most_ships, 3, rng()) == ["scene1/tile001", "scene2/tile002", "scene0/tile000"]
        assert select(candidates, most_ships, Budget(boxes=5), rng()) == ["scene1/tile001", "scene2/tile002"]

    @pytest.mark.parametrize("kind", [list, tuple, np.array])
    def test_sequences_come_back_as_a_list_of_str(self, kind):
        picked = select(pool([1, 1]), lambda candidates, budget, rng: kind(["scene1/tile001"]), 2, rng())
        assert picked == ["scene1/tile001"]
        assert type(picked) is list
        assert type(picked[0]) is str

    def test_it_is_given_the_generator(self):
        def draw(candidates, budget, rng):
            return rng.choice(candidates.image_ids, budget.images, replace=False)

        assert select(MIXED, draw, 5, rng(1)) == rng(1).choice(MIXED.image_ids, 5, replace=False).tolist()
        with pytest.raises(ValueError, match="'draw' is given a generator: rng="):
            select(MIXED, draw, 5)

    @pytest.mark.parametrize(
        ("returned", "message"),
        [
            (["scene0/tile000", "elsewhere"], "expected ids of candidates from the strategy 'bad', got 'elsewhere'"),
            ([0], "expected ids of candidates from the strategy 'bad', got 0"),
            (["scene0/tile000"] * 2, "each image once from the strategy 'bad', got 'scene0/tile000' 2 times"),
            (
                ["scene0/tile000", "scene1/tile001"],
                r"at most Budget\(.*from the strategy 'bad', got 2 images with 3 boxes",
            ),
            ("scene0/tile000", "expected a list of image ids from the strategy 'bad', got 'scene0/tile000'"),
            (None, "expected a list of image ids from the strategy 'bad', got None"),
        ],
    )
    def test_a_broken_one_is_refused_by_name(self, returned, message):
        def bad(candidates, budget, rng):
            return returned

        with pytest.raises(ValueError, match=message):
            select(pool([3, 0]), bad, Budget(boxes=3), rng())

    def test_it_does_not_rank(self):
        with pytest.raises(ValueError, match=r"'only_picks', which only picks: use select\(\)"):
            rank(MIXED, lambda_named("only_picks"))

    def test_it_is_told_what_is_known_if_it_asks(self):
        def rarest(candidates, budget, rng, context):
            rare = context.class_counts(3).argmin()
            shows = np.bincount(candidates.image_index, candidates.labels == rare, minlength=len(candidates)) > 0
            return budget.take(candidates.image_ids[shows], candidates.counts[shows])

        candidates = pool([1, 1, 1]).replace(labels=[2, 1, 0])
        labels = RotatedInstances(["a"], [0, 3], [[5, 5, 4, 2, 0]] * 3, [0, 0, 1])
        assert select(candidates, rarest, 5, rng(), QueryContext(labels)) == ["scene0/tile000"]

    def test_a_ranking_of_your_own(self):
        biggest = ScoreStrategy(
            lambda candidates, rng, context: {"score": 9.0 - candidates.counts, "boxes": candidates.counts},
            empty="last",
        )
        ranking = rank(pool([2, 0, 1]), biggest)
        assert ranking["n_boxes"].tolist() == ranking["boxes"].tolist() == [1, 2, 0]
        assert select(pool([2, 0, 1]), biggest, 1) == ["scene2/tile002"]

    def test_bad_scores_name_the_image(self):
        with pytest.raises(ValueError, match="expected finite scores, got nan for image 'scene1/tile001'"):
            rank(pool([1, 1]), ScoreStrategy(lambda candidates, rng, context: {"score": np.array([0.0, np.nan])}))
        with pytest.raises(ValueError, match=r"expected a score for each of 2 images, got \(3,\)"):
            rank(pool([1, 1]), ScoreStrategy(lambda candidates, rng, context: {"score": np.zeros(3)}))


def lambda_named(name):
    def strategy(candidates, budget, rng):
        return []

    strategy.__name__ = name
    return strategy


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("entropie", {}, r"expected a strategy among random, .*, got 'entropie'. Did you mean 'entropy'\?"),
        ("zzz", {}, "got 'zzz'.$"),
        ("entropy", {"hwo": "max"}, r"options of 'entropy' among \(how, k, empty, use_class_scores, weight\), got hwo"),
        ("random", {"how": "max"}, r"options of 'random' among \(\), got how"),
        ("entropy", {"how": "median"}, "expected how to be one of"),
        ("entropy", {"empty": "drop"}, "expected empty to be one of"),
        ("entropy", {"use_class_scores": "yes"}, "expected use_class_scores to be True, False or 'auto', got 'yes'"),
        (lambda_named("mine"), {"k": 1}, "expected no options besides a strategy of your own, got k"),
    ],
)
def test_names_and_options(name, options, message):
    with pytest.raises(ValueError, match=message):
        make_strategy(name, **options)


def test_a_seed_is_no_generator():
    with pytest.raises(TypeError, match=r"expected rng to be a np.random.Generator, got 7"):
        select(MIXED, "random", 3, 7)


def test_a_number_is_a_budget_of_images():
    assert select(MIXED, "entropy", 3) == select(MIXED, "entropy", Budget(images=3))
    with pytest.raises(ValueError, match="expected a budget of at least one of images, got 0"):
        select(MIXED, "entropy", 0)
