"""One feature vector per image and per box, from the feature maps of a detector's neck."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


@contextmanager
def keep_levels(model: Any) -> Iterator[threading.local]:
    """While open, note the neck's levels (B, C, h, w) of each thread's last forward pass, as ``levels``."""
    noted, extract = threading.local(), model.extract_feat

    def extract_and_note(*args: Any, **kwargs: Any) -> Any:
        noted.levels = extract(*args, **kwargs)
        return noted.levels

    with replaced(model, "extract_feat", extract_and_note):
        yield noted


@contextmanager
def replaced(owner: Any, method: str, replacement: Any) -> Iterator[None]:
    """While open, `owner` has another method of that name; afterwards it has the one from before."""
    before = owner.__dict__.get(method)
    setattr(owner, method, replacement)
    try:
        yield
    finally:
        if before is None:
            delattr(owner, method)
        else:
            setattr(owner, method, before)


def pool(levels: Sequence[Tensor], centres: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Average one image's levels.

    Args:
        levels: each (C, h, w), all covering the network's whole input.
        centres: (n, 2) x, y in pixels of that input.
        size: width and height of that input in pixels.

    Returns:
        (C,) for the image: the mean over space, then over levels. (n, C) for the boxes: the mean over levels, each
        sampled bilinearly at their centres.

    Raises:
        NotImplementedError: for levels with different numbers of channels.
    """
    if len({level.shape[0] for level in levels}) > 1:
        raise NotImplementedError("features need a neck whose levels have the same number of channels")
    grid = (centres / centres.new_tensor(size) * 2 - 1).view(1, -1, 1, 2)
    at_boxes = [
        F.grid_sample(level[None], grid, align_corners=False, padding_mode="border")[0, ..., 0] for level in levels
    ]
    image = torch.stack([level.mean(dim=(1, 2)) for level in levels]).mean(dim=0)
    return image, torch.stack(at_boxes).mean(dim=0).T
