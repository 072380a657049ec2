"""Pseudo-labels: on images that nobody has labelled, boxes that the detector is sure of, and what to leave out there.

A query has detected on the whole pool. What is right in nine of ten cases, by a calibration on the answers so far, may
be trained on as if it were labelled (self-training with a threshold, as in STAC, Sohn et al., arXiv 2005.04757). The
threshold is on calibrated probabilities, not on scores, which are not comparable between classes and rounds. What the
detector takes for an object and is not sure of is neither an object nor background: it is left out of the training.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import boxes
from ..data import RotatedInstances
from . import calibration
from .mean_ap import true_positives

__all__ = ["PseudoLabelled", "PseudoLabels", "choose"]

LEAST_HITS = 10  # of a class among the answers, below which its probabilities are those of other classes
_SAME_OBJECT = 0.5  # rotated IoU from which two sure boxes of different classes are on one object


@dataclass(frozen=True)
class PseudoLabels:
    """Which detections on unlabelled images are trained on.

    Args:
        precision: the calibrated probability from which a detection counts as labelled. Each box has it for itself, so
            that the share of right ones among them is higher.
        doubt: the probability from which a detection that is not sure is left out; others are background.
        per_image: pseudo-labelled images for each labelled one, at most.

    Raises:
        ValueError: for values out of their ranges.
    """

    precision: float = 0.9
    doubt: float = 0.1
    per_image: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.doubt < self.precision <= 1:
            raise ValueError(
                f"expected pseudo-labels with 0 < doubt < precision <= 1, got {self.doubt} and {self.precision}"
            )
        if not 0 < self.per_image < np.inf:
            raise ValueError(f"expected pseudo-labels with per_image above 0, got {self.per_image}")


@dataclass(frozen=True)
class PseudoLabelled:
    """Images that nobody has labelled, to train on.

    Attributes:
        labels: boxes to take for labels, at least one on each image.
        ignored: boxes on the same images that are neither objects nor background.
        notice: why there are none; None if there are.
    """

    labels: RotatedInstances
    ignored: RotatedInstances
    notice: str | None = None


def choose(
    detections: RotatedInstances,
    held_out: RotatedInstances,
    labels: RotatedInstances,
    options: PseudoLabels,
    rng: np.random.Generator,
) -> PseudoLabelled:
    """Choose what to train on of the detections on unlabelled images.

    A class with fewer than ten hits among the answers has no probabilities of its own: none of its boxes is sure. Of
    sure boxes on one object the surest remains.

    Args:
        detections: with scores, on images without labels.
        held_out: detections on labelled images by weights that had not been trained on these.
        labels: of these, and of any other images; their number limits that of pseudo-labelled images.
        options: how sure is sure.
        rng: draws the images, where there are more than `per_image` allows.

    Returns:
        No image and a notice, where the answers are too few for a calibration, or nothing is sure.

    Raises:
        ValueError: for images that are labelled.
    """
    if labelled := [image_id for image_id in detections.image_ids.tolist() if image_id in labels]:
        raise ValueError(f"expected detections on images without labels, got {len(labelled)}, e.g. {labelled[0]!r}")
    fitted = calibration.fit(held_out, labels)
    nothing = RotatedInstances.empty(classes=labels.classes)
    if fitted.notice is not None:
        return PseudoLabelled(nothing, nothing, fitted.notice)
    probabilities = fitted(detections)
    hits = held_out.labels[true_positives(held_out, labels)]
    known = np.bincount(hits, minlength=len(labels.classes or ())) >= LEAST_HITS
    sure = (probabilities >= options.precision) & known[detections.labels] & _inside(detections)
    sure = _surest(detections, sure, probabilities)
    candidates = np.unique(detections.image_index[sure])
    if not len(candidates):
        notice = f"no detection is right with a probability of {options.precision:g}, of a class with {LEAST_HITS} hits"
        return PseudoLabelled(nothing, nothing, notice)
    most = int(options.per_image * len(labels))
    if len(candidates) > most:
        candidates = np.sort(rng.choice(candidates, most, replace=False))
    ids = detections.image_ids[candidates]
    doubtful = (probabilities >= options.doubt) & ~sure
    as_sure, as_ignored = (detections.where(rows).subset(ids).as_labels() for rows in (sure, doubtful))
    return PseudoLabelled(as_sure, as_ignored)


def _inside(detections: RotatedInstances) -> NDArray[np.bool_]:
    """Whether each box's centre is in its image: others cannot be trained on."""
    centres, sizes = detections.boxes[:, :2], detections.image_sizes
    if sizes is None:
        return np.ones(detections.n_boxes, bool)
    return np.all((centres >= 0) & (centres <= sizes[detections.image_index]), axis=1)


def _surest(
    detections: RotatedInstances, sure: NDArray[np.bool_], probabilities: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Keep of sure boxes on one object, whatever their classes, the one of the highest probability."""
    rows = np.flatnonzero(sure)
    kept = boxes.nms(detections.boxes[rows], probabilities[rows], detections.image_index[rows], _SAME_OBJECT)
    remaining = np.zeros(len(sure), bool)
    remaining[rows[kept]] = True
    return remaining
