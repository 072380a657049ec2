"""TODO boxes.iou."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .convert import Floats, _as_boxes, _corners, _extents, _require_finite


def iou(a: ArrayLike, b: ArrayLike, paired: bool = False) -> NDArray[np.float64]:
    """Rotated intersection over union, exact.

    Pairs whose axis-aligned hulls do not meet are rejected before the exact computation, which leaves few of
    a real scene's pairs. Two boxes of zero area have IoU 0.

    Args:
        a: (N, 5) boxes.
        b: (M, 5) boxes.
        paired: compare ``a[i]`` with ``b[i]`` only; needs N == M.

    Returns:
        (N, M) float64 in [0, 1], or (N,) when paired.

    Raises:
        ValueError: for wrong shapes, or lengths that differ when paired.
    """
    a, b = _as_boxes(a)[0], _as_boxes(b)[0]
    if paired:
        if len(a) != len(b):
            raise ValueError(f"expected as many boxes in a as in b when paired, got {len(a)} and {len(b)}")
        parts = [slice(k, k + _PAIRS_AT_ONCE) for k in range(0, len(a), _PAIRS_AT_ONCE)]
        return np.concatenate([np.zeros(0), *(_paired_iou(a[part], b[part]) for part in parts)])
    out = np.zeros((len(a), len(b)))
    rows, columns = near_pairs(a, b)
    out[rows, columns] = iou(a[rows], b[columns], paired=True)
    return out


def near_pairs(a: ArrayLike, b: ArrayLike | None = None) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """All pairs whose axis-aligned hulls meet; all others have IoU 0.

    A sweep along x: with the boxes of `b` sorted by their left sides, those that may reach some neighbours of `a` are
    neighbours, too.

    Args:
        a: (N, 5) boxes.
        b: (M, 5) boxes; None: the pairs i < j within `a`.

    Returns:
        Indices (i, j), sorted by i, then j.

    Raises:
        ValueError: for a value that is not finite.
    """
    for given in (a, b):
        if given is not None:
            _require_finite(_as_boxes(given)[0], "boxes")
    left, top, right, bottom = hulls = _extents(_as_boxes(a)[0])
    others = hulls if b is None else _extents(_as_boxes(b)[0])
    order = np.argsort(others[0], kind="stable")
    left_b, top_b, right_b, bottom_b = (side[order] for side in others)
    widest = (right_b - left_b).max(initial=0)
    keys: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    for some in np.array_split(np.argsort(left, kind="stable"), -(-len(left) // _ROWS_AT_ONCE) or 1):
        first = np.searchsorted(left_b, left[some].min(initial=np.inf) - widest, "left")
        last = np.searchsorted(left_b, right[some].max(initial=-np.inf), "right")
        may = slice(first, max(first, last))
        row = (some, None)
        meet = (left[row] <= right_b[may]) & (left_b[may] <= right[row])
        meet &= (top[row] <= bottom_b[may]) & (top_b[may] <= bottom[row])
        i, k = np.nonzero(meet)
        i, j = some[i], order[first + k]
        if b is None:
            i, j = i[i < j], j[i < j]
        keys.append(i * np.int64(len(order)) + j)
    rows, columns = np.divmod(np.sort(np.concatenate(keys)), max(1, len(order)))
    return rows, columns


_ROWS_AT_ONCE = 128  # boxes against all that may reach them

_PAIRS_AT_ONCE = 1 << 16  # pairs whose intermediate arrays stay in the cache


def _paired_iou(a: Floats, b: Floats) -> NDArray[np.float64]:
    intersection = _intersection(a, b)
    union = a[:, 2] * a[:, 3] + b[:, 2] * b[:, 3] - intersection
    return np.clip(intersection / np.where(union > 0, union, 1.0), 0.0, 1.0)


def _intersection(a: Floats, b: Floats) -> NDArray[np.float64]:
    """Areas of a[i] and b[i] in common, (N,).

    In a's own frame a is the rectangle |x| <= p, |y| <= q, and by Green's theorem the common area is the
    integral of clip(x, -p, p) dy along those parts of b's outline that have |y| <= q. On each of b's four
    edges the integrand is linear between at most three knots, so trapezoids are exact. The result is
    continuous in both boxes: edges that coincide need no special case.
    """
    cos, sin = np.cos(a[:, 4]), np.sin(a[:, 4])
    dx, dy = b[:, 0] - a[:, 0], b[:, 1] - a[:, 1]
    moved = np.column_stack([cos * dx + sin * dy, cos * dy - sin * dx, b[:, 2], b[:, 3], b[:, 4] - a[:, 4]])
    corners = _corners(moved)
    x, y = corners[..., 0], corners[..., 1]  # (N, 4) starts of the edges
    run, rise = np.roll(x, -1, axis=1) - x, np.roll(y, -1, axis=1) - y
    p, q = a[:, 2:3] / 2, a[:, 3:4] / 2
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        y_low, y_high = (-q - y) / rise, (q - y) / rise
        x_low, x_high = (-p - x) / run, (p - x) / run
    # A level edge adds nothing (dy = 0); an upright one has no knot in x.
    start = np.where(rise == 0, 0.0, np.clip(np.minimum(y_low, y_high), 0.0, 1.0))
    end = np.where(rise == 0, 0.0, np.clip(np.maximum(y_low, y_high), 0.0, 1.0))
    upright = run == 0
    enter = np.clip(np.where(upright, start, np.minimum(x_low, x_high)), start, end)
    leave = np.clip(np.where(upright, start, np.maximum(x_low, x_high)), start, end)
    knots = np.stack([start, enter, leave, end])  # (4, N, 4) ascending along each edge
    values = np.clip(x + knots * run, -p, p)
    trapezoids = (knots[1:] - knots[:-1]) * (values[1:] + values[:-1])
    return np.abs((trapezoids.sum(axis=0) * rise).sum(axis=1)) / 2
