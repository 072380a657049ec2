"""Run a detector's networks in bfloat16, and everything that computes with boxes in float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def bf16(model: nn.Module, device: str) -> Iterator[None]:
    """While open, backbone, neck and the heads' layers run under autocast; decoding and NMS see float32."""
    with ExitStack() as stack:
        for part in _networks(model):
            part.forward = _autocast(part.forward, device)
            stack.callback(part.__dict__.pop, "forward")
        yield


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
