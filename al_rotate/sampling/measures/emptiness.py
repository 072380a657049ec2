"""Emptiness: the probability that an image holds no object at all, by what is detected in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from ...data import RotatedInstances
from .per_image import sums

__all__ = ["Emptiness", "fit"]

LEAST_OF_EACH = 10  # labelled images with an object, and without, below which nothing is fitted
_CLIP = 0.01  # of an image without a box: detectors drop what they score below a few hundredths


@dataclass(frozen=True)
class Emptiness:
    """A map from the detections on an image to the probability that it holds no object.

    Attributes:
        notice: why it is not fitted, so that every image gets the same probability; None if it is fitted.
        n_images, n_empty: labelled images that it is fitted on.
    """

    notice: str | None
    n_images: int
    n_empty: int
    _weights: NDArray[np.float64] | None = None  # (3,) of the intercept and the two measures

    def __call__(self, detections: RotatedInstances) -> NDArray[np.float64]:
        """Return probabilities in (0, 1), (M,); ``(empty + 1) / (images + 2)`` for all if there is a `notice`."""
        if self._weights is None:
            return np.full(len(detections), (self.n_empty + 1) / (self.n_images + 2))
        return expit(-(self._weights[0] + _measures(detections) @ self._weights[1:]))


def fit(detections: RotatedInstances, labels: RotatedInstances) -> Emptiness:
    """Fit the probability of emptiness to labelled images, those without an object included.

    A logistic regression (Platt 1999, of images in place of boxes) on the logit of the image's highest score and on
    ``log(1 + sum of scores)``. A detection speaks for an object: a measure that comes out with the other sign is left
    out. It may be learnt from images that a strategy chose, as long as it chose them by what is detected; where it
    hardly chooses, among images that look empty, only images drawn at random can teach it, which is what the option
    ``audit`` is for.

    Args:
        detections: with scores, on images of `labels`, made before the detector was trained on these.
        labels: the ground truth.

    Raises:
        ValueError: for detections without scores.
        KeyError: for an image without labels.
    """
    is_empty = labels.subset(detections.image_ids).counts == 0
    n_images, n_empty = len(is_empty), int(is_empty.sum())
    if min(n_empty, n_images - n_empty) < LEAST_OF_EACH:
        notice = (
            f"nothing is known of emptiness yet: that takes {LEAST_OF_EACH} labelled images with an object and "
            f"{LEAST_OF_EACH} without, there are {n_images - n_empty} and {n_empty}"
        )
        return Emptiness(notice, n_images, n_empty)
    from sklearn.linear_model import LogisticRegression

    columns, used = _measures(detections), np.array([True, True])
    weights = np.zeros(3)
    while used.any():
        model = LogisticRegression(C=1.0, max_iter=2000).fit(columns[:, used], ~is_empty)
        weights[0], weights[1:] = model.intercept_[0], 0.0
        weights[1:][used] = model.coef_[0]
        if (weights[1:] >= 0).all():
            return Emptiness(None, n_images, n_empty, weights)
        used &= weights[1:] > 0
    notice = f"nothing is known of emptiness yet: on {n_images} labelled images detections do not tell objects"
    return Emptiness(notice, n_images, n_empty)


def _measures(detections: RotatedInstances) -> NDArray[np.float64]:
    """(M, 2) the logit of the highest score, and the logarithm of one plus the sum of the scores."""
    if detections.n_boxes and detections.scores is None:
        raise ValueError("expected detections with scores, got labels")
    scores = np.zeros(0) if detections.scores is None else detections.scores.astype(np.float64)
    highest = np.zeros(len(detections))
    np.maximum.at(highest, detections.image_index, scores)
    return np.column_stack([logit(np.clip(highest, _CLIP, 1 - _CLIP)), np.log1p(sums(scores, detections))])
