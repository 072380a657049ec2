"""mmcv's ops on devices for which they are not compiled: those of one-stage models in PyTorch, for others an error.

With a driver and PyPI's torch alone mmcv is compiled for the CPU only, or its kernels are those of another GPU. Its ops
then end with ``implementation for device cuda:0 not found``, or ``no kernel image is available``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from ...storage.user_warnings import warn_user
from . import ops, pytorch_layers, pytorch_ops

IN_PYTORCH = {op.__name__: op for op in (*pytorch_ops.OPS, *pytorch_layers.OPS)}
INTERCEPTED = {"cuda"}  # types of devices for which a compiled mmcv may lack its ops
_PROBE = "box_iou_rotated"
_MISSING = ("not found", "no kernel image", "Not compiled", "not compiled")  # in what mmcv, CUDA and PyTorch say


def install(extension: ModuleType | None = None) -> None:
    """Let each of mmcv's ops look where its tensors are. Calling it again changes nothing.

    Args:
        extension: mmcv's ops; by default ``mmcv._ext``.
    """
    extension = extension or import_module("mmcv._ext")
    if ops.in_use() == "compiled" and not hasattr(getattr(extension, _PROBE), "compiled"):
        for name in dir(extension):
            op = getattr(extension, name)
            if callable(op) and not name.startswith(("_", "get_")):
                setattr(extension, name, _by_device(name, op))


@cache
def runs_on(device: torch.device) -> bool:
    """Whether mmcv's compiled ops run on a device: one of them is tried there, once.

    Raises:
        RuntimeError: if it ends for another reason than that it is not compiled for the device, such as full memory.
            Then the next call tries again.
    """
    if ops.in_use() == "python":
        return False
    op = getattr(import_module("mmcv._ext"), _PROBE)
    box = torch.tensor([[0.0, 0.0, 2.0, 2.0, 0.0]], device=device)
    iou = box.new_zeros(1)
    try:
        getattr(op, "compiled", op)(box, box, iou, mode_flag=0, aligned=True)
        return device.type == "meta" or abs(iou.item() - 1) < 1e-4
    except RuntimeError as error:
        if not any(words in str(error) for words in _MISSING):
            raise
        return False


def place(model: nn.Module, device: torch.device, asked: bool) -> torch.device:
    """Return the device that a model is to run on: `device`, or the CPU where ops that it needs are missing there.

    Args:
        model: on any device.
        device: the one that was asked for, or found.
        asked: whether it was asked for, and so is not to be changed.

    Raises:
        OpsMissing: where the model cannot run; says what to do.
    """
    try:
        ops.require(model, device)
    except ops.OpsMissing as missing:
        if asked or device.type == "cpu":
            raise
        ops.require(model)
        warn_user(f"{missing}. It runs on the CPU now")
        return torch.device("cpu")
    return device


def _by_device(name: str, compiled: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(compiled)
    def op(*arguments: Any, **options: Any) -> Any:
        tensors = [value for value in (*arguments, *options.values()) if isinstance(value, Tensor)]
        if not tensors or tensors[0].device.type not in INTERCEPTED or runs_on(tensors[0].device):
            return compiled(*arguments, **options)
        if name not in IN_PYTORCH:
            raise ops.OpsMissing(
                f"mmcv's op {name} is not compiled for {tensors[0].device}. {ops.repair(tensors[0].device)}"
            )
        return IN_PYTORCH[name](*arguments, **options)

    op.compiled = compiled  # type: ignore[attr-defined]
    return op
