"""Which boxes are shown: by hand, and against the seconds that every other choice would take."""

import json

import numpy as np
import pytest

from al_rotate.data import RotatedInstances
from al_rotate.evaluation import corrections
from al_rotate.sampling import CostModel, ShowingRule
from al_rotate.sampling.showing import learn

SIZE = [20, 8, 0.3]


def answered(rng, n=300, classes=("ship", "plane"), wrong_class=0.0, off=0.0):
    """A detector of known reliability: of its boxes with score s, a share s**2 lies on an object, of planes s / 2.

    The boxes of an image are far apart. Objects that no box lies on are left out: they are drawn in any case.
    """
    boxes, labels, scores, true_boxes, true_labels, counts, true_counts = [], [], [], [], [], [], []
    for _ in range(n):
        score, label = rng.uniform(0.02, 0.98, 6), rng.integers(0, 2, 6)
        place = np.column_stack([np.arange(6) * 50 + 30, rng.uniform(20, 200, 6), np.tile(SIZE, (6, 1))])
        hit = rng.random(6) < np.where(label == 0, score**2, score / 2)
        confused = rng.random(6) < wrong_class
        boxes.append(place)
        true_boxes.append(place[hit] + np.array([1, 0, 0, 0, 0]) * off * rng.uniform(2, 3, (hit.sum(), 1)))
        labels.append(label)
        true_labels.append(np.where(confused, 1 - label, label)[hit])
        scores.append(score)
        counts.append(6)
        true_counts.append(hit.sum())
    ids = [f"i{k:03d}" for k in range(n)]
    names = {"classes": list(classes)}
    return (
        RotatedInstances(ids, np.cumsum([0, *counts]), *map(np.concatenate, (boxes, labels, scores)), **names),
        RotatedInstances(ids, np.cumsum([0, *true_counts]), *map(np.concatenate, (true_boxes, true_labels)), **names),
    )


def seconds(shown, labels, cost):
    return cost.seconds(corrections.counts(corrections.compare(shown, labels), labels.image_ids.tolist())).sum()


def test_without_answers_a_score_decides():
    detections = RotatedInstances(["a", "b"], [0, 2, 3], [[9, 9, *SIZE]] * 3, [0, 0, 1], [0.3, 0.29, 0.9])
    assert ShowingRule().select(detections).tolist() == [True, False, True]  # two boxes on one object, too
    assert ShowingRule(0.5).counts(detections).tolist() == [0, 1]
    assert ShowingRule().shown(detections) == detections.where([True, False, True])
    assert ShowingRule().counts(detections.replace(scores=None)).tolist() == [2, 1]
    few = detections.replace(classes=["ship", "plane"])
    rule = learn(few, few.replace(scores=None), CostModel(added=35))
    assert (rule.least, rule.calibrated, rule.cost.added) == (0.3, None, 35)
    assert rule.why == (
        "boxes are shown from a score of 0.3, because scores are not calibrated: that takes 50 detections on labelled "
        "images, 10 right and 10 wrong; there are 2, 2 of them right"
    )


@pytest.mark.parametrize(("added", "least"), [(12, 2 / 9), (35, 2 / 32)])
def test_the_probability_decides_by_class(added, least):
    """Ships are worth showing from the score whose square is 2 / 9, planes from twice 2 / 9; at 35 s from 2 / 32."""
    rule = learn(*answered(np.random.default_rng(0), 3000, off=1.0), CostModel(added=added))
    np.testing.assert_allclose(rule.least, least, atol=0.004)  # all are moved
    scores = np.linspace(0.01, 0.99, 99)
    for label, threshold in enumerate((np.sqrt(least), 2 * least)):
        place = np.column_stack([np.arange(99) * 50, np.zeros(99), np.tile(SIZE, (99, 1))])
        shown = rule.select(
            RotatedInstances(["a"], [0, 99], place, np.full(99, label), scores, classes=["ship", "plane"])
        )
        assert (np.diff(shown.astype(int)) >= 0).all()  # from some score on
        assert scores[shown].min() == pytest.approx(threshold, abs=0.05)


def test_it_takes_the_time_of_somebody_who_knows_the_probabilities():
    """On other images, at the true costs of every correction; 0.3 for all and showing nothing take longer."""
    rng = np.random.default_rng(1)
    for added, off in ((12, 0.0), (12, 1.0), (35, 1.0)):
        cost = CostModel(added=added)
        rule = learn(*answered(rng, 1000, off=off), cost)
        detections, labels = answered(rng, 1000, off=off)
        ours = seconds(rule.shown(detections), labels, cost)
        true = np.where(detections.labels == 0, detections.scores**2, detections.scores / 2)
        known = detections.where(true >= 2 / (added - (5 if off else 1.5) + 2))
        assert ours == pytest.approx(seconds(known, labels, cost), rel=0.01)
        assert ours < seconds(ShowingRule(0.3).shown(detections), labels, cost)
        assert ours < 0.9 * cost.from_nothing(labels.counts).sum()


