"""How unlike images are, by the objects that a detector sees in them and by their features."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from ...data.instances import RotatedInstances

__all__ = ["category_matching", "gain", "gradients", "unit"]

_ROWS = 2048  # boxes in one product
_BLOCK = 1024  # picked images whose distances are taken together
_NO_MATCH = 2.0  # the largest 1 - cos: an object whose class the other image does not show
_WIDTH = 1024  # numbers of a gradient embedding, about


def category_matching(detections: RotatedInstances, most: int = 100) -> NDArray[np.float64]:
    """Category conditioned matching similarity, as distances between all pairs of images.

    Yang et al., "Plug and Play Active Learning for Object Detection" (CVPR 2024), section 3.3: each object of I looks
    for the likest one of its class in J, ``d(I -> J) = sum_i s_i min_j (1 - cos(f_i, f_j)) / sum_i s_i``, 2 where J
    shows nothing of the class; the distance is the mean of both ways. One matrix product a class, not one a pair.

    Args:
        detections: M images with scores and box_features.
        most: boxes of an image that are looked at, those with the highest scores.

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
    one = detections.where(_best(detections, most))
    assert one.scores is not None
    assert one.box_features is not None
    scores, image = one.scores.astype(np.float64), one.image_index
    along = unit(one.box_features)
    total = np.bincount(image, scores, minlength=size)
    apart = np.repeat(_NO_MATCH * total[:, None], size, axis=1)
    for label in np.unique(one.labels):
        rows = np.flatnonzero(one.labels == label)
        images, starts = np.unique(image[rows], return_index=True)
        nearest = np.empty((len(rows), len(images)))
        for at in range(0, len(rows), _ROWS):
            cosines = along[rows[at : at + _ROWS]] @ along[rows].T
            nearest[at : at + _ROWS] = 1 - np.maximum.reduceat(cosines, starts, axis=1)
        weighted = (np.clip(nearest, 0, _NO_MATCH) - _NO_MATCH) * scores[rows, None]
        apart[np.ix_(images, images)] += np.add.reduceat(weighted, starts, axis=0)
    seen = total > 0
    apart[seen] /= total[seen, None]
    apart[~seen] = _NO_MATCH
    apart[np.ix_(~seen, ~seen)] = 0
    apart = (apart + apart.T) / 2
    np.fill_diagonal(apart, 0)
    return apart


def gradients(detections: RotatedInstances, rng: np.random.Generator) -> NDArray[np.float32]:
    """What an image would teach a linear classifier of its boxes, if the detector were right about all of them.

    BADGE's gradient embedding (Ash et al., ICLR 2020, section 3) with the loss that one-stage heads have, the binary
    cross-entropy of each class: for a box of feature f and class scores p, taken for its class y, the gradient is
    ``(p - onehot(y)) f^T``; an image has the sum over its boxes. **It is not the gradient of the detector's own head**,
    whose last layer sees other features on each level: f are the neck's, at the box's centre. Beyond about a thousand
    numbers f is projected at random (Johnson and Lindenstrauss 1984), which keeps distances in expectation.

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
    wrong = detections.class_scores.copy()
    wrong[np.arange(len(wrong)), detections.labels] -= 1
    features = detections.box_features
    narrow = max(1, _WIDTH // wrong.shape[1])
    if features.shape[1] > narrow:
        features = features @ rng.normal(0, narrow**-0.5, (features.shape[1], narrow)).astype(np.float32)
    found = np.zeros((len(detections), wrong.shape[1], features.shape[1]), np.float32)
    filled = detections.counts > 0
    starts = detections.offsets[:-1][filled]
    for label in range(wrong.shape[1]):
        found[filled, label] = np.add.reduceat(wrong[:, label, None] * features, starts, axis=0)
    return found.reshape(len(detections), -1)


def gain(features: NDArray, rows: NDArray, known: NDArray | None = None) -> NDArray[np.float64]:
    """(M,) of each picked row the distance from all that was known or picked before it; NaN for the others."""
    found, picked = np.full(len(features), np.nan), features[rows]
    for start in range(0, len(rows), _BLOCK):
        some = picked[start : start + _BLOCK]
        before = cdist(some, picked[: start + len(some)])
        before[np.arange(before.shape[1]) >= start + np.arange(len(some))[:, None]] = np.inf
        if known is not None and len(known):
            before = np.minimum(before.min(axis=1), cdist(some, known).min(axis=1))[:, None]
        nearest = before.min(axis=1)
        found[rows[start : start + _BLOCK]] = np.where(np.isinf(nearest), np.nan, nearest)
    return found


def unit(rows: NDArray) -> NDArray:
    """The rows at length 1; those of length 0 stay."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)


def _best(detections: RotatedInstances, most: int) -> NDArray[np.bool_]:
    """(N,) whether a box is among the best of its image."""
    assert detections.scores is not None
    order = np.lexsort((-detections.scores, detections.image_index))
    kept = np.zeros(detections.n_boxes, bool)
    kept[order] = np.arange(detections.n_boxes) - np.repeat(detections.offsets[:-1], detections.counts) < most
    return kept
