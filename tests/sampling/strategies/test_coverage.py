"""Something of every kind of object, on built cases."""

import numpy as np
import pytest
from helpers.built import CLASSES, pool

from al_rotate.data import RotatedInstances
from al_rotate.sampling import Budget, ExpectedCost, QueryContext, make_strategy, rank, select

EAST, NORTH = [1.0, 0.0], [0.0, 1.0]
IMAGES = {"e1": [(0, 1.0)], "e3": [(0, 1.0)] * 3, "mix": [(0, 1.0)] * 2, "none": []}
FEATURES = [EAST, EAST, EAST, EAST, EAST, NORTH]


def rng(seed=0):
    return np.random.default_rng(seed)


def candidates():
    return pool(IMAGES, box_features=FEATURES)


def test_one_of_each_kind_before_many_of_one():
    """An eastward and a northward ship are worth 2, three eastward ones sqrt(3)."""
    table = rank(candidates(), "object-coverage", rng(), budget=2, per_class=2).set_index("image_id")
    assert table["object_coverage"].to_dict() == pytest.approx({"e1": 1, "e3": np.sqrt(3), "mix": 2, "none": 0})
    assert table.index.tolist() == ["mix", "e3", "e1", "none"]
    one_kind = rank(candidates(), "object-coverage", rng(), budget=2, per_class=1)
    assert one_kind["image_id"].tolist()[0] == "e3"


def test_what_the_labels_hold_is_worth_less():
    """A hundred northward ships are labelled: mix adds 1 + a twentieth, e3 sqrt(3)."""
    found = pool({"x": [(0, 1.0)] * 100}, box_features=[NORTH] * 100)
    context = QueryContext(found.as_labels(), labelled_detections=found)
    assert select(candidates(), "object-coverage", 1, rng(), context, per_class=2) == ["e3"]


def test_labels_on_which_nothing_is_found_hold_nothing():
    """A learner may give no scores then, nor features; labels in place of detections count in full."""
    nothing = RotatedInstances.empty(["x"], CLASSES)
    assert nothing.scores is None
    context = QueryContext(nothing, labelled_detections=nothing)
    without = rank(candidates(), "object-coverage", rng(), QueryContext(), 2, per_class=2)
    assert rank(candidates(), "object-coverage", rng(), context, 2, per_class=2).equals(without)
    north = pool({"x": [(0, 1.0)] * 100}, box_features=[NORTH] * 100)
    context = QueryContext(north.as_labels(), labelled_detections=north.replace(scores=None))
    assert select(candidates(), "object-coverage", 1, rng(), context, per_class=2) == ["e3"]


def test_an_image_that_takes_no_time_comes_first():
    """Where only boxes that are shown take time, one whose ship is too faint to be shown costs nothing."""
    images = {"shown": [(0, 1.0)] * 4, "faint": [(0, 0.2)], "none": []}
    budget = Budget(seconds=12, cost=ExpectedCost(image=0, box=0, correction=1))
    for strategy in ("object-coverage", "hybrid"):
        many = pool(images, box_features=[EAST] * 5, image_features=[EAST, NORTH, NORTH])
        context = QueryContext(cost=budget.cost)
        ranking = rank(many, strategy, rng(), context, budget)
        assert np.isfinite(ranking["score"]).all()
        assert sorted(ranking["image_id"]) == sorted(images)
    table = rank(many, "object-coverage", rng(), QueryContext(), budget)["image_id"].tolist()
    assert table == ["faint", "shown", "none"]


def test_value_for_the_budget():
    """Of boxes, e1 gives 1 for one, mix 2 for two (a tie, the first by id), e3 sqrt(3) for three."""
    assert select(candidates(), "object-coverage", Budget(boxes=1), rng(), per_class=2)[0] == "e1"
    order = rank(candidates(), "object-coverage", rng(), None, Budget(boxes=9), per_class=2)["image_id"].tolist()
    assert order[0] == "e1"


def test_entropy_wants_what_is_unsure():
    images = {"sure": [(0, 0.98)] * 3, "unsure": [(0, 0.5)]}
    many = pool(images, box_features=[EAST] * 4)
    assert select(many, "object-coverage", 1, rng()) == ["sure"]
    assert select(many, "object-coverage", 1, rng(), weight="entropy") == ["unsure"]


def test_refusals():
    with pytest.raises(ValueError, match="'object-coverage' needs a random generator"):
        rank(candidates(), "object-coverage")
    for options in ({"per_class": 0}, {"weight": "area"}):
        with pytest.raises(ValueError, match="expected per_class >= 1 and weight to be probability or entropy"):
            make_strategy("object-coverage", **options)