def test_what_mending_takes_is_learnt():
    """Boxes that are left alone take a look of 1.5 s, moved ones 5 s, of a wrong class 3 s, both 8 s."""
    for off, wrong, mend in ((0.0, 0.0, 1.5), (1.0, 0.0, 5.0), (0.0, 1.0, 3.0), (1.0, 1.0, 8.0)):
        rule = learn(*answered(np.random.default_rng(2), 3000, wrong_class=wrong, off=off))
        np.testing.assert_allclose(rule.least, 2 / (12 - mend + 2), atol=0.01)
    # One class in which nothing is known yet is taken for as good as the others.
    detections, labels = answered(np.random.default_rng(2), 3000)
    three = {"classes": ["ship", "plane", "court"]}
    rule = learn(detections.replace(**three), labels.replace(**three))
    assert rule.least[2] == pytest.approx(rule.least[0], abs=0.01)


def test_of_several_boxes_on_one_object_one_is_shown():
    """A second box of another class on the same object would be deleted, whatever its score."""
    rule = learn(*answered(np.random.default_rng(3), 600))
    boxes = [[30, 30, *SIZE], [31, 30, *SIZE], [30, 60, *SIZE], [30, 30, *SIZE]]
    detections = RotatedInstances(
        ["a", "b"], [0, 3, 4], boxes, [0, 1, 1, 1], [0.97, 0.95, 0.9, 0.95], classes=["ship", "plane"]
    )
    assert rule.select(detections).tolist() == [True, False, True, True]
    assert rule.counts(detections).tolist() == [2, 1]


def test_a_class_that_takes_longer_to_mend_than_to_draw_is_not_shown():
    rule = learn(*answered(np.random.default_rng(4), 600, off=1.0), CostModel(added=5, moved=6))
    assert np.isinf(rule.least).all()
    detections, _ = answered(np.random.default_rng(5), 5)
    assert not rule.select(detections).any()
    assert rule.to_json()["least"] == {"ship": None, "plane": None}
    assert ShowingRule.from_json(json.loads(json.dumps(rule.to_json()))).counts(detections).tolist() == [0] * 5


@pytest.mark.parametrize(("n", "named"), [(2, True), (40, True), (40, False), (600, True)])
def test_a_rule_is_kept_as_it_is(n, named):
    """Through JSON, to the last bit: with a score, a line, and a line and a curve."""
    detections, labels = (
        part if named else part.replace(classes=None) for part in answered(np.random.default_rng(6), n)
    )
    rule = learn(detections, labels, CostModel(added=20, kept=1.0))
    read = ShowingRule.from_json(json.loads(json.dumps(rule.to_json())))
    assert read.to_json() == rule.to_json()
    assert (read.cost, read.classes, read.why) == (rule.cost, rule.classes, rule.why)
    others, _ = answered(np.random.default_rng(7), 200)
    assert (read.select(others) == rule.select(others)).all()
    if rule.calibrated:
        assert (read.calibrated(others) == rule.calibrated(others)).all()


def test_refusals():
    detections, labels = answered(np.random.default_rng(8), 40)
    rule = learn(detections, labels)
    with pytest.raises(ValueError, match=r"expected detections of the classes .*ship.*, got .*boat"):
        rule.select(detections.replace(classes=["boat", "plane"]))
    with pytest.raises(ValueError, match="expected detections of the classes"):
        learn(detections.replace(classes=["boat", "plane"]), labels)
    with pytest.raises(ValueError, match="expected detections with scores"):
        learn(labels, labels)
    for wrong in (
        {},
        {"least": 0.3},
        {**ShowingRule().to_json(), "least": "much"},
        {**rule.to_json(), "calibration": 3},
        {**rule.to_json(), "calibration": {**rule.calibrated.to_json(), "line": []}},
        {**rule.to_json(), "calibration": None},
        {**rule.to_json(), "least": 0.3},
        {**rule.to_json(), "least": {"ship": 0.2}},
        {**rule.to_json(), "least": [0.2, [0.3]]},
        {**ShowingRule().to_json(), "least": []},
    ):
        with pytest.raises(ValueError, match=r"expected a rule of what is shown, got \{"):
            ShowingRule.from_json(wrong)


def test_it_says_what_it_does():
    """One range; a class that is never worth showing; and none that is."""
    detections, labels = answered(np.random.default_rng(9), 3000, off=1.0)
    counted = r"as learnt from 18000 boxes"
    asked = (
        "boxes are shown if they are expected to take less time to correct than to draw: those that lie on an object "
        "with a probability of at least "
    )
    assert learn(detections, labels).why == f"{asked}0.22, {counted}"
    planes = labels.replace(boxes=labels.boxes - np.array([[2.5, 0, 0, 0, 0]]) * (labels.labels == 1)[:, None])
    rule = learn(detections, planes)
    assert rule.least[1] < 0.2 < rule.least[0]
    assert rule.why == f"{asked}{rule.least[1]:.2f} to 0.22, depending on the class, {counted}"
    # Ships take 5 s to move, as long as to draw; some planes only a look.
    rule = learn(detections, planes, CostModel(added=4))
    assert rule.least[0] == np.inf
    assert rule.why == f"{asked}{rule.least[1]:.2f}, and none of 1 of 2 classes, {counted}"
    assert learn(detections, labels, CostModel(added=4)).why == (
        f"boxes are not shown, because to correct one is expected to take as long as to draw it, or longer, {counted}"
    )
