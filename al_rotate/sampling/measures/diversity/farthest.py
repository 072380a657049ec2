"""Farthest first: the k-centre problem."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .rows import checked
from .space import AHEAD, Space

__all__ = ["k_center"]


def k_center(
    features: ArrayLike, n: int, selected: ArrayLike | None = None, rng: np.random.Generator | None = None
) -> NDArray[np.int64]:
    """Pick farthest first: each time the row farthest from all that are picked or selected.

    The greedy 2-approximation of the k-centre problem (Gonzalez 1985), which core-set selection starts from (Sener and
    Savarese, ICLR 2018, algorithm 1). The result is exact: rows that may come next share a matrix product, which only
    saves passes over the features.

    Args:
        features: (n, d).
        n: rows to pick; all of them if there are fewer.
        selected: (m, d), already covered: the labelled images' features.
        rng: draws the first row if nothing is selected; None: start with the row nearest to the mean.

    >>> k_center([[0.0], [1.0], [10.0], [12.0]], 2, selected=[[0.5]]).tolist()
    [3, 2]
    """
    rows, n = checked(features, n)
    space = Space(rows)
    nearest = space.nearest(selected)
    picked: list[int] = []
    ahead: dict[int, NDArray] = {}
    while len(picked) < n:
        following = _first(rows, rng) if np.isinf(nearest[0]) else int(nearest.argmax())
        if following not in ahead:
            far = np.argpartition(-nearest, min(AHEAD, len(rows)) - 1)[:AHEAD] if picked else np.zeros(0, int)
            wanted = np.unique([following, *far])
            ahead = dict(zip(wanted.tolist(), space.squared(rows[wanted]).T, strict=True))
        np.minimum(nearest, ahead[following], out=nearest)
        nearest[following] = -1  # below all distances, so that equal rows do not bring it back
        picked.append(following)
    return np.array(picked, np.int64)


def _first(rows: NDArray, rng: np.random.Generator | None) -> int:
    if rng is not None:
        return int(rng.integers(len(rows)))
    return int(Space(rows).squared(rows.mean(axis=0, dtype=np.float64)[None].astype(rows.dtype))[:, 0].argmin())
