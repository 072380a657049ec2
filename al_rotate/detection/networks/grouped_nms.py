"""Rotated NMS of many images at once, on any device.

mmcv's takes one image at a time and compares each box with every other. Here the near pairs within images are compared
by mmcv's own IoU, and all images are decided together.
"""

from __future__ import annotations

import torch
from mmcv.ops import box_iou_rotated
from torch import Tensor

_PAIRS_AT_ONCE = 1 << 21  # some 100 MB
_ROUNDING = 1e-6  # of the largest coordinate: what float32 may be off
_MIN_SIDE = 1e-5  # of the largest coordinate: in float32 thinner boxes can seem to cross others that are far away


def ranked(scores: Tensor, groups: Tensor) -> Tensor:
    """Return rows (N,) by ascending group, in it by descending score; of equal scores the earlier row comes first."""
    by_score = scores.sort(descending=True, stable=True).indices
    return by_score[groups[by_score].sort(stable=True).indices]


def places(groups: Tensor) -> Tensor:
    """Return which one of its group each row is, (N,) from 0, for ascending `groups`."""
    return torch.arange(len(groups), device=groups.device) - torch.searchsorted(groups, groups)


def nms(boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float) -> Tensor:
    """Suppress greedily every box that a kept box of its group with a higher score overlaps.

    Args:
        boxes: (N, 5) rotated boxes.
        scores: (N,); of equal scores the earlier row ranks first.
        groups: (N,) integers.
        iou_threshold: of mmcv's IoU in float32, reached on a CPU and exceeded on other devices, as mmcv compares there.

    Returns:
        (K,) rows of the kept boxes, ascending.
    """
    order = ranked(scores, groups)
    better, worse = _suppressing(boxes[order], groups[order], iou_threshold)
    remains = torch.ones(len(order), dtype=torch.bool, device=boxes.device)
    while True:
        # Pairs run from better to worse boxes, so one state alone repeats itself: that of the sequential algorithm.
        reached = torch.zeros_like(remains, dtype=torch.int32)
        reached = reached.scatter_reduce(0, worse, remains[better].int(), "amax")
        before, remains = remains, reached == 0
        if torch.equal(before, remains):
            return order[remains].sort().values


def _suppressing(boxes: Tensor, groups: Tensor, iou_threshold: float) -> tuple[Tensor, Tensor]:
    """List the pairs (P,) and (P,) of ranked boxes of which the first, if it is kept, suppresses the second."""
    row = torch.arange(len(groups), device=groups.device)
    after = torch.searchsorted(groups, groups, right=True)  # the first row of the next group
    ends = (after - row - 1).cumsum(0)  # each row is paired with all that follow it in its group
    radius = _radii(boxes)
    found = [row.new_zeros((2, 0))]
    n_pairs = int(ends[-1]) if len(ends) else 0
    for start in range(0, n_pairs, _PAIRS_AT_ONCE):
        pair = torch.arange(start, min(start + _PAIRS_AT_ONCE, n_pairs), device=row.device)
        i = torch.searchsorted(ends, pair, right=True)
        j = after[i] - ends[i] + pair
        apart = (boxes[i, :2] - boxes[j, :2]).square().sum(dim=1)
        near = ~(apart > (radius[i] + radius[j]).square())  # also where a box is not finite: that is left to mmcv
        i, j = i[near], j[near]
        if not len(i):  # mmcv's IoU starts no kernel of no threads
            continue
        overlaps = box_iou_rotated(boxes[i], boxes[j], aligned=True)
        over = overlaps >= iou_threshold if boxes.device.type == "cpu" else overlaps > iou_threshold
        found.append(torch.stack([i[over], j[over]]))
    better, worse = torch.cat(found, dim=1)
    return better, worse


def _radii(boxes: Tensor) -> Tensor:
    """Return the radii (N,) outside which mmcv's float32 arithmetic sees nothing of each box."""
    finite = torch.where(boxes.isfinite(), boxes, 0)
    extent = finite[:, :4].abs().max().clamp(min=1) if len(boxes) else boxes.new_ones(())
    sides = boxes[:, 2:4].abs()
    slivers = (sides < _MIN_SIDE * extent).any(dim=1)
    return torch.where(slivers, 8 * extent, torch.hypot(*sides.T) / 2 + _ROUNDING * extent)
