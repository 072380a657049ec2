"""Index MMEngine's InstanceData with one operation per field."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmdet.structures.bbox import BaseBoxes
from mmengine.structures import InstanceData
from torch import Tensor

mmengine_rows = InstanceData.__getitem__


def install() -> None:
    """Let instances be indexed by :func:`rows`. Calling it again changes nothing."""
    InstanceData.__getitem__ = rows


@contextmanager
def uninstalled() -> Iterator[None]:
    """While open, MMEngine's own method is in place, for comparisons."""
    InstanceData.__getitem__ = mmengine_rows
    try:
        yield
    finally:
        install()


def rows(instances: InstanceData, item: Any) -> InstanceData:
    """Index as ``InstanceData.__getitem__`` does, whose loop takes the boxes of a box type one by one."""
    is_index = isinstance(item, Tensor) and item.dtype in (torch.bool, torch.int64)
    if not is_index or not all(isinstance(values, (Tensor, BaseBoxes)) for values in instances.values()):
        return mmengine_rows(instances, item)
    picked = type(instances)(metainfo=instances.metainfo)
    for name, values in instances.items():
        picked[name] = values[item]
    return picked
