"""Near-duplicates: images whose features hardly differ from those of an image that is there already."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .diversity.rows import blocks, checked
from .diversity.space import Space

__all__ = ["COVERED", "leaders", "typical_distance"]

COVERED = -1
_BLOCK = 1024  # rows that are compared together
_SAMPLE = 1000  # rows whose distances to each other are measured


def leaders(features: ArrayLike, distance: float, covered: ArrayLike | None = None) -> NDArray[np.int64]:
    """Find for each row the first one that it nearly repeats.

    The leader algorithm (Hartigan, "Clustering Algorithms", 1975, chapter 3): in the order of the rows, a row within
    `distance` of a leader belongs to it, to the nearest if there are several; any other row becomes a leader. So no two
    leaders are near each other, and a slow pan through a video keeps a frame each time the view has changed.

    Args:
        features: (n, d).
        distance: >= 0, Euclidean; rows at this distance still are duplicates.
        covered: (m, d), leaders before all others: the labelled images' features.

    Returns:
        (n,) the row of the leader, its own for a leader; -1 (`COVERED`) for a row near a covered one. Time is O(n *
        leaders), memory besides the features O(n).

    Raises:
        ValueError: for other shapes, values that are not finite, or a negative distance.

    >>> leaders([[0.0], [0.1], [5.0], [0.2]], 0.15).tolist()
    [0, 0, 2, 3]
    """
    rows, _ = checked(np.asarray(features, np.float64), 1)
    if not distance >= 0:
        raise ValueError(f"expected a distance of at least 0, got {distance}")
    # What rounding may add to the squared distance of equal rows.
    limit = distance**2 + 16 * np.finfo(np.float64).eps * np.einsum("ij,ij->i", rows, rows).max()
    leader = np.arange(len(rows))
    leader[Space(rows).nearest(covered) <= limit] = COVERED
    for own in blocks(np.arange(len(rows)), _BLOCK):
        block, nearest = Space(rows[own]), np.full(len(own), np.inf)
        for earlier in blocks(np.flatnonzero(leader[: own[0]] == np.arange(own[0])), _BLOCK):
            _follow(leader, own, nearest, earlier, block.squared(rows[earlier]), limit)
        within = block.squared(block.rows)
        for k in np.flatnonzero(np.triu(within <= limit, 1).any(axis=1)):  # rows that a later one may follow
            if leader[own[k]] == own[k]:
                later = slice(k + 1, None)
                _follow(leader, own[later], nearest[later], own[k : k + 1], within[later, k, None], limit)
    return leader


def typical_distance(features: ArrayLike) -> float:
    """Measure the median distance between two rows, of at most 1,000 rows that are evenly spaced.

    Features of two detectors, or of the same before and after a training, differ in their spread by a factor of fifty:
    what is near is said in shares of this.
    """
    rows, _ = checked(features, 1)
    some = rows[np.unique(np.linspace(0, len(rows) - 1, _SAMPLE).round().astype(np.int64))]
    pairs = np.triu_indices(len(some), 1)
    return float(np.sqrt(np.median(Space(some).squared(some)[pairs]))) if len(some) > 1 else 0.0


def _follow(leader: NDArray, rows: NDArray, nearest: NDArray, leaders: NDArray, squared: NDArray, limit: float) -> None:
    """Let each of these rows belong to the nearest of these leaders, unless it belongs to one that is nearer."""
    if not len(rows):
        return
    best = squared.argmin(axis=1)
    found = squared[np.arange(len(rows)), best]
    closer = (found <= limit) & (found < nearest) & (leader[rows] != COVERED)
    leader[rows[closer]], nearest[closer] = leaders[best[closer]], found[closer]
