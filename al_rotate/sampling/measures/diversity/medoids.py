"""Rows in the middle of others: k-medoids."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .rows import checked

__all__ = ["k_medoids"]


def k_medoids(distances: ArrayLike, n: int, iterations: int = 100) -> NDArray[np.int64]:
    """Pick the n medoids: rows belong to their nearest medoid, and no other has a smaller sum of distances to its rows.

    Alternating k-medoids (Park and Jun 2009), started farthest first from the row nearest to all others, as PPAL's CCMS
    is (Yang et al., CVPR 2024).

    Args:
        distances: (m, m), symmetric, >= 0; memory is O(m^2), so cut the pool down first.
        n: medoids; all rows if there are fewer.
        iterations: at most.

    Returns:
        (n,) indices, the medoid of the largest cluster first.
    """
    matrix, n = checked(distances, n)
    if matrix.shape[0] != matrix.shape[1] or (matrix < 0).any():
        raise ValueError(f"expected distances (m, m) >= 0, got {matrix.shape} from {matrix.min():g}")
    medoids = [int(matrix.sum(axis=1).argmin())]
    nearest = matrix[medoids[0]].copy()
    while len(medoids) < n:
        nearest[medoids] = -1
        medoids.append(int(nearest.argmax()))
        np.minimum(nearest, matrix[medoids[-1]], out=nearest)
    current = np.sort(np.array(medoids, np.int64))
    for _ in range(iterations):
        nearest_medoid = _nearest_medoid(matrix, current)
        clusters = [np.flatnonzero(nearest_medoid == k) for k in range(n)]
        better = np.sort([rows[matrix[np.ix_(rows, rows)].sum(axis=1).argmin()] for rows in clusters])
        if (better == current).all():
            break
        current = better
    return current[np.argsort(-np.bincount(_nearest_medoid(matrix, current), minlength=n), kind="stable")]


def _nearest_medoid(distances: NDArray, medoids: NDArray[np.int64]) -> NDArray[np.int64]:
    """(m,) which medoid is nearest to each row; a medoid is its own, even if another one coincides with it."""
    nearest = distances[:, medoids].argmin(axis=1)
    nearest[medoids] = np.arange(len(medoids))
    return nearest
