"""What strategies that score each image by its uncertainty prefer, on built cases with values worked by hand."""

import numpy as np
import pytest
from helpers.built import labelled, overconfident, pool

from al_rotate.data.instances import RotatedInstances
from al_rotate.sampling import NotCalibrated, QueryContext, rank
from al_rotate.sampling.measures.uncertainty import entropy


def order(table):
    return table["image_id"].tolist()


class TestWeights:
    def test_area(self):
        """A large sure box and a small unsure one: by area 0.75 * 0 + 0.25 * 0.5 of least confidence."""
        candidates = pool(
            {"a": [(0, 1.0, (50, 50, 60, 10, 0)), (0, 0.5, (50, 50, 20, 10, 0))], "b": [(0, 0.8)], "c": []}
        )
        table = rank(candidates, "least-confidence", weight="area").set_index("image_id")
        assert table["score"].to_dict() == pytest.approx({"a": 0.125, "b": 0.2, "c": 0}, abs=1e-7)
        total = rank(candidates, "least-confidence", weight="area", how="sum").set_index("image_id")["score"]
        assert total["a"] == pytest.approx(2 * 0.125)  # areas in units of the image's own mean

    def test_class(self):
        """Of 3, 1 and 0 labels the shares are softmax(1/4, 3/4, 1), times three classes."""
        share = np.exp([0.25, 0.75, 1.0])
        share *= 3 / share.sum()
        candidates = pool({"a": [(0, 0.5), (1, 0.8)], "b": [(2, 0.5)]})
        table = rank(
            candidates, "least-confidence", context=QueryContext(labelled([3, 1, 0])), weight="class"
        ).set_index("image_id")
        mean = (share[0] * 0.5 + share[1] * 0.2) / (share[0] + share[1])
        assert table["score"].to_dict() == pytest.approx({"a": mean, "b": 0.5}, abs=1e-7)
        sums = rank(
            candidates, "least-confidence", context=QueryContext(labelled([3, 1, 0])), weight="class", how="sum"
        )
        assert sums.set_index("image_id")["score"]["b"] == pytest.approx(share[2] * 0.5)

    def test_only_where_they_mean_something(self):
        for name in ("entropy", "calibrated-entropy"):
            with pytest.raises(ValueError, match="expected how to be mean or sum with weights of boxes, got 'max'"):
                rank(pool({}), name, weight="area", how="max")
            with pytest.raises(ValueError, match="expected weight to be area, class or None, got 'size'"):
                rank(pool({}), name, weight="size", how="mean")


class TestEmpty:
    def test_missed_by_their_own_rate(self):
        """Of 3 images without a detection 2 held something: (2 + 1) / (3 + 2) of the mean score."""
        held = pool({"x": [], "y": [], "z": []})
        labels = pool({"x": [(0, 1.0)], "y": [(1, 1.0)], "z": []}).replace(scores=None)
        table = rank(
            pool({"a": [(0, 0.5)], "b": [], "c": [(0, 0.9)]}),
            "least-confidence",
            context=QueryContext(labels, held),
            empty="missed",
        ).set_index("image_id")
        assert table.loc["b", "score"] == pytest.approx(0.6 * (0.5 + 0.1) / 2)
        assert table["placement"].to_dict() == {"a": "score", "b": "missed", "c": "score"}


class TestCalibratedEntropy:
    def test_it_knows_which_scores_lie(self):
        """0.9 for a ship is right every second time, 0.6 for a plane nearly always: the scores say the opposite."""
        detections, truth = overconfident()
        candidates = pool({"ship": [(0, 0.9)], "plane": [(1, 0.6)]})
        assert order(rank(candidates, "entropy")) == ["plane", "ship"]
        table = rank(candidates, "calibrated-entropy", context=QueryContext(truth, detections))
        assert order(table) == ["ship", "plane"]
        assert table["score"][0] == pytest.approx(np.log(2), abs=0.02)
        assert table["score"][1] == pytest.approx(entropy([0.97])[0], abs=0.08)
        assert table["expected_boxes"].tolist() == pytest.approx([0.5, 0.97], abs=0.05)
        assert table["calibrated"].all()

    def test_without_labels_it_is_entropy_and_says_so(self):
        candidates = pool({"a": [(0, 0.9)], "b": [(1, 0.6)], "c": [(1, 0.2), (0, 0.7)]})
        with pytest.warns(NotCalibrated, match="scores are not calibrated: .* there are 0, 0 of them right"):
            table = rank(candidates, "calibrated-entropy")
        plain = rank(candidates, "entropy", how="mean")
        assert table["score"].tolist() == plain["score"].tolist()
        assert not table["calibrated"].any()


