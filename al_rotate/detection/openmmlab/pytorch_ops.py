"""The ops of mmcv that one-stage detectors of rotated boxes need, in PyTorch, on any device.

The signatures are those of ``mmcv._ext``. The IoU is that of :mod:`al_rotate.boxes`, in double precision, and computed
only for boxes whose axis-aligned hulls meet. mmcv computes in single precision, so the two differ by rounding.
"""

from __future__ import annotations

import numpy as np
import torch
import torchvision
from torch import Tensor

from ...boxes.nms import greedy

_HULLS_AT_ONCE = 1 << 22  # comparisons of hulls, of one byte each
_PAIRS_AT_ONCE = 1 << 17  # pairs whose IoU is computed at once: some 50 MB
_NO_AREA = 1e-14  # boxes of a smaller area overlap nothing, as in mmcv


def box_iou_rotated(bboxes1: Tensor, bboxes2: Tensor, ious: Tensor, mode_flag: int = 0, aligned: bool = False) -> None:
    """Compute the IoU, or with `mode_flag` 1 the share of the first box, into `ious`.

    Args:
        bboxes1, bboxes2: (N, 5) and (M, 5).
        ious: (N * M,), or (N,) when aligned; filled with the result.
        mode_flag: 0 for the IoU, 1 for the intersection over the area of the first box.
        aligned: compare row i with row i only.
    """
    first, second = bboxes1.detach().double(), bboxes2.detach().double()
    if aligned:
        ious.copy_(_overlaps(first, second, mode_flag))
        return
    rows, columns = _meeting(first, second)
    ious.zero_()
    ious[rows * len(second) + columns] = _overlaps(first[rows], second[columns], mode_flag).to(ious.dtype)


def nms_rotated(
    dets: Tensor,
    scores: Tensor,
    order: Tensor,
    dets_sorted: Tensor,
    labels: Tensor,
    iou_threshold: float,
    multi_label: bool = False,
) -> Tensor:
    """Suppress greedily what a kept box with a higher score overlaps by the threshold or more.

    Args:
        dets: (N, 5), or (N, 6) with labels last; not used, as `dets_sorted` holds the same.
        scores: (N,); not used, as `order` holds their order.
        order: (N,) rows by descending score.
        dets_sorted: `dets` in that order.
        labels: (N,), if `multi_label`: boxes of different labels do not suppress each other.
        iou_threshold: above 0.
        multi_label: whether there are labels.

    Returns:
        (K,) rows of the kept boxes, by descending score.
    """
    ordered = dets_sorted[:, :5].detach().double()
    rows, columns = _meeting(ordered)
    if multi_label:
        same = labels[order][rows] == labels[order][columns]
        rows, columns = rows[same], columns[same]
    # As mmcv compares: in the precision of the boxes.
    suppresses = _overlaps(ordered[rows], ordered[columns], 0).to(dets_sorted.dtype) >= iou_threshold
    pairs = torch.stack([rows[suppresses], columns[suppresses]]).cpu().numpy()
    kept = greedy(len(ordered), pairs[0], pairs[1], lambda i, j: np.ones(len(i), bool))
    return order[torch.from_numpy(kept).to(order.device)]


