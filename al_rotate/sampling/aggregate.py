"""Scores of boxes -> one score an image, with a stated rule for images without a box."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Empty", "How", "aggregate"]

How = Literal["mean", "max", "sum", "top-k"]
Empty = Literal["last", "first", "mean"]


def aggregate(
    values: ArrayLike, offsets: ArrayLike, how: How = "mean", k: int = 5, empty: Empty = "last"
) -> NDArray[np.float64]:
    """One score an image from the scores of its boxes.

    ``sum`` prefers crowded images, ``max`` and ``top-k`` those with a few hard boxes among many easy ones, ``mean``
    does not look at the number of boxes.

    An image without a box has nothing to be unsure of, though it may hold everything that the detector missed.
    `empty` decides, for the whole pool at once, so that scores depend on the pool that they are taken over:

    - ``last``: 0, the lowest score there is;
    - ``first``: the highest score in the pool;
    - ``mean``: the mean score of the images with a box.

    A ranking by ``last`` and ``first`` also puts these images behind and before those of the very same score.

    Args:
        values: (N,) scores of boxes, finite and >= 0.
        offsets: (M+1,) the boxes of image ``i`` are ``values[offsets[i]:offsets[i + 1]]``.
        how: mean, max, sum, or top-k, the mean of the k highest (of all where there are fewer).
        k: for top-k.
        empty: last, first or mean.

    Returns:
        (M,) scores >= 0; all 0 where no image has a box.

    Raises:
        ValueError: for an unknown rule, k < 1, offsets that do not fit, or a value that is negative or not finite.

    >>> aggregate([0.25, 0.75, 0.5], [0, 2, 2, 3], how="max", empty="mean").tolist()
    [0.75, 0.625, 0.5]
    """
    if how not in get_args(How):
        raise ValueError(f"expected how to be one of {', '.join(get_args(How))}, got {how!r}")
    if empty not in get_args(Empty):
        raise ValueError(f"expected empty to be one of {', '.join(get_args(Empty))}, got {empty!r}")
    if not isinstance(k, int | np.integer) or k < 1:
        raise ValueError(f"expected an integer k >= 1, got {k!r}")
    values, offsets = _as_segments(values, offsets)

    counts = np.diff(offsets)
    filled = counts > 0
    # reduceat gives an empty segment its neighbour's first value: it may see only the segments with a box. Between
    # the starts of these lie all values, since the empty ones hold none.
    starts, sizes = offsets[:-1][filled], counts[filled]
    scores = np.zeros(len(counts))
    if not len(starts):
        return scores
    if how == "max":
        scores[filled] = np.maximum.reduceat(values, starts)
    else:
        if how == "top-k":
            values = np.where(_places(values, counts, offsets) < k, values, 0.0)
            sizes = np.minimum(sizes, k)
        scores[filled] = np.add.reduceat(values, starts) / (1 if how == "sum" else sizes)
    if empty != "last":
        scores[~filled] = scores[filled].max() if empty == "first" else scores[filled].mean()
    return scores


def _places(values: NDArray, counts: NDArray, offsets: NDArray) -> NDArray:
    """(N,) the place of each value in its image, 0 for the highest, ties in the order of the boxes."""
    image = np.repeat(np.arange(len(counts)), counts)
    order = np.lexsort((-values, image))
    places = np.empty(len(values), np.int64)
    places[order] = np.arange(len(values)) - offsets[image]  # images keep their rows, only boxes change within
    return places


def _as_segments(values: ArrayLike, offsets: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    values, offsets = np.asarray(values, np.float64), np.asarray(offsets)
    if values.ndim != 1:
        raise ValueError(f"expected one value a box, (N,), got {values.shape}")
    if offsets.ndim != 1 or not len(offsets) or offsets.dtype.kind not in "iu":
        raise ValueError(f"expected offsets of M+1 integers, got {offsets.dtype} {offsets.shape}")
    if offsets[0] != 0 or offsets[-1] != len(values) or (np.diff(offsets) < 0).any():
        raise ValueError(
            f"expected offsets to ascend from 0 to the {len(values)} values, got {offsets[0]}..{offsets[-1]}"
        )
    ok = (values >= 0) & (values < np.inf)  # False for NaN
    if not ok.all():
        box = int(np.flatnonzero(~ok)[0])
        raise ValueError(f"expected finite values >= 0, got {values[box]} for box {box}")
    return values, offsets.astype(np.int64, copy=False)
