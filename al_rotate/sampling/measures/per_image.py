"""TODO sampling.measures.per_image."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...data.instances import SHOWN_SCORE, RotatedInstances
from ..context import QueryContext


def shown(candidates: RotatedInstances, least_score: float = SHOWN_SCORE) -> NDArray[np.int64]:
    """(M,) boxes of each image that people are shown to correct: what budgets and costs count.

    A detector's own threshold lets dozens of boxes of hardly a score through, which nobody will see.
    """
    if candidates.scores is None:
        return candidates.counts
    ends = np.concatenate([[0], np.cumsum(candidates.scores >= least_score)])
    return np.diff(ends[candidates.offsets])


def sums(values: ArrayLike, candidates: RotatedInstances) -> NDArray[np.float64]:
    """(M,) of the values (N,) over each image's boxes."""
    weights = np.asarray(values, np.float64)
    return np.bincount(candidates.image_index, weights, minlength=len(candidates)).astype(np.float64, copy=False)


def sums_by_class(values: ArrayLike, candidates: RotatedInstances, many: int) -> NDArray[np.float64]:
    """(M, C) of the values (N,) over each image's boxes of each class."""
    cell = candidates.image_index * many + candidates.labels
    found = np.bincount(cell, np.asarray(values, np.float64), minlength=len(candidates) * many)
    return found.astype(np.float64, copy=False).reshape(len(candidates), many)


def n_classes(candidates: RotatedInstances, known: QueryContext) -> int:
    """Of the candidates, or as many as are seen in them and in the labels."""
    if candidates.classes:
        return len(candidates.classes)
    return 1 + int(max(candidates.labels.max(initial=0), known.labels.labels.max(initial=0)))


def features_of(candidates: RotatedInstances) -> NDArray:
    """(M, d) image features; ValueError without."""
    if candidates.image_features is None:
        raise ValueError(f"expected detections with image_features, got {candidates!r}: predict(features=True)")
    return candidates.image_features
