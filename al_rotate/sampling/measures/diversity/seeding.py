"""Drawn by squared distance: the seeding of k-means++."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .rows import checked
from .space import Space

__all__ = ["k_means_plus_plus"]


def k_means_plus_plus(
    features: ArrayLike, n: int, selected: ArrayLike | None = None, rng: np.random.Generator | None = None
) -> NDArray[np.int64]:
    """Draw each pick with a probability in proportion to its squared distance from all that are picked or selected.

    The seeding of k-means++ (Arthur and Vassilvitskii, SODA 2007); on gradient embeddings the selection of BADGE (Ash
    et al., ICLR 2020, algorithm 1). Rows that coincide with picked ones come last.

    Args:
        features: (n, d).
        n: rows to pick; all of them if there are fewer.
        selected: (m, d), already covered.
        rng: draws; the first row uniformly, if nothing is selected.

    Raises:
        ValueError: also without rng.
    """
    rows, n = checked(features, n)
    if rng is None:
        raise ValueError("k_means_plus_plus needs a random generator: rng=np.random.default_rng(seed)")
    space = Space(rows)
    nearest = space.nearest(selected)
    remaining = np.ones(len(rows), bool)
    picked: list[int] = []
    while len(picked) < n:
        weights = np.where(remaining, 1.0 if np.isinf(nearest[0]) else nearest, 0.0)
        weights = weights if weights.any() else remaining.astype(float)
        total = np.cumsum(weights, dtype=np.float64)
        # side="right" steps over rows of probability 0; rounding must not step past the last other row.
        following = min(
            int(np.searchsorted(total, rng.random() * total[-1], side="right")), int(weights.nonzero()[0][-1])
        )
        np.minimum(nearest, space.squared(rows[following][None])[:, 0], out=nearest)
        remaining[following] = False
        picked.append(following)
    return np.array(picked, np.int64)
