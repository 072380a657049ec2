"""Resize and pad photographs on a GPU, a batch at a time, to the bits of OpenCV on a CPU.

OpenCV resizes bytes bilinearly in integers (``resize.cpp``: ``HResizeLinear``, ``VResizeLinear``). Weights are rounded
to 11 bits. Across, the sums of two weighted pixels have 20 bits, of which the lower 4 are dropped. Down, each of the
two weighted sums loses another 16, and their sum is rounded by the last 2. Where both sides are halved, OpenCV averages
four pixels instead, which comes to the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import cv2
import mmcv
import numpy as np
import torch
from mmcv.transforms import Compose
from mmdet.datasets.transforms import LoadImageFromNDArray, PackDetInputs, Pad, Resize
from numpy.typing import NDArray
from torch import Tensor

MOST_LARGER = 4  # times the pixels of the resized image
_AT_ONCE = 1 << 22  # pixels after resizing: integers of 4 bytes take memory
_ONE = 2048  # as a weight
_USUAL = [LoadImageFromNDArray, Resize, PackDetInputs]
_PADDED = [LoadImageFromNDArray, Resize, Pad, PackDetInputs]


@dataclass(frozen=True)
class Unresized:
    """An image that a device will resize and pad.

    Attributes:
        pixels: (H, W, 3) uint8, here or there; of a file that the device decodes, what it decodes.
        size: width and height that it gets.
        shape: (3, H, W) after padding.
        fill: what is padded, for each channel.
    """

    pixels: Any
    size: tuple[int, int]
    shape: torch.Size
    fill: tuple[int, ...]


class Deferred:
    """A test pipeline that loads, resizes, pads (or not) and packs, with resizing and padding left to a device.

    Args:
        pipeline: as :func:`can_defer` accepts it.
    """

    def __init__(self, pipeline: Compose) -> None:
        self._name = str(pipeline)
        _, self._resize, *pads, self._pack = pipeline.transforms
        self._pad = pads[0] if pads else None

    def __str__(self) -> str:
        return self._name  # what it makes is the same

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Return what the pipeline makes of an image, with :class:`Unresized` inputs."""
        image = results.pop("img")
        height, width = image.shape[:2]
        scale, keep_ratio, size = self._resize.scale, self._resize.keep_ratio, self._size(width, height)
        if self.is_too_large(width, height):
            image = mmcv.imresize(image, size, backend="cv2")
        factors = (size[0] / width, size[1] / height)
        results |= {"img_path": None, "ori_shape": (height, width), "img_shape": size[::-1], "scale": scale}
        results |= {"scale_factor": factors, "keep_ratio": keep_ratio}
        results["homography_matrix"] = np.diag((*factors, 1)).astype(np.float32)
        fill = (0, 0, 0)
        if self._pad:
            fill = _fill(self._pad)
            shape = _padded_shape(self._pad, *size)
            results |= {"img_shape": shape, "pad_shape": (*shape, 3), "pad_fixed_size": self._pad.size}
            results["pad_size_divisor"] = self._pad.size_divisor
        packed = self._pack(results)
        if isinstance(image, np.ndarray):
            image = torch.from_numpy(image if image.flags.writeable else image.copy())
        packed["inputs"] = Unresized(image, size, torch.Size((3, *results["img_shape"])), fill)
        return packed

    def is_too_large(self, width: int, height: int) -> bool:
        """Whether an image is resized at once: it would fill the memory while it waits, or nothing would be left."""
        target = self._size(width, height)
        return width * height > MOST_LARGER * target[0] * target[1]

    def _size(self, width: int, height: int) -> tuple[int, int]:
        scale = self._resize.scale
        return mmcv.rescale_size((width, height), scale) if self._resize.keep_ratio else tuple(scale)


def can_defer(pipeline: Compose) -> bool:
    """Whether a test pipeline is of the usual form, and this OpenCV computes what :func:`resized` does."""
    if [type(step) for step in pipeline.transforms] not in (_USUAL, _PADDED):
        return False
    load, resize, *pads, _ = pipeline.transforms
    is_usual = (resize.backend, resize.interpolation, load.to_float32) == ("cv2", "bilinear", False)
    return is_usual and resize.scale is not None and all(map(_is_usual_pad, pads)) and equals_opencv()


@cache
def equals_opencv() -> bool:
    """Whether the installed OpenCV resizes to the same bits; builds for other processors may not."""
    noise = np.random.default_rng(0).integers(0, 256, (61, 83, 3), np.uint8)
    return all(
        np.array_equal(resized([as_unresized(noise, size)], torch.device("cpu"))[0].numpy().transpose(1, 2, 0), theirs)
        for size in ((83, 61), (200, 97), (41, 30), (37, 120))
        for theirs in [cv2.resize(noise, size, interpolation=cv2.INTER_LINEAR)]
    )


def as_unresized(image: NDArray[np.uint8], size: tuple[int, int]) -> Unresized:
    """Return an image (H, W, 3) that will get this width and height, without padding."""
    return Unresized(torch.from_numpy(image), size, torch.Size((3, *size[::-1])), (0, 0, 0))


