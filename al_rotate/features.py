"""One feature vector per image and per box, from the levels that a detector's neck puts out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@contextmanager
def kept(model: nn.Module) -> Iterator[list[tuple[Tensor, ...]]]:
    """While open, the levels (B, C, h, w) of each forward pass are appended to the list."""
    neck: Any = getattr(model, "neck", model.backbone)
    levels: list[tuple[Tensor, ...]] = []
    handle = neck.register_forward_hook(lambda _module, _inputs, output: levels.append(output))
    try:
        yield levels
    finally:
        handle.remove()


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
