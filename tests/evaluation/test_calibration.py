"""Calibrated probabilities: simulated detectors whose hit rates are known, and tables worked by hand."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from al_rotate import RotatedInstances
from al_rotate.evaluation.calibration import Calibration, cross_fit, detection_ece, fit, reliability
from al_rotate.evaluation.mean_ap import true_positives


def pool(n, hit_rate, n_classes=2, seed=0, per_image=20, shares=None):
    """Detections 100 px apart, a hit with the chance ``hit_rate(score, label, side)``, and labels under the hits."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(n_classes, n, p=shares)
    scores = rng.uniform(0.05, 0.98, n).astype(np.float32)
    sides = rng.choice([8.0, 32.0, 128.0], n)
    place = 300.0 * (np.arange(n) % per_image)
    boxes = np.column_stack([place, place, sides, sides / 2, rng.uniform(-1.5, 1.5, n)]).astype(np.float32)
    hits = rng.random(n) < hit_rate(scores, labels, sides)
    ids = [f"i{k:05d}" for k in range(-(-n // per_image))]
    offsets = np.minimum(np.arange(len(ids) + 1) * per_image, n)
    classes = [f"c{k}" for k in range(n_classes)]
    detections = RotatedInstances(ids, offsets, boxes, labels, scores=scores, classes=classes)
    kept = np.concatenate([[0], np.cumsum(hits)])[offsets]
    truth = RotatedInstances(ids, kept, boxes[hits], labels[hits], classes=classes)
    return detections, truth, hits


def overconfident(scores, labels, sides):
    """Class 1 is right half as often (in odds: a quarter); large objects more often than small ones."""
    return expit(logit(scores) * 0.7 - 1.0 - np.log(4) * (labels == 1) + 0.4 * np.log(sides / 32))


def test_hits_are_those_of_the_evaluation():
    detections, truth, hits = pool(300, overconfident)
    np.testing.assert_array_equal(true_positives(detections, truth), hits)
    box = [[50, 50, 20, 10, 0], [51, 50, 20, 10, 0], [80, 80, 20, 10, 0]]
    twice = RotatedInstances(["a"], [0, 3], box, [0, 0, 1], scores=[0.4, 0.9, 0.9])
    labels = RotatedInstances(["a"], [0, 2], [[50, 50, 20, 10, 0], [80, 80, 20, 10, 0]], [0, 0])
    assert true_positives(twice, labels).tolist() == [False, True, False]  # one a label, and of its class


def test_what_is_fitted_is_the_truth():
    detections, truth, _ = pool(8000, overconfident)
    calibration = fit(detections, truth, isotonic=False)
    assert calibration.notice is None
    assert (calibration.n_boxes, calibration.n_hits) == (8000, truth.n_boxes)
    fresh, _, _ = pool(2000, overconfident, seed=1)
    sides = np.sqrt(fresh.boxes[:, 2] * fresh.boxes[:, 3] * 2)
    right = overconfident(fresh.scores, fresh.labels, sides)
    assert np.abs(calibration(fresh) - right).mean() < 0.02
    assert np.abs(calibration(fresh) - right).max() < 0.08
    assert np.abs(fresh.scores - right).mean() > 0.2  # which they were not before


def test_a_hit_on_an_object_of_another_class():
    """Counts where any class will do, once an object; the classes still have lines of their own."""
    detections, truth, hits = pool(1000, overconfident)
    swapped = truth.replace(labels=1 - truth.labels)
    assert fit(detections, swapped).n_hits == 0
    right, either = fit(detections, truth), fit(detections, swapped, any_class=True)
    assert either.n_hits == hits.sum()
    assert either(detections).tolist() == right(detections).tolist()
    twice = RotatedInstances(["a"], [0, 2], [[50, 50, 20, 10, 0]] * 2, [0, 1], scores=[0.4, 0.9])
    assert fit(twice, twice.where([True, False]).replace(scores=None), any_class=True).n_hits == 1


def test_a_map_survives_json():
    for n in (20, 300, 3000):
        detections, truth, _ = pool(n, overconfident)
        fitted = fit(detections, truth)
        read = Calibration.from_json(json.loads(json.dumps(fitted.to_json())))
        assert (read.notice, read.n_boxes, read.n_hits) == (fitted.notice, fitted.n_boxes, fitted.n_hits)
        fresh, _, _ = pool(200, overconfident, seed=1)
        assert read(fresh).tolist() == fitted(fresh).tolist()
    kept = fitted.to_json()
    line, curve = kept["line"], kept["curve"]
    for wrong in (
        {},
        {**kept, "line": {"slope": 1}},
        {**kept, "line": []},
        {**kept, "line": [1.0]},
        {**kept, "line": {**line, "slopes": line["slopes"][:1]}},
        {**kept, "line": {**line, "offsets": 1.0}},
        {**kept, "line": {**line, "intercept": [1.0]}},
        {**kept, "line": {**line, "intercept": None}},
        {**kept, "curve": []},
        {**kept, "curve": [curve[0], curve[1][:-1]]},
        {**kept, "curve": [curve[0][::-1], curve[1]]},
    ):
        with pytest.raises(ValueError, match="expected a calibration, got"):
            Calibration.from_json(wrong)


def test_a_curve_where_a_line_does_not_do():
    """Right or wrong by whether the score is above 0.5: no logistic curve."""

    def hit_rate(scores, labels, sides):
        return np.where(scores > 0.5, 0.9, 0.1)

    detections, truth, _ = pool(6000, hit_rate)
    fresh, _, hits = pool(4000, hit_rate, seed=1)
    free, line = fit(detections, truth), fit(detections, truth, isotonic=False)
    assert detection_ece(free(fresh), hits) < 0.025 < 0.05 < detection_ece(line(fresh), hits)
    few, few_truth, _ = pool(500, hit_rate)
    np.testing.assert_array_equal(
        fit(few, few_truth)(fresh), fit(few, few_truth, isotonic=False)(fresh)
    )  # too few for a curve


def test_a_rare_class_leans_on_the_others():
    """Eight of its boxes, all wrong by chance, do not make it hopeless; hundreds of them do."""

    def hit_rate(scores, labels, sides):
        return np.where(labels == 1, 0.0, scores)

    detections, truth, _ = pool(2008, hit_rate, shares=[0.996, 0.004], seed=3)
    probe = RotatedInstances(["a"], [0, 2], [[50, 50, 32, 16, 0]] * 2, [0, 1], scores=[0.9, 0.9], classes=["c0", "c1"])
    common, rare = fit(detections, truth, isotonic=False)(probe)
    assert common == pytest.approx(0.9, abs=0.05)
    assert 0.3 < rare < common
    detections_2000, truth, _ = pool(2000, hit_rate, seed=3)
    assert fit(detections_2000, truth, isotonic=False)(probe)[1] < 0.05


def test_too_few_labels():
    detections, truth, _ = pool(49, overconfident)
    calibration = fit(detections, truth)
    assert calibration.notice == (
        "scores are not calibrated: that takes 50 detections on labelled images, 10 right and 10 wrong; "
        f"there are 49, {truth.n_boxes} of them right"
    )
    np.testing.assert_array_equal(calibration(detections), detections.scores.astype(float))
    all_right, truth, _ = pool(500, lambda scores, labels, sides: np.ones(len(scores)))
    assert "there are 500, 500 of them right" in fit(all_right, truth).notice
    nothing = RotatedInstances.empty(["a"], ["c0", "c1"])
    assert "there are 0, 0 of them right" in fit(nothing, nothing).notice
    assert len(fit(nothing, nothing)(nothing)) == 0


def test_no_image_calibrates_itself():
    """One image's truth is turned over: what the others' maps say of it stays."""
    detections, truth, _ = pool(1000, overconfident)
    before = cross_fit(detections, truth, seed=5)
    victim = "i00007"
    lost = truth.where(truth.image_ids[truth.image_index] != victim)
    after = cross_fit(detections, lost, seed=5)
    mine = detections.image_ids[detections.image_index] == victim
    np.testing.assert_array_equal(before[mine], after[mine])
    assert (before[~mine] != after[~mine]).any()
    np.testing.assert_array_equal(before, cross_fit(detections, truth, seed=5))
    # In another order the same images are dealt alike.
    back = detections.subset(detections.image_ids[::-1])
    np.testing.assert_allclose(
        RotatedInstances.subset(back.replace(scores=cross_fit(back, truth, seed=5)), detections.image_ids).scores,
        before.astype(np.float32),
        atol=1e-4,
    )


def test_honest_out_of_the_fold():
    detections, truth, hits = pool(3000, overconfident)
    before, after = detection_ece(detections.scores, hits), detection_ece(cross_fit(detections, truth), hits)
    assert before > 0.2
    assert after < 0.04


def test_the_table_of_a_reliability_diagram():
    table = reliability([0.1, 0.2, 0.5, 0.99, 1.0], [False, True, False, True, True], bins=4)
    expected = pd.DataFrame(
        {
            "lower": [0, 0.25, 0.5, 0.75],
            "upper": [0.25, 0.5, 0.75, 1],
            "n": [2, 0, 1, 2],
            "confidence": [0.15, np.nan, 0.5, 0.995],
            "precision": [0.5, np.nan, 0, 1],
        }
    )
    pd.testing.assert_frame_equal(table, expected)
    # (2 * 0.35 + 1 * 0.5 + 2 * 0.005) / 5
    assert detection_ece([0.1, 0.2, 0.5, 0.99, 1.0], np.array([0, 1, 0, 1, 1], bool), 4) == pytest.approx(0.242)
    assert np.isnan(detection_ece([], np.zeros(0, bool)))


@pytest.mark.parametrize(
    ("probabilities", "hits", "bins"),
    [([1.5], [True], 10), ([np.nan], [True], 10), ([0.5], [1], 10), ([0.5], [True, False], 10), ([0.5], [True], 0)],
)
def test_no_table(probabilities, hits, bins):
    with pytest.raises(ValueError, match="expected"):
        reliability(probabilities, hits, bins)


def test_refusals():
    detections, truth, _ = pool(100, overconfident)
    with pytest.raises(ValueError, match="expected detections with scores"):
        fit(truth, truth)
    with pytest.raises(KeyError):
        fit(detections, truth.subset(truth.image_ids[1:]))
    with pytest.raises(ValueError, match="expected at least two folds, got 1"):
        cross_fit(detections, truth, folds=1)
    calibration = fit(detections, truth)
    other = RotatedInstances(["a"], [0, 1], [[5, 5, 4, 2, 0]], [2], scores=[0.5])
    with pytest.raises(ValueError, match="expected classes 0 to 1, for which this was fitted, got 2"):
        calibration(other)
