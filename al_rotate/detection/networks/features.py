"""One feature vector per image and per box, from the levels that a detector's neck puts out."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


@contextmanager
def kept(model: Any) -> Iterator[threading.local]:
    """While open, the levels (B, C, h, w) of a thread's last forward pass are the ``levels`` of what is given."""
    found, extract = threading.local(), model.extract_feat

    def extract_and_note(*args: Any, **kwargs: Any) -> Any:
        found.levels = extract(*args, **kwargs)
        return found.levels

    with replaced(model, "extract_feat", extract_and_note):
        yield found


@contextmanager
def replaced(thing: Any, method: str, by: Any) -> Iterator[None]:
    """While open, `thing` has another method of that name; then the one it had before."""
    before = thing.__dict__.get(method)
    setattr(thing, method, by)
    try:
        yield
    finally:
        if before is None:
            delattr(thing, method)
        else:
            setattr(thing, method, before)


def pooled(levels: Sequence[Tensor], centres: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Average one image's levels.

    Args:
        levels: each (C, h, w), covering the same picture.
        centres: (n, 2) x, y in pixels of that picture.
        size: its width and height in pixels.

    Returns:
        (C,) for the image: the mean over space, then over levels; (n, C) for the boxes: the levels sampled
        bilinearly at their centres, averaged.

    Raises:
        NotImplementedError: for levels of different widths.
    """
    if len({level.shape[0] for level in levels}) > 1:
        raise NotImplementedError("features need a neck whose levels have the same number of channels")
    grid = (centres / centres.new_tensor(size) * 2 - 1).view(1, -1, 1, 2)
    at_boxes = [
        F.grid_sample(level[None], grid, align_corners=False, padding_mode="border")[0, ..., 0] for level in levels
    ]
    image = torch.stack([level.mean(dim=(1, 2)) for level in levels]).mean(dim=0)
    return image, torch.stack(at_boxes).mean(dim=0).T
