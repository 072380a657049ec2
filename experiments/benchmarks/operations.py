"""How many operations PyTorch is asked for, and how often the host waits for the device: what the host's pace hangs on.

On a GPU each operation is a kernel or more, and takes the host some 5 to 10 microseconds, whatever its size. The counts
are the same on a CPU.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

VIEWS = (
    *"view permute transpose expand select slice squeeze detach split as_strided unbind alias empty lift".split(),
    "t.default",
    "fill_.Scalar",  # by which mmcv's IoU on a CPU writes its results, pair by pair; on a GPU it is one kernel
)
WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "unique")


class Operations(TorchDispatchMode):
    """While open, counts `total` operations that compute something, and `waits`."""

    def __init__(self) -> None:
        super().__init__()
        self.total, self.waits, self.names = 0, 0, Counter[str]()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(function).removeprefix("aten.")
        if not any(view in name for view in VIEWS):
            self.total += 1
            self.names[name] += 1
        masks = name.startswith("index") and any(
            i is not None and i.dtype in (torch.bool, torch.uint8) for i in _indices(args)
        )
        self.waits += masks or any(wait in name for wait in WAITS)
        return function(*args, **(kwargs or {}))


def _indices(args: Any) -> list[Any]:
    return list(args[1]) if len(args) > 1 and isinstance(args[1], (list, tuple)) else []