def confidences(images, **options):
    """Detections of one confidence a box from {image id: confidences}."""
    counts = [len(boxes) for boxes in images.values()]
    scores = [score for boxes in images.values() for score in boxes]
    boxes = np.tile([5, 5, 4, 2, 0], (len(scores), 1))
    return RotatedInstances(list(images), np.cumsum([0, *counts]), boxes, np.zeros(len(scores), int), scores, **options)


def ranked(detections, *arguments, **options):
    return "".join(rank(detections, *arguments, **options)["image_id"])


# Exact in float32, so that equal scores are equal.
IMAGES = {"d": [0.875, 0.875], "b": [0.5], "n": [], "c": [0.25, 0.5, 0.75], "a": [0.6875]}


def test_what_each_strategy_prefers():
    detections = confidences(IMAGES)
    assert ranked(detections, "least-confidence") == "bcadn"  # b 0.5, c 0.5, a 0.3125, d 0.125
    assert ranked(detections, "least-confidence", how="max") == "cbadn"  # c 0.75
    assert ranked(detections, "margin") == "bcadn"  # b 1, c (0.5 + 1 + 0.5) / 3, a 0.625, d 0.25
    assert ranked(detections, "entropy") == ranked(detections, "entropy", how="max")
    # b 0.693, a 0.621, c (2 * 0.562 + 0.693) / 3 = 0.606, d 0.377
    assert ranked(detections, "entropy", how="mean") == "bacdn"
    assert ranked(detections, "entropy", how="sum") == "cdban"  # c 1.818, d 0.754
    assert ranked(detections, "entropy", how="max") == "bcadn"  # c 0.693
    assert ranked(detections, "entropy", how="top-k", k=2) == "bcadn"  # c (0.693 + 0.562) / 2 = 0.628
    assert ranked(detections, "box-count") == "cdabn"


def test_images_without_a_box():
    detections = confidences(IMAGES)
    assert ranked(detections, "margin", empty="first") == "nbcad"
    assert ranked(detections, "margin", empty="mean") == "bcnad"
    ranking = rank(detections, "margin", empty="mean").set_index("image_id")
    assert ranking.loc["n", "score"] == pytest.approx((1 + 2 / 3 + 0.625 + 0.25) / 4, abs=1e-9)
    assert ranking["empty"].to_dict() == {"b": False, "a": False, "n": True, "c": False, "d": False}
    assert np.isnan(ranking.loc["n", "uncertainty_max"])
    # equal scores: the rule decides before the id does
    sure = confidences({"b": [1.0], "a": [], "c": [1.0]})
    assert ranked(sure, "entropy", empty="last") == "bca"
    assert ranked(sure, "entropy", empty="first") == "abc"
    between = confidences({"b": [], "a": [1.0], "c": [1.0]})
    assert ranked(between, "entropy", empty="mean") == "abc"


def test_parts_of_a_score():
    ranking = rank(confidences(IMAGES), "margin", how="sum").set_index("image_id")
    parts = ranking.loc["c", ["score", "uncertainty_mean", "uncertainty_max"]].tolist()
    assert parts == pytest.approx([2.0, 2 / 3, 1.0], abs=1e-9)


def test_class_scores_are_used_where_they_are():
    # by one confidence a is the unsure one, by the classes b
    detections = confidences({"a": [0.5], "b": [0.75]}, class_scores=[[0.5, 0.0], [0.75, 0.75]])
    assert ranked(detections, "margin") == ranked(detections, "margin", use_class_scores=True) == "ba"
    assert ranked(detections, "margin", use_class_scores=False) == "ab"
    with pytest.raises(ValueError, match="expected detections with class_scores, got none"):
        rank(confidences(IMAGES), "margin", use_class_scores=True)
