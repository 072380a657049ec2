"""The ops of mmcv that S2ANet and focal losses need, in PyTorch, on any device.

The signatures are those of ``mmcv._ext``.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import deform_conv2d

_LEAST = torch.finfo(torch.float32).tiny  # below it mmcv takes no logarithm


def deform_conv_forward(
    input: Tensor, weight: Tensor, offset: Tensor, output: Tensor, columns: Tensor, ones: Tensor, **sizes: Any
) -> None:
    """Convolve at shifted places (Dai et al. 2017, https://arxiv.org/abs/1703.06211) into `output`.

    Args:
        input: (B, C, H, W).
        weight: (C', C / group, kH, kW).
        offset: (B, 2 * deformable_group * kH * kW, H', W'): y and x of each place.
        output: (B, C', H', W').
        columns, ones: room that mmcv's kernels work in.
        sizes: dH, dW (strides), padH, padW, dilationH, dilationW; others follow from the shapes.
    """
    output.copy_(_deform_conv(input, offset, weight, sizes))


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    **sizes: Any,
) -> None:
    """Compute the gradients of :func:`deform_conv_forward`, into `grad_input` and `grad_offset`."""
    with torch.enable_grad():
        input, offset = (tensor.detach().requires_grad_() for tensor in (input, offset))
        output = _deform_conv(input, offset, weight.detach(), sizes)
    of_input, of_offset = torch.autograd.grad(output, (input, offset), grad_output)
    grad_input.copy_(of_input)
    grad_offset.copy_(of_offset)


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    scale: float = 1,
    **sizes: Any,
) -> None:
    """Add the gradient of :func:`deform_conv_forward` for `weight`, times `scale`, to `grad_weight`."""
    with torch.enable_grad():
        weight = grad_weight.detach().clone().requires_grad_()  # the convolution is linear in it
        output = _deform_conv(input.detach(), offset.detach(), weight, sizes)
    grad_weight.add_(torch.autograd.grad(output, weight, grad_output)[0], alpha=scale)


def active_rotated_filter_forward(input: Tensor, indices: Tensor, output: Tensor) -> None:
    """Turn filters (Zhou et al. 2017, https://arxiv.org/abs/1701.01833) into `output`.

    Args:
        input: (N, C, O, kH, kW), O orientations.
        indices: (O, kH, kW, R) int: where each weight goes in each of R rotations, counted from 1.
        output: (N * R, C * O, kH, kW).
    """
    n, c = input.shape[:2]
    places, n_rotations = indices.reshape(-1, indices.shape[-1]).long() - 1, indices.shape[-1]
    turned = output.view(n, n_rotations, c, -1)
    for rotation in range(n_rotations):
        turned[:, rotation, :, places[:, rotation]] = input.reshape(n, c, -1)


def active_rotated_filter_backward(grad_out: Tensor, indices: Tensor, grad_in: Tensor) -> None:
    """Compute the gradient of :func:`active_rotated_filter_forward` into `grad_in`, (N, C, O, kH, kW)."""
    n, c = grad_in.shape[:2]
    places, n_rotations = indices.reshape(-1, indices.shape[-1]).long() - 1, indices.shape[-1]
    turned = grad_out.reshape(n, n_rotations, c, -1)
    parts = [turned[:, rotation, :, places[:, rotation]] for rotation in range(n_rotations)]
    grad_in.copy_(torch.stack(parts).sum(dim=0).view_as(grad_in))


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Compute the focal loss (Lin et al. 2017, https://arxiv.org/abs/1708.02002) into `output`.

    Args:
        input: (N, C) logits.
        target: (N,) classes; C is the background.
        weight: (C,) factors of objects of each class, or (0,) for none.
        output: (N, C).
        gamma, alpha: as in the paper.
    """
    p, own, factor = _focal_parts(input, target, weight)
    positive = -alpha * (1 - p) ** gamma * p.clamp(min=_LEAST).log()
    negative = -(1 - alpha) * p**gamma * (1 - p).clamp(min=_LEAST).log()
    output.copy_(torch.where(own, positive, negative) * factor)


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Compute the gradient of :func:`sigmoid_focal_loss_forward` into `grad_input`, (N, C)."""
    p, own, factor = _focal_parts(input, target, weight)
    positive = -alpha * (1 - p) ** gamma * (1 - p - gamma * p * p.clamp(min=_LEAST).log())
    negative = -(1 - alpha) * p**gamma * (gamma * (1 - p) * (1 - p).clamp(min=_LEAST).log() - p)
    grad_input.copy_(torch.where(own, positive, negative) * factor)


OPS = (
    deform_conv_forward,
    deform_conv_backward_input,
    deform_conv_backward_parameters,
    active_rotated_filter_forward,
    active_rotated_filter_backward,
    sigmoid_focal_loss_forward,
    sigmoid_focal_loss_backward,
)
LAYERS = ("DeformConv2d", "DeformConv2dPack")  # of mmcv.ops, which these ops are enough for


def _deform_conv(input: Tensor, offset: Tensor, weight: Tensor, sizes: dict[str, Any]) -> Tensor:
    stride, padding, dilation = ((int(sizes[f"{name}H"]), int(sizes[f"{name}W"])) for name in ("d", "pad", "dilation"))
    return deform_conv2d(input, offset, weight, stride=stride, padding=padding, dilation=dilation)


def _focal_parts(input: Tensor, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return probabilities and which class is an object's own, (N, C) each, and the factor of each row, (N, 1)."""
    n_classes = input.shape[1]
    own = F.one_hot(target.clamp(max=n_classes), n_classes + 1)[:, :n_classes].bool()
    if not len(weight):
        return input.sigmoid(), own, input.new_ones(())
    factor = torch.cat([weight, weight.new_ones(1)])[target.clamp(max=n_classes)]
    return input.sigmoid(), own, factor[:, None]
