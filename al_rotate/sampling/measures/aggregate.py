"""From scores of boxes to one score per image, with stated rules for images without a box."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Empty", "How", "aggregate", "place_empty"]

How = Literal["mean", "max", "sum", "top-k"]
Empty = Literal["last", "first", "mean", "missed"]


def aggregate(
    values: ArrayLike, offsets: ArrayLike, how: How = "mean", k: int = 5, weights: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Score each image from the scores of its boxes; NaN for an image without a box, see `place_empty`.

    ``sum`` prefers crowded images, ``max`` and ``top-k`` those with a few hard boxes among many easy ones; ``mean``
    ignores the number of boxes.

    Args:
        values: (N,) scores of boxes, finite.
        offsets: (M+1,) the boxes of image ``i`` are ``values[offsets[i]:offsets[i + 1]]``.
        how: mean, max, sum, or top-k, the mean of the k highest (of all if there are fewer).
        k: for top-k.
        weights: (N,) >= 0, the weight of a box in ``mean`` (``sum w v / sum w``) and ``sum`` (``sum w v``): its area,
            its class's share, its score. The mean of boxes that all have weight 0 is 0.

    Returns:
        (M,).

    Raises:
        ValueError: for an unknown rule, k < 1, offsets that do not fit, a value that is not finite, a weight that is
            negative, or weights with a rule that does not use them.

    >>> aggregate([0.25, 0.75, 0.5], [0, 2, 2, 3], how="max").tolist()
    [0.75, nan, 0.5]
    """
    if how not in get_args(How):
        raise ValueError(f"expected how to be one of {', '.join(get_args(How))}, got {how!r}")
    if not isinstance(k, int | np.integer) or k < 1:
        raise ValueError(f"expected an integer k >= 1, got {k!r}")
    if weights is not None and how not in ("mean", "sum"):
        raise ValueError(f"expected how to be mean or sum with weights of boxes, got {how!r}")
    values, offsets = _as_segments(values, offsets)
    counts = np.diff(offsets)
    filled = counts > 0
    # reduceat gives an empty segment its neighbour's first value, so it may see only the segments with a box. Between
    # their starts lie all values, since the empty ones hold none.
    starts, sizes = offsets[:-1][filled], counts[filled].astype(np.float64)
    scores = np.full(len(counts), np.nan)
    if not len(starts):
        return scores
    if how == "max":
        scores[filled] = np.maximum.reduceat(values, starts)
        return scores
    if how == "top-k":
        values = np.where(_ranks(values, counts, offsets) < k, values, 0.0)
        sizes = np.minimum(sizes, k)
    if weights is not None:
        w = _as_weights(weights, len(values))
        values, sizes = values * w, np.add.reduceat(w, starts)
    total = np.add.reduceat(values, starts)
    scores[filled] = total if how == "sum" else total / np.where(sizes > 0, sizes, 1)
    return scores


def place_empty(
    scores: ArrayLike, empty: ArrayLike, rule: Empty = "last", missed_rate: float = 0.5
) -> NDArray[np.float64]:
    """Score the images of a pool that have no box by a rule.

    Such an image has nothing to be unsure of, though it may hold everything that the detector missed. The rule uses the
    other scores of the pool, so these scores depend on the pool:

    - ``last``: the lowest score of the pool, and 0 at most;
    - ``first``: the highest score of the pool;
    - ``mean``: the mean score of the images with a box;
    - ``missed``: that mean times the rate at which such images turned out to hold an object.

    A ranking by ``last`` or ``first`` also puts these images behind or before others of the same score.

    Args:
        scores: (M,); those of images without a box are ignored.
        empty: (M,) of bool.
        rule: last, first, mean or missed.
        missed_rate: for missed, in [0, 1].

    Returns:
        (M,); all 0 if no image has a box.

    Raises:
        ValueError: for an unknown rule.

    >>> place_empty([0.5, float("nan"), 0.25], [False, True, False], "missed", missed_rate=0.5).tolist()
    [0.5, 0.1875, 0.25]
    """
    if rule not in get_args(Empty):
        raise ValueError(f"expected empty to be one of {', '.join(get_args(Empty))}, got {rule!r}")
    without_box = np.asarray(empty, bool)
    placed = np.where(without_box, 0.0, np.asarray(scores, np.float64))
    if without_box.any() and not without_box.all():
        filled = placed[~without_box]
        mean = float(filled.mean())
        by_rule = {"last": min(0.0, filled.min()), "first": filled.max(), "mean": mean, "missed": mean * missed_rate}
        placed[without_box] = by_rule[rule]
    return placed


def _ranks(values: NDArray, counts: NDArray, offsets: NDArray) -> NDArray:
    """(N,) the rank of each value in its image, 0 for the highest, ties in the order of the boxes."""
    image = np.repeat(np.arange(len(counts)), counts)
    order = np.lexsort((-values, image))
    ranks = np.empty(len(values), np.int64)
    ranks[order] = np.arange(len(values)) - offsets[image]  # boxes change places only within their image
    return ranks


def _as_weights(weights: ArrayLike, n: int) -> NDArray[np.float64]:
    w = np.asarray(weights, np.float64)
    if w.shape != (n,) or not ((w >= 0) & (w < np.inf)).all():
        raise ValueError(f"expected a finite weight >= 0 for each of {n} boxes, got {w.shape}")
    return w


def _as_segments(values: ArrayLike, offsets: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    values, offsets = np.asarray(values, np.float64), np.asarray(offsets)
    if values.ndim != 1:
        raise ValueError(f"expected one value per box, (N,), got {values.shape}")
    if offsets.ndim != 1 or not len(offsets) or offsets.dtype.kind not in "iu":
        raise ValueError(f"expected offsets of M+1 integers, got {offsets.dtype} {offsets.shape}")
    if offsets[0] != 0 or offsets[-1] != len(values) or (np.diff(offsets) < 0).any():
        raise ValueError(
            f"expected offsets to ascend from 0 to the {len(values)} values, got {offsets[0]}..{offsets[-1]}"
        )
    ok = np.isfinite(values)
    if not ok.all():
        box = int(np.flatnonzero(~ok)[0])
        raise ValueError(f"expected finite values, got {values[box]} for box {box}")
    return values, offsets.astype(np.int64, copy=False)
