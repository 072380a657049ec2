"""Normalise whole batches: what MMDetection's data preprocessor computes, without its many passes over memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmdet.models.data_preprocessors import DetDataPreprocessor
from numpy.typing import NDArray
from torch import Tensor

from .features import replaced


@contextmanager
def in_batches(model: Any) -> Iterator[None]:
    """While open, images of 8 bits and one shape are normalised together, to the same bits.

    On a CPU each value is looked up in a table of 256. To a GPU the bytes are copied from pinned memory, as a batch, so
    that the copy overlaps with what the GPU computes. Other images, and preprocessors of another type, keep their way.
    """
    own = model.data_preprocessor
    if not takes_batches(model):
        yield
        return
    forward, tables, of_thread = own.forward, _tables(own), threading.local()

    def forward_batch(data: dict[str, Any], training: bool = False) -> Any:
        images = data["inputs"]
        if training or not _is_uniform(images):
            return forward(data, training)
        if own.device.type != "cpu":
            return forward({**data, "inputs": copied(images, own.device)}, training)
        batch = _look_up(images, tables, getattr(of_thread, "batch", None))
        of_thread.batch = batch  # for the thread's next batch: to get new memory takes longer than to fill it
        below, right = (-side % own.pad_size_divisor for side in batch.shape[2:])
        if below or right:
            batch = F.pad(batch, (0, right, 0, below), value=own.pad_value)
        for sample in data["data_samples"]:
            shape = tuple(batch.shape[2:])
            sample.set_metainfo({"batch_input_shape": shape, "pad_shape": shape})
        return {"inputs": batch, "data_samples": data["data_samples"]}

    with replaced(own, "forward", forward_batch):
        yield


def takes_batches(model: Any) -> bool:
    """Whether a model's data preprocessor is MMDetection's own, which takes images (B, 3, H, W) as well as a list."""
    return type(model.data_preprocessor) is DetDataPreprocessor


def _is_uniform(images: Any) -> bool:
    """Whether these are bytes of one shape (3, H, W), as they come from the test pipeline."""
    return isinstance(images, Sequence) and all(
        isinstance(image, Tensor)
        and (image.dtype, image.device.type) == (torch.uint8, "cpu")
        and image.shape == images[0].shape
        and len(image) == 3
        for image in images
    )


def copied(images: Sequence[Tensor], device: torch.device) -> Tensor:
    """Stack images (3, H, W) and copy them to a device, (B, 3, H, W)."""
    pinned = torch.empty((len(images), *images[0].shape), dtype=torch.uint8, pin_memory=device.type == "cuda")
    return torch.stack(list(images), out=pinned).to(device, non_blocking=True)


def _tables(preprocessor: Any) -> list[tuple[int, NDArray[np.float32]]]:
    """For each output channel its input channel and what 0 to 255 become, (256,)."""
    values = torch.arange(256, dtype=torch.uint8).float().expand(3, 256)
    if preprocessor._enable_normalize:
        values = (values - preprocessor.mean.cpu().view(-1, 1)) / preprocessor.std.cpu().view(-1, 1)
    channels = (2, 1, 0) if preprocessor._channel_conversion else (0, 1, 2)
    return [(channel, table.numpy()) for channel, table in zip(channels, values, strict=True)]


def _look_up(
    images: Sequence[Tensor], tables: Sequence[tuple[int, NDArray[np.float32]]], memory: Tensor | None
) -> Tensor:
    """Return (B, 3, H, W) float32, in `memory` if it has that shape."""
    shape = (len(images), *images[0].shape)
    batch = torch.empty(shape) if memory is None or memory.shape != shape else memory
    for image, target in zip(images, batch, strict=True):
        for (channel, table), plane in zip(tables, target, strict=True):
            cv2.LUT(image[channel].numpy(), table[None], plane.numpy())
    return batch