def nms(bboxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Suppress axis-aligned boxes (N, 4); with `offset` 1, right and bottom sides belong to the box."""
    corners = bboxes + bboxes.new_tensor([0, 0, offset, offset])
    return torchvision.ops.nms(corners, scores, iou_threshold)


OPS = (box_iou_rotated, nms_rotated, nms)


def _meeting(first: Tensor, second: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Find the pairs whose axis-aligned hulls meet, (P,) and (P,); without `second` the pairs i < j within `first`."""
    low, high = _hulls(first)
    other_low, other_high = (low, high) if second is None else _hulls(second)
    step = max(1, _HULLS_AT_ONCE // max(1, len(other_low)))
    pairs = [low.new_zeros((0, 2), dtype=torch.long)]
    for start in range(0, len(low), step):
        rows = slice(start, start + step)
        meet = (low[rows, None, 0] <= other_high[:, 0]) & (other_low[:, 0] <= high[rows, None, 0])
        meet &= (low[rows, None, 1] <= other_high[:, 1]) & (other_low[:, 1] <= high[rows, None, 1])
        if second is None:
            meet = meet.triu(start + 1)
        pairs.append(meet.nonzero() + low.new_tensor([start, 0], dtype=torch.long))
    rows_of, columns_of = torch.cat(pairs).unbind(dim=1)
    return rows_of, columns_of


def _hulls(dets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the upper left and the lower right corners of the axis-aligned hulls, (N, 2) each."""
    cos, sin = dets[:, 4].cos(), dets[:, 4].sin()
    half_x = ((dets[:, 2] * cos).abs() + (dets[:, 3] * sin).abs()) / 2
    half_y = ((dets[:, 2] * sin).abs() + (dets[:, 3] * cos).abs()) / 2
    half = torch.stack([half_x, half_y], dim=1)
    return dets[:, :2] - half, dets[:, :2] + half


def _overlaps(first: Tensor, second: Tensor, mode_flag: int) -> Tensor:
    """Compare first[i] with second[i], (P,) float64."""
    chunks = zip(first.split(_PAIRS_AT_ONCE), second.split(_PAIRS_AT_ONCE), strict=True)
    intersection = torch.cat([first.new_zeros(0), *(_intersections(a, b) for a, b in chunks)])
    area, other_area = first[:, 2] * first[:, 3], second[:, 2] * second[:, 3]
    whole = area if mode_flag == 1 else area + other_area - intersection
    has_area = (area >= _NO_AREA) & (other_area >= _NO_AREA)
    return torch.where(has_area, intersection / torch.where(has_area, whole, 1.0), 0.0)


def _intersections(a: Tensor, b: Tensor) -> Tensor:
    """Compute the common areas of a[i] and b[i], (P,), as ``al_rotate.boxes.iou`` does.

    In a's own frame a is the rectangle |x| <= p, |y| <= q. By Green's theorem the common area is the integral of
    clip(x, -p, p) dy along the parts of b's outline with |y| <= q. On each of b's four edges the integrand has at most
    three linear pieces, so trapezoids are exact.
    """
    cos, sin = a[:, 4].cos(), a[:, 4].sin()
    dx, dy = b[:, 0] - a[:, 0], b[:, 1] - a[:, 1]
    x0, y0 = (cos * dx + sin * dy).unsqueeze(1), (cos * dy - sin * dx).unsqueeze(1)
    turn = (b[:, 4] - a[:, 4]).unsqueeze(1)
    u = b[:, 2:3] * b.new_tensor([-0.5, 0.5, 0.5, -0.5])
    v = b[:, 3:4] * b.new_tensor([-0.5, -0.5, 0.5, 0.5])
    x, y = x0 + u * turn.cos() - v * turn.sin(), y0 + u * turn.sin() + v * turn.cos()  # (P, 4) starts of the edges
    run, rise = x.roll(-1, dims=1) - x, y.roll(-1, dims=1) - y
    p, q = a[:, 2:3] / 2, a[:, 3:4] / 2
    # A horizontal edge adds nothing (dy = 0); a vertical one has no knot in x.
    level, vertical = rise == 0, run == 0
    start, end = (torch.where(level, 0.0, knot) for knot in _knots(y, rise, q, torch.zeros_like(y), torch.ones_like(y)))
    enter, leave = (torch.where(vertical, start, knot) for knot in _knots(x, run, p, start, end))
    knots = torch.stack([start, enter, leave, end])  # (4, P, 4) ascending along each edge
    values = torch.minimum(torch.maximum(x + knots * run, -p), p)
    trapezoids = (knots[1:] - knots[:-1]) * (values[1:] + values[:-1])
    return (trapezoids.sum(dim=0) * rise).sum(dim=1).abs() / 2


def _knots(origin: Tensor, slope: Tensor, bound: Tensor, first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """Return where edges enter and leave the strip of half-width `bound`, within [first, last]."""
    one, other = (-bound - origin) / slope, (bound - origin) / slope
    enter, leave = torch.minimum(one, other), torch.maximum(one, other)
    return enter.clamp(min=first, max=last), leave.clamp(min=first, max=last)
