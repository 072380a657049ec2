"""mmcv's rotated NMS and rotated IoU on a CPU: the same answers, without comparing boxes that are far apart.

mmcv compares every box with every other. Here :func:`al_rotate.boxes.near_pairs` finds the few pairs that can overlap,
and mmcv's own function gives their IoU, so that every bit is mmcv's. CUDA tensors go to mmcv's kernels as before.
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

_FEW = 64  # boxes: below it mmcv's plain loop is quicker
_LEAST_IOU = 1e-2  # boxes that merely touch may have an IoU of 1e-6 in mmcv's float32
_LEAST_SIDE = 1e-5  # of the coordinates: thinner boxes can seem to cross others that are far away
_THIN = 0.05  # with a larger share of such boxes nothing is gained


def nms_rotated(
    dets: Tensor, scores: Tensor, iou_threshold: float, labels: Tensor | None = None, clockwise: bool = True
) -> tuple[Tensor, Tensor | None]:
    """As ``mmcv.ops.nms_rotated``: boxes (N, 5), scores (N,) -> those kept with their scores (K, 6), and rows (K,)."""
    ours = dets.device.type == "cpu" and dets.dtype == torch.float32 and labels is None and dets.shape[1] == 5
    if not ours or len(dets) < _FEW or iou_threshold < _LEAST_IOU or not _ordinary(dets):
        return mmcv_nms(dets, scores, iou_threshold, labels, clockwise)
    # The order in which mmcv's kernel visits, ties included.
    order = scores.sort(0, descending=True)[1]
    turned = dets if clockwise else dets * dets.new_tensor([1, 1, 1, 1, -1])
    ordered = turned.detach()[order].contiguous()
    rows, columns = _may_overlap(ordered.numpy())

    def suppresses(i: NDArray[np.intp], j: NDArray[np.intp]) -> NDArray[np.bool_]:
        return (mmcv_iou(ordered[i], ordered[j], aligned=True) >= np.float32(iou_threshold)).numpy()

    keep = order[torch.from_numpy(greedy(len(dets), rows, columns, suppresses))]
    return torch.cat((dets[keep], scores[keep].reshape(-1, 1)), dim=1), keep


def box_iou_rotated(
    bboxes1: Tensor, bboxes2: Tensor, mode: str = "iou", aligned: bool = False, clockwise: bool = True
) -> Tensor:
    """As ``mmcv.ops.box_iou_rotated``: boxes (N, 5) and (M, 5) -> (N, M), or (N,) when aligned."""
    ours = not aligned and bboxes1.device.type == "cpu" and bboxes1.dtype == torch.float32
    if not ours or len(bboxes1) * len(bboxes2) < _FEW**2 or not (_ordinary(bboxes1) and _ordinary(bboxes2)):
        return mmcv_iou(bboxes1, bboxes2, mode, aligned, clockwise)
    i, j = (torch.from_numpy(k) for k in _may_overlap(bboxes1.detach().numpy(), bboxes2.detach().numpy()))
    ious = bboxes1.new_zeros((len(bboxes1), len(bboxes2)))
    ious[i, j] = mmcv_iou(bboxes1[i], bboxes2[j], mode, True, clockwise)
    return ious


def _ordinary(dets: Tensor) -> bool:
    sides = dets[:, 2:4].abs()
    thin = (sides < _LEAST_SIDE * dets[:, :4].abs().max().clamp(min=1)) & (sides > 0)
    return bool(torch.isfinite(dets).all() and thin.any(dim=1).float().mean() <= _THIN)


def _may_overlap(a: NDArray, b: NDArray | None = None) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs i, j (i < j without `b`) outside which mmcv's float32 arithmetic gives an IoU of 0."""
    far = max(1.0, *(float(np.abs(box[:, :4]).max(initial=0)) for box in (a, b) if box is not None))
    return boxes.near_pairs(_grown(a, far), None if b is None else _grown(b, far))


def _grown(box: NDArray, far: float) -> NDArray:
    """Boxes larger by what float32 may be off; slivers so large that they are near everything."""
    grown = box.astype(np.float64)
    grown[:, 2:4] = np.abs(grown[:, 2:4])
    thin = (grown[:, 2:4] < _LEAST_SIDE * far).any(axis=1)
    grown[:, 2:4] += 1e-6 * far
    grown[thin, 2:4] = 8 * far
    # To mmcv a box without an area overlaps nothing.
    grown[box[:, 2] * box[:, 3] < 1e-14, 2:] = -1, -1, 0
    return grown


_USERS = (
    (import_module("mmcv.ops.nms"), nms_rotated),  # what batched_nms calls; the attribute of that name is a function
    (mmrotate.evaluation.metrics.dota_metric, nms_rotated),
    (mmrotate.structures.bbox.bbox_overlaps, box_iou_rotated),
    (mmrotate.evaluation.functional.mean_ap, box_iou_rotated),
    (mmrotate.evaluation.metrics.rotated_coco_metric, box_iou_rotated),
)


def install() -> None:
    """Let MMRotate's heads, assigners and metrics use these. Calling it again changes nothing."""
    for module, ours in _USERS:
        setattr(module, ours.__name__, ours)


@contextmanager
def uninstalled() -> Iterator[None]:
    """While open, mmcv's own functions are in place, to compare with them."""
    for module, ours in _USERS:
        setattr(module, ours.__name__, {nms_rotated: mmcv_nms, box_iou_rotated: mmcv_iou}[ours])
    try:
        yield
    finally:
        install()
