"""mmcv's rotated NMS and rotated IoU on a CPU: the same results, without comparing boxes that are far apart.

mmcv compares every box with every other. Here :func:`al_rotate.boxes.near_pairs` finds the few pairs that can overlap,
and mmcv's own function computes their IoU, so that every bit is mmcv's. CUDA tensors go to mmcv's kernels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

import mmrotate.evaluation.functional.mean_ap
import mmrotate.evaluation.metrics.dota_metric
import mmrotate.evaluation.metrics.rotated_coco_metric
import mmrotate.structures.bbox.bbox_overlaps
import numpy as np
import torch
from mmcv.ops import box_iou_rotated as mmcv_iou
from mmcv.ops import nms_rotated as mmcv_nms
from numpy.typing import NDArray
from torch import Tensor

from ... import boxes
from ...boxes.nms import greedy

_MIN_BOXES = 64  # for fewer mmcv's plain loop is faster
_MIN_THRESHOLD = 1e-2  # boxes that merely touch may have an IoU of 1e-6 in mmcv's float32
_MIN_SIDE = 1e-5  # of the coordinates: in float32 thinner boxes can seem to cross others that are far away
_MAX_SLIVERS = 0.05  # with a larger share of such boxes nothing is gained


def nms_rotated(
    dets: Tensor, scores: Tensor, iou_threshold: float, labels: Tensor | None = None, clockwise: bool = True
) -> tuple[Tensor, Tensor | None]:
    """Replace ``mmcv.ops.nms_rotated``: boxes (N, 5), scores (N,) -> kept boxes with scores (K, 6), rows (K,)."""
    ours = dets.device.type == "cpu" and dets.dtype == torch.float32 and labels is None and dets.shape[1] == 5
    if not ours or len(dets) < _MIN_BOXES or iou_threshold < _MIN_THRESHOLD or not _is_regular(dets):
        return mmcv_nms(dets, scores, iou_threshold, labels, clockwise)
    # The order in which mmcv's kernel visits the boxes, ties included.
    order = scores.sort(0, descending=True)[1]
    clockwise_dets = dets if clockwise else dets * dets.new_tensor([1, 1, 1, 1, -1])
    ordered = clockwise_dets.detach()[order].contiguous()
    rows, columns = may_overlap(ordered.numpy())

    def suppresses(i: NDArray[np.intp], j: NDArray[np.intp]) -> NDArray[np.bool_]:
        return (mmcv_iou(ordered[i], ordered[j], aligned=True) >= np.float32(iou_threshold)).numpy()

    keep = order[torch.from_numpy(greedy(len(dets), rows, columns, suppresses))]
    return torch.cat((dets[keep], scores[keep].reshape(-1, 1)), dim=1), keep


def box_iou_rotated(
    bboxes1: Tensor, bboxes2: Tensor, mode: str = "iou", aligned: bool = False, clockwise: bool = True
) -> Tensor:
    """Replace ``mmcv.ops.box_iou_rotated``: boxes (N, 5) and (M, 5) -> (N, M), or (N,) when aligned."""
    ours = not aligned and bboxes1.device.type == "cpu" and bboxes1.dtype == torch.float32
    if not ours or len(bboxes1) * len(bboxes2) < _MIN_BOXES**2 or not all(map(_is_regular, (bboxes1, bboxes2))):
        return mmcv_iou(bboxes1, bboxes2, mode, aligned, clockwise)
    i, j = (torch.from_numpy(rows) for rows in may_overlap(bboxes1.detach().numpy(), bboxes2.detach().numpy()))
    ious = bboxes1.new_zeros((len(bboxes1), len(bboxes2)))
    ious[i, j] = mmcv_iou(bboxes1[i], bboxes2[j], mode, True, clockwise)
    return ious


def _is_regular(dets: Tensor) -> bool:
    """Whether all boxes are finite, and few of them slivers."""
    sides = dets[:, 2:4].abs()
    slivers = (sides < _MIN_SIDE * dets[:, :4].abs().max().clamp(min=1)) & (sides > 0)
    return bool(torch.isfinite(dets).all() and slivers.any(dim=1).float().mean() <= _MAX_SLIVERS)


def may_overlap(a: NDArray, b: NDArray | None = None) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Find pairs i, j (i < j without `b`); of all others mmcv's float32 arithmetic gives an IoU of 0."""
    extent = max(1.0, *(float(np.abs(dets[:, :4]).max(initial=0)) for dets in (a, b) if dets is not None))
    return boxes.near_pairs(_enlarge(a, extent), None if b is None else _enlarge(b, extent))


def _enlarge(dets: NDArray, extent: float) -> NDArray:
    """Enlarge boxes by the possible error of float32, and slivers so much that they are near everything."""
    enlarged = dets.astype(np.float64)
    enlarged[:, 2:4] = np.abs(enlarged[:, 2:4])
    slivers = (enlarged[:, 2:4] < _MIN_SIDE * extent).any(axis=1)
    enlarged[:, 2:4] += 1e-6 * extent
    enlarged[slivers, 2:4] = 8 * extent
    # For mmcv a box without an area overlaps nothing.
    enlarged[dets[:, 2] * dets[:, 3] < 1e-14, 2:] = -1, -1, 0
    return enlarged


_USES = (
    (import_module("mmcv.ops.nms"), nms_rotated),  # what batched_nms calls; the attribute of that name is a function
    (mmrotate.evaluation.metrics.dota_metric, nms_rotated),
    (mmrotate.structures.bbox.bbox_overlaps, box_iou_rotated),
    (mmrotate.evaluation.functional.mean_ap, box_iou_rotated),
    (mmrotate.evaluation.metrics.rotated_coco_metric, box_iou_rotated),
)


def install() -> None:
    """Let MMRotate's heads, assigners and metrics use these functions. Calling it again changes nothing."""
    for module, ours in _USES:
        setattr(module, ours.__name__, ours)


@contextmanager
def uninstalled() -> Iterator[None]:
    """While open, mmcv's own functions are in place, for comparisons."""
    for module, ours in _USES:
        setattr(module, ours.__name__, {nms_rotated: mmcv_nms, box_iou_rotated: mmcv_iou}[ours])
    try:
        yield
    finally:
        install()
