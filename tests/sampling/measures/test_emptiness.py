"""The probability that an image holds no object: by hand, and against the truth that data are drawn from."""

import numpy as np
import pytest
from helpers.built import pool
from scipy.special import logit
from sklearn.linear_model import LogisticRegression

from al_rotate.sampling.measures.emptiness import fit


def answered(scores, filled):
    """Detections with these scores, a list for each image, and labels: an object in those that are filled."""
    images = {f"i{k:04d}": [(0, score) for score in row] for k, row in enumerate(scores)}
    labels = {name: [(1, 1.0)] * held for name, held in zip(images, filled, strict=True)}
    return pool(images), pool(labels).replace(scores=None)


def test_nothing_is_fitted_below_ten_of_each():
    fitted = fit(*answered([[0.9]] * 30 + [[]] * 9, [1] * 30 + [0] * 9))
    assert (fitted.n_images, fitted.n_empty) == (39, 9)
    assert fitted.notice.endswith("10 labelled images with an object and 10 without, there are 30 and 9")
    assert fitted(pool({"a": [(0, 0.9)], "b": []})).tolist() == pytest.approx([10 / 41] * 2)


def test_it_is_the_logistic_regression_of_the_highest_score_and_their_sum():
    random = np.random.default_rng(1)
    scores = [random.random(random.integers(0, 4)).round(3) for _ in range(200)]
    filled = [int(random.random() < (0.05 + 0.9 * max(row, default=0))) for row in scores]
    fitted = fit(*answered(scores, filled))
    columns = [[logit(np.clip(max(row, default=0), 0.01, 0.99)), np.log1p(sum(row))] for row in scores]
    model = LogisticRegression().fit(columns, filled)
    assert (model.coef_ > 0).all()
    expected = model.predict_proba(columns)[:, 0]
    np.testing.assert_allclose(fitted(answered(scores, filled)[0]), expected, atol=1e-4)
    assert fitted.notice is None


def test_it_is_calibrated():
    """Images whose one box has score s hold an object s^2 of the time: 0.25 is told of a half, not 0.5."""
    random = np.random.default_rng(2)
    scores = random.uniform(0.05, 0.95, 4000)
    fitted = fit(*answered([[s] for s in scores], (random.random(4000) < scores**2).astype(int)))
    told = 1 - fitted(pool({f"{s}": [(0, s)] for s in (0.3, 0.5, 0.7)}))
    assert told == pytest.approx([0.09, 0.25, 0.49], abs=0.05)


def test_more_is_never_emptier():
    """Many faint boxes where nothing is, one where something is: the sum is left out, the highest score stays."""
    random = np.random.default_rng(3)
    scores = [random.uniform(0.05, 0.2, 20) for _ in range(100)] + [[random.uniform(0.3, 0.9)] for _ in range(100)]
    fitted = fit(*answered(scores, [0] * 100 + [1] * 100))
    few, many = pool({"a": [(0, 0.2)]}), pool({"a": [(0, 0.2)] * 20})
    assert fitted(many) <= fitted(few)
    assert fitted(pool({"a": [(0, 0.9)]})) < 0.1 < 0.9 < fitted(pool({"a": []}))[0]


def test_detections_that_tell_nothing():
    fitted = fit(*answered([[0.9]] * 20 + [[0.1]] * 20, [0] * 20 + [1] * 20))
    assert fitted.notice == "nothing is known of emptiness yet: on 40 labelled images detections do not tell objects"
    assert fitted(pool({"a": []})).tolist() == [21 / 42]


def test_refusals():
    detections, labels = answered([[0.5]] * 20 + [[]] * 20, [1] * 20 + [0] * 20)
    with pytest.raises(ValueError, match="expected detections with scores, got labels"):
        fit(labels.where(np.ones(20, bool)), labels)
    with pytest.raises(KeyError, match="no image 'i0000'"):
        fit(detections, labels.subset(["i0001"]))
