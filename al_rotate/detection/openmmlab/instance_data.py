"""Rows of MMEngine's InstanceData in one go."""

from __future__ import annotations

from typing import Any

import torch
from mmdet.structures.bbox import BaseBoxes
from mmengine.structures import InstanceData
from torch import Tensor

_theirs = InstanceData.__getitem__


def install() -> None:
    """Index instances by :func:`rows`. Calling it again changes nothing."""
    InstanceData.__getitem__ = rows


def rows(instances: InstanceData, item: Any) -> InstanceData:
    """What ``InstanceData.__getitem__`` gives for `item`, where MMEngine takes boxes of a box type one by one."""
    picks = isinstance(item, Tensor) and item.dtype in (torch.bool, torch.int64)
    if not picks or not all(isinstance(values, (Tensor, BaseBoxes)) for values in instances.values()):
        return _theirs(instances, item)
    found = type(instances)(metainfo=instances.metainfo)
    for name, values in instances.items():
        found[name] = values[item]
    return found
