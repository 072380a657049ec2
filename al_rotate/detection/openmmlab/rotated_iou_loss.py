"""Let configs with ``RotatedIoULoss`` train on a CPU.

mmcv computes the IoU of this loss in differentiable PyTorch, except for one step that it has for CUDA only: sorting
the vertices of the intersection polygon. This is that step in PyTorch.
"""

from __future__ import annotations

from types import SimpleNamespace

import mmcv.ops.diff_iou_rotated as mmcv_iou
import torch
from torch import Tensor

from .gpu_ops import runs_on


def install() -> None:
    """Use :func:`sort_vertices`, except on GPUs for which mmcv's kernel is compiled. Once is enough."""
    if isinstance(mmcv_iou.ext_module, SimpleNamespace):
        return
    kernel = mmcv_iou.ext_module.diff_iou_rotated_sort_vertices_forward

    def sort(vertices: Tensor, mask: Tensor, num_valid: Tensor) -> Tensor:
        return (kernel if vertices.is_cuda and runs_on(vertices.device) else sort_vertices)(vertices, mask, num_valid)

    mmcv_iou.ext_module = SimpleNamespace(diff_iou_rotated_sort_vertices_forward=sort)


def sort_vertices(vertices: Tensor, mask: Tensor, num_valid: Tensor) -> Tensor:
    """Sort the valid vertices around their mean; return their indices, closed with the first and padded.

    Args:
        vertices: (B, N, 24, 2) candidates, relative to the mean of the valid ones: 8 corners, then 16 edge crossings.
        mask: (B, N, 24) bool, the valid candidates; at most 8 of the crossings ever are.
        num_valid: (B, N) int, their number.

    Returns:
        (B, N, K) int. The padding is the index of an invalid crossing: its coordinates are zero, so it adds nothing to
        the area. K is 9, as in mmcv's kernel, or more where coinciding corners make more than 8 vertices valid: the
        kernel's 9 places would cut such a polygon short.
    """
    angle = torch.atan2(vertices[..., 1], vertices[..., 0])
    order = angle.masked_fill(~mask.bool(), torch.inf).argsort(dim=-1)
    count = num_valid.unsqueeze(-1)
    n_places = max(9, int(num_valid.max()) + 1) if num_valid.numel() else 9
    place = torch.arange(n_places, device=vertices.device).expand(*order.shape[:-1], n_places)
    picked = order.gather(-1, place.clamp(max=order.shape[-1] - 1))
    padding = 8 + mask[..., 8:].int().argmin(dim=-1, keepdim=True)
    closed = torch.where(place == count, order[..., :1], picked)
    # Fewer than three vertices span no area.
    return torch.where((place <= count) & (count >= 3), closed, padding).int()
