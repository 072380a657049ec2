"""How a detector's networks are computed: in bfloat16 or float32, and with which memory format."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import torch
from mmdet.models import SingleStageDetector
from torch import Tensor, nn

from .features import replaced

Precision = Literal["auto", "fp32", "bf16"]


def resolve(precision: Precision, device: torch.device) -> Literal["fp32", "bf16"]:
    """Resolve ``auto``: bf16 where the device multiplies it natively, at least twice as fast, else fp32.

    Raises:
        ValueError: for another value.
    """
    if precision not in ("auto", "fp32", "bf16"):
        raise ValueError(f"expected precision auto, fp32 or bf16, got {precision!r}")
    if precision != "auto":
        return precision
    if device.type == "cuda":
        native = torch.cuda.get_device_capability(device) >= (8, 0)
    else:  # other devices emulate it, ten times slower than fp32
        tests = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        native = device.type == "cpu" and any(getattr(torch.cpu, name, bool)() for name in tests)
    return "bf16" if native else "fp32"


@contextmanager
def bf16(model: nn.Module, device: str) -> Iterator[None]:
    """While open, backbone, neck and heads run under bfloat16 autocast; decoding and NMS stay in float32."""
    with ExitStack() as stack:
        for network in _networks(model):
            stack.enter_context(replaced(network, "forward", _autocast(network.forward, device)))
        yield


def channels_last(model: nn.Module) -> nn.Module:
    """Store the weights of convolutions in channels-last format, which is faster on CPUs and GPUs.

    Only in one-stage detectors of plain layers: some of mmcv's operations refuse features in this format, and others
    (RoIAlignRotated) silently misread them.
    """
    if isinstance(model, SingleStageDetector) and not any("mmcv.ops" in type(m).__module__ for m in model.modules()):
        for layer in model.modules():
            if type(layer) is nn.Conv2d:
                layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


def _networks(model: Any) -> list[Any]:
    names = ("backbone", "neck", "bbox_head", "bbox_head_init", "bbox_head_refine", "rpn_head")
    parts = [getattr(model, name) for name in names if hasattr(model, name)]
    if hasattr(model, "roi_head"):
        parts.append(model.roi_head.bbox_head)
    return [network for part in parts for network in (part if isinstance(part, nn.ModuleList) else [part])]


def _autocast(original: Any, device: str) -> Any:
    def forward(*args: Any, **kwargs: Any) -> Any:
        # The cache of cast weights is the process's: on a GPU another stream may read one that is not written yet.
        with torch.autocast(device, dtype=torch.bfloat16, cache_enabled=device == "cpu"):
            return _to_float(original(*args, **kwargs))

    return forward


def _to_float(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.float()
    return type(value)(map(_to_float, value)) if isinstance(value, (list, tuple)) else value
