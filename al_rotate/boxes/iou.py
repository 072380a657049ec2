"""Exact IoU of rotated boxes, computed only for pairs that can overlap."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .convert import Floats, as_boxes, corners_of, extents, require_finite

_ROWS_AT_ONCE = 128  # boxes of `a` compared with all boxes of `b` near them
_PAIRS_AT_ONCE = 1 << 16  # pairs whose intermediate arrays fit the cache


def iou(a: ArrayLike, b: ArrayLike, paired: bool = False) -> NDArray[np.float64]:
    """Compute exact rotated intersection over union.

    Pairs whose axis-aligned hulls do not meet are set to 0 at once, which leaves few of a real scene's pairs. Two boxes
    of zero area have IoU 0.

    Args:
        a: (N, 5) boxes.
        b: (M, 5) boxes.
        paired: compare ``a[i]`` with ``b[i]`` only; needs N == M.

    Returns:
        (N, M) float64 in [0, 1], or (N,) when paired.

    Raises:
        ValueError: for wrong shapes, or different lengths when paired.
    """
    a, b = as_boxes(a)[0], as_boxes(b)[0]
    if paired:
        if len(a) != len(b):
            raise ValueError(f"expected as many boxes in a as in b when paired, got {len(a)} and {len(b)}")
        chunks = [slice(k, k + _PAIRS_AT_ONCE) for k in range(0, len(a), _PAIRS_AT_ONCE)]
        return np.concatenate([np.zeros(0), *(_paired_iou(a[chunk], b[chunk]) for chunk in chunks)])
    out = np.zeros((len(a), len(b)))
    rows, columns = near_pairs(a, b)
    out[rows, columns] = iou(a[rows], b[columns], paired=True)
    return out


def near_pairs(a: ArrayLike, b: ArrayLike | None = None) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Find all pairs whose axis-aligned hulls meet; all other pairs have IoU 0.

    A sweep along x: with `b` sorted by left sides, the boxes that can meet a group of neighbours in `a` are one slice.

    Args:
        a: (N, 5) boxes.
        b: (M, 5) boxes; None: the pairs i < j within `a`.

    Returns:
        Indices (i, j), sorted by i, then j.

    Raises:
        ValueError: for a value that is not finite.
    """
    for boxes in (a, b):
        if boxes is not None:
            require_finite(as_boxes(boxes)[0], "boxes")
    left, top, right, bottom = hulls = extents(as_boxes(a)[0])
    others = hulls if b is None else extents(as_boxes(b)[0])
    order = np.argsort(others[0], kind="stable")
    left_b, top_b, right_b, bottom_b = (side[order] for side in others)
    widest = (right_b - left_b).max(initial=0)
    keys: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    for group in np.array_split(np.argsort(left, kind="stable"), -(-len(left) // _ROWS_AT_ONCE) or 1):
        first = np.searchsorted(left_b, left[group].min(initial=np.inf) - widest, "left")
        last = np.searchsorted(left_b, right[group].max(initial=-np.inf), "right")
        candidates = slice(first, max(first, last))
        row = (group, None)
        meet = (left[row] <= right_b[candidates]) & (left_b[candidates] <= right[row])
        meet &= (top[row] <= bottom_b[candidates]) & (top_b[candidates] <= bottom[row])
        i, k = np.nonzero(meet)
        i, j = group[i], order[first + k]
        if b is None:
            i, j = i[i < j], j[i < j]
        keys.append(i * np.int64(len(order)) + j)
    rows, columns = np.divmod(np.sort(np.concatenate(keys)), max(1, len(order)))
    return rows, columns


def _paired_iou(a: Floats, b: Floats) -> NDArray[np.float64]:
    intersection = _intersection(a, b)
    union = a[:, 2] * a[:, 3] + b[:, 2] * b[:, 3] - intersection
    return np.clip(intersection / np.where(union > 0, union, 1.0), 0.0, 1.0)


def _intersection(a: Floats, b: Floats) -> NDArray[np.float64]:
    """Compute the common areas of a[i] and b[i], (N,).

    In a's own frame a is the rectangle |x| <= p, |y| <= q. By Green's theorem the common area is the integral of
    clip(x, -p, p) dy along the parts of b's outline with |y| <= q. On each of b's four edges the integrand has at most
    three linear pieces, so trapezoids are exact. The result is continuous in both boxes, so edges that coincide need no
    special case.
    """
    cos, sin = np.cos(a[:, 4]), np.sin(a[:, 4])
    dx, dy = b[:, 0] - a[:, 0], b[:, 1] - a[:, 1]
    b_in_a = np.column_stack([cos * dx + sin * dy, cos * dy - sin * dx, b[:, 2], b[:, 3], b[:, 4] - a[:, 4]])
    corners = corners_of(b_in_a)
    x, y = corners[..., 0], corners[..., 1]  # (N, 4) starts of the edges
    run, rise = np.roll(x, -1, axis=1) - x, np.roll(y, -1, axis=1) - y
    p, q = a[:, 2:3] / 2, a[:, 3:4] / 2
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        y_low, y_high = (-q - y) / rise, (q - y) / rise
        x_low, x_high = (-p - x) / run, (p - x) / run
    # A horizontal edge adds nothing (dy = 0); a vertical one has no knot in x.
    start = np.where(rise == 0, 0.0, np.clip(np.minimum(y_low, y_high), 0.0, 1.0))
    end = np.where(rise == 0, 0.0, np.clip(np.maximum(y_low, y_high), 0.0, 1.0))
    vertical = run == 0
    enter = np.clip(np.where(vertical, start, np.minimum(x_low, x_high)), start, end)
    leave = np.clip(np.where(vertical, start, np.maximum(x_low, x_high)), start, end)
    knots = np.stack([start, enter, leave, end])  # (4, N, 4) ascending along each edge
    values = np.clip(x + knots * run, -p, p)
    trapezoids = (knots[1:] - knots[:-1]) * (values[1:] + values[:-1])
    return np.abs((trapezoids.sum(axis=0) * rise).sum(axis=1)) / 2
