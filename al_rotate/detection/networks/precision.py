"""How a detector's networks are computed: in bfloat16 or float32, channel by channel; boxes always in float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import torch
from mmdet.models import SingleStageDetector
from torch import Tensor, nn

from .features import replaced

Precision = Literal["auto", "fp32", "bf16"]


def resolve(wanted: Precision, device: torch.device) -> Literal["fp32", "bf16"]:
    """``auto`` is bf16 where the device multiplies it natively, which is twice as quick or more, else fp32.

    Raises:
        ValueError: for another word.
    """
    if wanted not in ("auto", "fp32", "bf16"):
        raise ValueError(f"expected precision auto, fp32 or bf16, got {wanted!r}")
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        native = torch.cuda.get_device_capability(device) >= (8, 0)
    else:  # elsewhere it is emulated, ten times slower than fp32
        known = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        native = device.type == "cpu" and any(getattr(torch.cpu, name, bool)() for name in known)
    return "bf16" if native else "fp32"


@contextmanager
def bf16(model: nn.Module, device: str) -> Iterator[None]:
    """While open, backbone, neck and the heads' layers run under autocast; decoding and NMS see float32."""
    with ExitStack() as stack:
        for part in _networks(model):
            stack.enter_context(replaced(part, "forward", _autocast(part.forward, device)))
        yield


def channels_last(model: nn.Module) -> nn.Module:
    """Let convolutions' weights lie channel by channel, as CPUs and GPUs compute them quicker.

    Only in one-stage detectors of plain layers: of mmcv's own operations some refuse features that lie so, and others
    (RoIAlignRotated) take them for something else without a word.
    """
    if isinstance(model, SingleStageDetector) and not any("mmcv.ops" in type(m).__module__ for m in model.modules()):
        for part in model.modules():
            if type(part) is nn.Conv2d:
                part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


def _networks(model: Any) -> list[Any]:
    names = ("backbone", "neck", "bbox_head", "bbox_head_init", "bbox_head_refine", "rpn_head")
    parts = [getattr(model, name) for name in names if hasattr(model, name)]
    if hasattr(model, "roi_head"):
        parts.append(model.roi_head.bbox_head)
    return [one for part in parts for one in (part if isinstance(part, nn.ModuleList) else [part])]


def _autocast(original: Any, device: str) -> Any:
    def forward(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast(device, dtype=torch.bfloat16):
            return _to_float(original(*args, **kwargs))

    return forward


def _to_float(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.float()
    return type(value)(map(_to_float, value)) if isinstance(value, (list, tuple)) else value
