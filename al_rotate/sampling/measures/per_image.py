"""Counts, sums and features of each image, from the rows of its boxes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...data import SHOWN_SCORE, RotatedInstances

__all__ = ["features_of", "n_classes", "shown", "sums", "sums_by_class"]


def shown(candidates: RotatedInstances, least_score: float = SHOWN_SCORE) -> NDArray[np.int64]:
    """Count the boxes of each image with at least this score, (M,): before a rule is learnt, people are shown these.

    A detector's own threshold lets dozens of boxes with scores near 0 through, which nobody will see. A strategy that
    has a context counts those that are shown by ``context.showing.counts(candidates)``.
    """
    if candidates.scores is None:
        return candidates.counts
    ends = np.concatenate([[0], np.cumsum(candidates.scores >= least_score)])
    return np.diff(ends[candidates.offsets])


def sums(values: ArrayLike, candidates: RotatedInstances) -> NDArray[np.float64]:
    """Sum the values (N,) over each image's boxes, (M,)."""
    weights = np.asarray(values, np.float64)
    return np.bincount(candidates.image_index, weights, minlength=len(candidates)).astype(np.float64, copy=False)


def sums_by_class(values: ArrayLike, candidates: RotatedInstances, n_classes: int) -> NDArray[np.float64]:
    """Sum the values (N,) over each image's boxes of each class, (M, C)."""
    cell = candidates.image_index * n_classes + candidates.labels
    total = np.bincount(cell, np.asarray(values, np.float64), minlength=len(candidates) * n_classes)
    return total.astype(np.float64, copy=False).reshape(len(candidates), n_classes)


def n_classes(candidates: RotatedInstances, labels: RotatedInstances) -> int:
    """Count the classes that the candidates name, or else those up to the highest in them and in the labels."""
    if candidates.classes:
        return len(candidates.classes)
    return 1 + int(max(candidates.labels.max(initial=0), labels.labels.max(initial=0)))


def features_of(candidates: RotatedInstances) -> NDArray:
    """Return the image features, (M, d); ValueError without."""
    if candidates.image_features is None:
        raise ValueError(f"expected detections with image_features, got {candidates!r}: predict(features=True)")
    return candidates.image_features
