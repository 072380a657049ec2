"""Distances between images, by the objects that a detector finds in them and by their features."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from ...data import RotatedInstances

__all__ = ["category_matching", "gain", "gradients", "unit"]

_ROWS = 2048  # boxes in one product
_BLOCK = 1024  # picked images whose distances are taken together
_NO_MATCH = 2.0  # the largest 1 - cos: an object whose class the other image does not show
_WIDTH = 1024  # approximate length of a gradient embedding


def category_matching(detections: RotatedInstances, most: int = 100) -> NDArray[np.float64]:
    """Compute category conditioned matching similarity, as distances between all pairs of images.

    Yang et al., "Plug and Play Active Learning for Object Detection" (CVPR 2024), section 3.3: each object of I looks
    for the most similar one of its class in J, ``d(I -> J) = sum_i s_i min_j (1 - cos(f_i, f_j)) / sum_i s_i``, 2 if J
    shows none of the class; the distance is the mean of both directions. It takes one matrix product per class, not one
    per pair.

    Args:
        detections: M images with scores and box_features.
        most: boxes of an image that are used, those with the highest scores.

    Returns:
        (M, M) in [0, 2], symmetric; 0 between images without a box, which are at 2 from all others. Memory is O(M^2).

    Raises:
        ValueError: without scores or box_features.
    """
    if detections.n_boxes and (detections.scores is None or detections.box_features is None):
        raise ValueError(
            f"expected detections with scores and box_features, got {detections!r}: predict(features=True)"
        )
    size = len(detections)
    if not detections.n_boxes:
        return np.zeros((size, size))
    best = detections.where(_best(detections, most))
    assert best.scores is not None
    assert best.box_features is not None
    scores, image = best.scores.astype(np.float64), best.image_index
    directions = unit(best.box_features)
    total = np.bincount(image, scores, minlength=size)
    distance = np.repeat(_NO_MATCH * total[:, None], size, axis=1)
    for label in np.unique(best.labels):
        rows = np.flatnonzero(best.labels == label)
        images, starts = np.unique(image[rows], return_index=True)
        nearest = np.empty((len(rows), len(images)))
        for at in range(0, len(rows), _ROWS):
            cosines = directions[rows[at : at + _ROWS]] @ directions[rows].T
            nearest[at : at + _ROWS] = 1 - np.maximum.reduceat(cosines, starts, axis=1)
        weighted = (np.clip(nearest, 0, _NO_MATCH) - _NO_MATCH) * scores[rows, None]
        distance[np.ix_(images, images)] += np.add.reduceat(weighted, starts, axis=0)
    filled = total > 0
    distance[filled] /= total[filled, None]
    distance[~filled] = _NO_MATCH
    distance[np.ix_(~filled, ~filled)] = 0
    distance = (distance + distance.T) / 2
    np.fill_diagonal(distance, 0)
    return distance


def gradients(detections: RotatedInstances, rng: np.random.Generator) -> NDArray[np.float32]:
    """Embed each image by what it would teach a linear classifier of its boxes, if all detections were right.

    BADGE's gradient embedding (Ash et al., ICLR 2020, section 3) with the loss that one-stage heads have, the binary
    cross-entropy of each class: for a box of feature f and class scores p, taken for its class y, the gradient is
    ``(p - onehot(y)) f^T``; an image has the sum over its boxes. **It is not the gradient of the detector's own head**,
    whose last layer sees other features on each level: f are the neck's, at the box's centre. If the embedding would be
    longer than about 1,000, f is projected at random (Johnson and Lindenstrauss 1984), which keeps distances in
    expectation.

    Args:
        detections: M images with class_scores (N, C) and box_features (N, D).
        rng: for the projection.

    Returns:
        (M, C * d), d = D or fewer; zeros for an image without a box.

    Raises:
        ValueError: without class_scores or box_features.
    """
    if detections.n_boxes and (detections.class_scores is None or detections.box_features is None):
        raise ValueError(
            f"expected detections with class_scores and box_features, got {detections!r}: "
            "predict(class_scores=True, features=True)"
        )
    if not detections.n_boxes:
        return np.zeros((len(detections), 1), np.float32)
    assert detections.class_scores is not None
    assert detections.box_features is not None
    error = detections.class_scores.copy()
    error[np.arange(len(error)), detections.labels] -= 1
    features = detections.box_features
    narrow = max(1, _WIDTH // error.shape[1])
    if features.shape[1] > narrow:
        features = features @ rng.normal(0, narrow**-0.5, (features.shape[1], narrow)).astype(np.float32)
    embedding = np.zeros((len(detections), error.shape[1], features.shape[1]), np.float32)
    filled = detections.counts > 0
    starts = detections.offsets[:-1][filled]
    for label in range(error.shape[1]):
        embedding[filled, label] = np.add.reduceat(error[:, label, None] * features, starts, axis=0)
    return embedding.reshape(len(detections), -1)


def gain(features: NDArray, rows: NDArray, labelled: NDArray | None = None) -> NDArray[np.float64]:
    """Measure the distance of each picked row from all labelled or picked before it, (M,); NaN for the others."""
    distance, picked = np.full(len(features), np.nan), features[rows]
    for start in range(0, len(rows), _BLOCK):
        block = picked[start : start + _BLOCK]
        before = cdist(block, picked[: start + len(block)])
        before[np.arange(before.shape[1]) >= start + np.arange(len(block))[:, None]] = np.inf
        nearest = before.min(axis=1)
        if labelled is not None and len(labelled):
            nearest = np.minimum(nearest, cdist(block, labelled).min(axis=1))
        distance[rows[start : start + _BLOCK]] = np.where(np.isinf(nearest), np.nan, nearest)
    return distance


def unit(rows: NDArray) -> NDArray:
    """Scale the rows to length 1; those of length 0 stay."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)


def _best(detections: RotatedInstances, most: int) -> NDArray[np.bool_]:
    """(N,) whether a box is among the best of its image."""
    assert detections.scores is not None
    order = np.lexsort((-detections.scores, detections.image_index))
    kept = np.zeros(detections.n_boxes, bool)
    kept[order] = np.arange(detections.n_boxes) - np.repeat(detections.offsets[:-1], detections.counts) < most
    return kept