def resized(images: Sequence[Unresized], device: torch.device) -> Tensor:
    """Copy images of one shape to a device, from pinned memory, and resize and pad them there.

    Returns:
        (B, 3, H, W) uint8, as ``cv2.resize`` with ``INTER_LINEAR`` and ``cv2.copyMakeBorder`` give them.
    """
    shape, fill = images[0].shape, torch.tensor([images[0].fill], dtype=torch.uint8)
    pixels = _copied([*(image.pixels.view(-1, 3) for image in images), fill], device)
    if all(image.pixels.shape[:2] == image.size[::-1] == shape[1:] for image in images):  # such as tiles
        return pixels[:-1].view(len(images), *shape[1:], 3).permute(0, 3, 1, 2).contiguous()
    starts = np.cumsum([0, *(image.pixels.shape[0] * image.pixels.shape[1] for image in images)])
    tables = _copied([_table(image, start)[None] for image, start in zip(images, starts, strict=False)], device)
    batch = torch.empty((len(images), *shape), dtype=torch.uint8, device=device)
    step = max(1, _AT_ONCE // (shape[1] * shape[2]))
    for part, target in zip(tables.split(step), batch.split(step), strict=True):
        target.copy_(_interpolated(pixels, part, shape[1]).permute(0, 3, 1, 2))
    return batch


def _interpolated(pixels: Tensor, tables: Tensor, height: int) -> Tensor:
    """Compute images (B, H, W, 3) from all pixels (n, 3), of which the last is the fill, and tables (B, 4, H + W)."""
    rows, columns = tables[:, :, :height, None], tables[:, :, None, height:]
    (upper, lower), (left, right) = rows[:, :2].unbind(1), columns[:, :2].unbind(1)
    row_weights, column_weights = rows[:, 2:, ..., None].int(), columns[:, 2:, ..., None].int()

    def line(row: Tensor) -> Tensor:
        sums = pixels[row + left] * column_weights[:, 0]
        return sums.add_(pixels[row + right] * column_weights[:, 1]) >> 4

    values = (line(upper) * row_weights[:, 0]) >> 16
    values += (line(lower) * row_weights[:, 1]) >> 16
    values = (values + 2) >> 2
    inside = (row_weights.sum(1) > 0) & (column_weights.sum(1) > 0)
    return torch.where(inside, values.to(torch.uint8), pixels[-1])


def _table(image: Unresized, start: int) -> Tensor:
    """For each row, then each column, (4, H + W): the two it is made from, and their weights, which are 0 in padding.

    A row is known by the number of its first pixel, when `start` pixels lie before the image.
    """
    height, width = image.pixels.shape[:2]
    table = np.zeros((4, sum(image.shape[1:])), np.int64)
    rows, columns = table[:, : image.shape[1]], table[:, image.shape[1] :]
    rows[:, : image.size[1]] = _axis(height, image.size[1], across=False)
    columns[:, : image.size[0]] = _axis(width, image.size[0], across=True)
    rows[:2] = rows[:2] * width + start
    return torch.from_numpy(table)


@lru_cache(1024)
def _axis(length: int, target: int, across: bool) -> NDArray[np.int64]:
    """Return both source pixels of each target pixel along one side, and their weights, (4, target).

    OpenCV computes the place in double precision, keeps it in single, and treats the borders differently: across, the
    outermost pixel counts alone; down, it counts twice, by both weights.
    """
    place = ((np.arange(target) + 0.5) * (1 / (target / length)) - 0.5).astype(np.float32)
    first = np.floor(place)
    fraction = place - first
    if across:
        fraction[(first < 0) | (first >= length - 1)] = 0
        first = first.clip(0, length - 1)
    weights = np.rint(np.stack([1 - fraction, fraction]) * np.float32(_ONE))
    return np.concatenate([np.stack([first, first + 1]).clip(0, length - 1), weights]).astype(np.int64)


def _copied(parts: Sequence[Tensor], device: torch.device) -> Tensor:
    """Join tensors along their first dimension on a device."""
    if there := [part for part in parts if part.is_cuda]:  # decoded there, in another stream
        for part in there:  # which must not use their memory again before this one has read them
            part.record_stream(torch.cuda.current_stream(device))
        return torch.cat([part.to(device) for part in parts])
    shape = (sum(map(len, parts)), *parts[0].shape[1:])
    pinned = torch.empty(shape, dtype=parts[0].dtype, pin_memory=device.type == "cuda")
    return torch.cat(list(parts), out=pinned).to(device, non_blocking=True)


def _is_usual_pad(pad: Pad) -> bool:
    fill = _fill(pad)
    is_bytes = len(fill) == 3 and all(isinstance(value, int) and 0 <= value <= 255 for value in fill)
    return is_bytes and pad.padding_mode == "constant"


def _fill(pad: Pad) -> tuple[Any, ...]:
    value = pad.pad_val.get("img", 0)
    return value if isinstance(value, tuple) else (value,) * 3


def _padded_shape(pad: Pad, width: int, height: int) -> tuple[int, int]:
    """Height and width after padding, as :class:`mmcv.transforms.Pad` has them."""
    wanted = (max(width, height),) * 2 if pad.pad_to_square else (height, width)
    if pad.size_divisor is not None:
        wanted = tuple(-(-side // pad.size_divisor) * pad.size_divisor for side in wanted)  # type: ignore[assignment]
    elif pad.size is not None:
        wanted = tuple(pad.size[::-1])
    return max(height, wanted[0]), max(width, wanted[1])
