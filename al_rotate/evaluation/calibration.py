"""Calibrated probabilities: from confidences to the probability of a true positive at rotated IoU 0.5.

Scores are comparable between classes, sizes and rounds only if a 0.7 means seven right in ten. Fit on detections of
labelled images **that the detector had not been trained on when it made them**, such as those of a query before its
answers came: on its own training images a detector is nearly always right.

Two steps, each well known: a logistic regression of hit or miss on the score's logit and the box's size (Platt 1999;
the size because detectors are surer of large objects, Kueppers et al., "Multivariate Confidence Calibration for Object
Detection", CVPRW 2020), with an offset and a slope for each class that shrink to the common ones if the class is rare;
then, if there are enough detections, an isotonic regression of the result (Zadrozny and Elkan 2002).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

from .. import boxes
from ..data import RotatedInstances
from .mean_ap import true_positives

__all__ = ["Calibration", "as_one_class", "cross_fit", "detection_ece", "fit", "reliability"]

LEAST_BOXES, LEAST_OF_EACH = 50, 10  # detections, and hits and misses among them, below which nothing is fitted
ISOTONIC_BOXES = 2000  # detections from which an isotonic curve is worth its variance
_CLIP = 1e-6
_FREE = 20.0  # scales the common columns up, so that the penalty is on the classes' departures from them


@dataclass(frozen=True)
class _Line:
    """The log-odds of a hit, linear in the score's logit and the box's size."""

    intercept: float
    logit_weight: float
    size_weight: float
    offsets: NDArray[np.float64]  # (C,) what a class adds to the intercept,
    slopes: NDArray[np.float64]  # and to the logit's weight

    def __post_init__(self) -> None:
        common = self.intercept, self.logit_weight, self.size_weight
        if any(map(np.ndim, common)) or np.ndim(self.offsets) != 1 or np.shape(self.offsets) != np.shape(self.slopes):
            raise ValueError(f"expected three numbers, and two for each class, got {self}")

    def __call__(self, logits: NDArray, sizes: NDArray, labels: NDArray) -> NDArray[np.float64]:
        slope = self.logit_weight + self.slopes[labels]
        return self.intercept + self.offsets[labels] + slope * logits + self.size_weight * sizes


@dataclass(frozen=True)
class Calibration:
    """A fitted map from detections to probabilities.

    Attributes:
        notice: why nothing is fitted and scores stay as they are; None if it is fitted.
        n_boxes, n_hits: detections that it is fitted on.
    """

    notice: str | None = None
    n_boxes: int = 0
    n_hits: int = 0
    _line: _Line | None = None
    _curve: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None

    @property
    def n_classes(self) -> int | None:
        """How many classes it is fitted for; None if it is not fitted."""
        return None if self._line is None else len(self._line.offsets)

    def __call__(self, detections: RotatedInstances) -> NDArray[np.float64]:
        """Return probabilities in [0, 1], (N,); the scores themselves if there is a `notice`.

        Raises:
            ValueError: for detections without scores, or of a class that it is not fitted for.
        """
        scores = _scores(detections)
        if self._line is None:
            return scores
        n_classes = len(self._line.offsets)
        if len(scores) and detections.labels.max() >= n_classes:
            raise ValueError(
                f"expected classes 0 to {n_classes - 1}, for which this was fitted, got {detections.labels.max()}"
            )
        log_odds = self._line(*_logits_and_sizes(detections, scores), detections.labels)
        return expit(log_odds) if self._curve is None else np.interp(log_odds, *self._curve)

    def to_json(self) -> dict[str, Any]:
        """Return plain values that :meth:`from_json` makes the same map of, to the last bit."""
        line = self._line and {name: np.asarray(value).tolist() for name, value in vars(self._line).items()}
        curve = self._curve and [part.tolist() for part in self._curve]
        return {"notice": self.notice, "n_boxes": self.n_boxes, "n_hits": self.n_hits, "line": line, "curve": curve}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Calibration:
        """Read what :meth:`to_json` gave.

        Raises:
            ValueError: for other values.
        """
        try:
            line = None if values["line"] is None else _Line(**_numbers(**values["line"]))
            curve = None if values["curve"] is None else _curve_of(*values["curve"])
            return cls(values["notice"], values["n_boxes"], values["n_hits"], line, curve)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"expected a calibration, got {str(values)[:200]}: {error}") from error


def fit(
    detections: RotatedInstances,
    labels: RotatedInstances,
    iou_threshold: float = 0.5,
    isotonic: bool | Literal["auto"] = "auto",
    any_class: bool = False,
) -> Calibration:
    """Fit a calibration to detections on labelled images.

    Args:
        detections: with scores, on images of `labels`, made before the detector was trained on these.
        labels: the ground truth.
        iou_threshold: the rotated IoU from which a detection is a hit.
        isotonic: whether to take the second step; auto: from 2,000 detections.
        any_class: whether a detection on an object of another class is a hit, too.

    Returns:
        A map that leaves scores unchanged, with a notice, if there are fewer than 50 detections, or fewer than 10 hits
        or 10 misses among them.

    Raises:
        ValueError: for detections without scores.
        KeyError: for an image without labels.
    """
    pair = (as_one_class(detections), as_one_class(labels)) if any_class else (detections, labels)
    return _fit(detections, true_positives(*pair, iou_threshold), isotonic)


def as_one_class(instances: RotatedInstances) -> RotatedInstances:
    """Return boxes as if all were of one class."""
    return instances.replace(labels=np.zeros_like(instances.labels), classes=None, class_scores=None)


def cross_fit(
    detections: RotatedInstances,
    labels: RotatedInstances,
    iou_threshold: float = 0.5,
    folds: int = 5,
    seed: int = 0,
    isotonic: bool | Literal["auto"] = "auto",
) -> NDArray[np.float64]:
    """Calibrate detections on labelled images, each by a map that is fitted on other images.

    Args:
        detections, labels, iou_threshold, isotonic: as for :func:`fit`.
        folds: parts that the images are split into.
        seed: of the split.

    Returns:
        (N,) in the order of the detections.

    Raises:
        ValueError: as for :func:`fit`, and for fewer than two folds.
    """
    if folds < 2:
        raise ValueError(f"expected at least two folds, got {folds}")
    hits = true_positives(detections, labels, iou_threshold)
    rows = detections.image_index
    # By the order of the ids, so that the same images are split alike in whatever order they come.
    order = np.argsort(detections.image_ids, kind="stable")
    part = np.empty(len(detections), np.int64)
    part[order] = np.random.default_rng(seed).permutation(len(detections)) % folds
    probabilities = np.zeros(detections.n_boxes)
    for fold in range(folds):
        inside = part == fold
        others, own = (detections.subset(detections.image_ids[images]) for images in (~inside, inside))
        probabilities[inside[rows]] = _fit(others, hits[~inside[rows]], isotonic)(own)
    return probabilities


def reliability(probabilities: ArrayLike, hits: ArrayLike, bins: int = 10) -> pd.DataFrame:
    """Compute the table of a reliability diagram, one row per bin of equal width.

    Args:
        probabilities: (N,) in [0, 1].
        hits: (N,) booleans.
        bins: of equal width over [0, 1]; the last one includes 1.

    Returns:
        lower, upper, n, confidence (the mean of the probabilities) and precision (the share of hits; both NaN if
        n is 0).

    Raises:
        ValueError: for arrays that do not match, values outside [0, 1], or less than one bin.
    """
    p, hit = np.asarray(probabilities, np.float64), np.asarray(hits)
    if p.ndim != 1 or p.shape != hit.shape or hit.dtype != bool or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"expected probabilities in [0, 1] and as many booleans, got {p.shape} and {hit.dtype}")
    if bins < 1:
        raise ValueError(f"expected at least one bin, got {bins}")
    index = np.minimum((p * bins).astype(np.int64), bins - 1)
    n = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(index, p, bins) / n
        precision = np.bincount(index, hit, bins) / n
    edges = np.arange(bins + 1) / bins
    columns = {"lower": edges[:-1], "upper": edges[1:], "n": n, "confidence": confidence, "precision": precision}
    return pd.DataFrame(columns)


def detection_ece(probabilities: ArrayLike, hits: ArrayLike, bins: int = 10) -> float:
    """Compute the detection expected calibration error: the mean gap of confidence and precision over the detections.

    Kueppers et al., CVPRW 2020, equation 5, by confidence alone; NaN without a detection. Labels that were not detected
    do not count.

    >>> detection_ece([0.25, 0.25, 0.75, 0.75], [False, False, True, False], bins=2)
    0.25
    """
    table = reliability(probabilities, hits, bins)
    table = table[table["n"] > 0]
    gaps = (table["confidence"] - table["precision"]).abs()
    return float(np.average(gaps, weights=table["n"])) if len(table) else float("nan")


def _fit(detections: RotatedInstances, hits: NDArray[np.bool_], isotonic: bool | Literal["auto"]) -> Calibration:
    from sklearn.isotonic import IsotonicRegression
    from sklearn.linear_model import LogisticRegression

    scores = _scores(detections)
    count: dict[str, Any] = {"n_boxes": len(hits), "n_hits": int(hits.sum())}
    if len(hits) < LEAST_BOXES or min(hits.sum(), (~hits).sum()) < LEAST_OF_EACH:
        notice = (
            f"scores are not calibrated: that takes {LEAST_BOXES} detections on labelled images, {LEAST_OF_EACH} right "
            f"and {LEAST_OF_EACH} wrong; there are {len(hits)}, {int(hits.sum())} of them right"
        )
        return Calibration(notice, **count)
    n_classes = len(detections.classes) if detections.classes else int(detections.labels.max()) + 1
    logits, sizes = _logits_and_sizes(detections, scores)
    by_class = np.zeros((len(hits), 2, n_classes))
    by_class[np.arange(len(hits)), :, detections.labels] = np.column_stack([np.ones(len(hits)), logits])
    columns = np.hstack([_FREE * np.column_stack([logits, sizes]), by_class.reshape(len(hits), -1)])
    model = LogisticRegression(C=1.0, max_iter=2000).fit(columns, hits)
    weights = model.coef_[0]
    offsets, slopes = weights[2:].reshape(2, n_classes)
    line = _Line(float(model.intercept_[0]), _FREE * weights[0], _FREE * weights[1], offsets, slopes)
    curve = None
    if isotonic is True or (isotonic == "auto" and len(hits) >= ISOTONIC_BOXES):
        steps = IsotonicRegression(y_min=_CLIP, y_max=1 - _CLIP, out_of_bounds="clip")
        steps.fit(line(logits, sizes, detections.labels), hits)
        curve = (np.asarray(steps.X_thresholds_), np.asarray(steps.y_thresholds_))
    return Calibration(None, **count, _line=line, _curve=curve)


def _numbers(**values: Any) -> dict[str, Any]:
    """Convert the lists among these values to arrays, and the others to floats."""
    return {
        name: np.array(value, np.float64) if isinstance(value, list) else float(value) for name, value in values.items()
    }


def _curve_of(x: Any, y: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    curve = np.array([x, y], np.float64)
    if curve.ndim != 2 or not curve.size or (np.diff(curve[0]) < 0).any():
        raise ValueError(f"expected as many ascending log-odds as probabilities, got {x} and {y}")
    return curve[0], curve[1]


def _logits_and_sizes(detections: RotatedInstances, scores: NDArray[np.float64]) -> tuple[NDArray, NDArray]:
    """The scores' logits, and the logarithms of the boxes' mean sides in units of 32 pixels."""
    area = np.maximum(boxes.area(detections.boxes.astype(np.float64)), 1e-3)
    return logit(np.clip(scores, _CLIP, 1 - _CLIP)), 0.5 * np.log(area / 32**2)


def _scores(detections: RotatedInstances) -> NDArray[np.float64]:
    if detections.scores is None:
        if detections.n_boxes:
            raise ValueError("expected detections with scores, got labels")
        return np.zeros(0)
    return detections.scores.astype(np.float64)
