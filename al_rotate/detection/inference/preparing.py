"""Turn an image into the model's input by the config's own test pipeline, or all but what a GPU does of it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.config import Config

from ...data.images import UnreadableImage
from ...data.sources import Source, read
from .. import configs
from . import device_jpeg
from .device_resize import Deferred, can_defer
from .forward import Prepared
from .options import PredictOptions


class Preparation:
    """A config's test pipeline, for images of any source.

    Args:
        config: of the detector.

    Attributes:
        batches_ahead: how many batches of images to prepare ahead; fewer where they wait at their full size.

    Raises:
        ValueError: for a config without a test pipeline, or with one that cannot be built.
    """

    def __init__(self, config: Config) -> None:
        self._config, steps = config, configs.array_pipeline(config)
        with configs.explained(config, "a test pipeline that can be built"):
            self._pipeline: Compose | Deferred = Compose(steps)
        self._decodes: torch.device | None = None
        self.batches_ahead = 4

    def on(self, device: torch.device, options: PredictOptions) -> Preparation:
        """Return the preparation for a device that resizes or decodes, where `options` ask for it; else this one.

        Raises:
            ValueError: for ``nvjpeg`` on a CPU, with a test pipeline of another form, or where torchvision lacks it.
        """
        if options.nvjpeg:
            if device.type != "cuda":
                raise ValueError(f"expected a detector on a GPU with nvjpeg, got one on {device}; leave nvjpeg out")
            if not can_defer(self._pipeline):
                raise ValueError(
                    "expected with nvjpeg a test pipeline that loads, resizes bilinearly by OpenCV, pads or not, and "
                    f"packs, got {' '.join(str(self._pipeline).split())}; leave nvjpeg out"
                )
            device_jpeg.require(device)
            return self.deferred(device)
        resizes = device.type == "cuda" if options.resize_on_device is None else options.resize_on_device
        return self.deferred() if resizes and can_defer(self._pipeline) else self

    def deferred(self, decodes: torch.device | None = None) -> Preparation:
        """Return the preparation that leaves resizing to a device, and JPEG files to one that `decodes` them."""
        deferred = copy.copy(self)
        deferred._pipeline, deferred._decodes, deferred.batches_ahead = Deferred(self._pipeline), decodes, 2
        return deferred

    def __str__(self) -> str:
        return f"{self._pipeline}{', nvJPEG' if self._decodes else ''}"

    def __call__(self, pair: tuple[str, Source]) -> Prepared | UnreadableImage:
        """Return an image as the model takes it, or why it cannot be.

        Raises:
            ValueError: when the pipeline fails on every image; when an array is no image.
        """
        image = self._encoded(pair[1]) or read(pair)
        if isinstance(self._pipeline, Deferred) and isinstance(image, np.ndarray) and not isinstance(pair[1], Path):
            image = image.copy()  # it waits, while its source may refill an array, or let go of a scene that it is of
        return self._prepared(pair, image)

    def finished(
        self, images: Iterator[Prepared | UnreadableImage], pairs: Sequence[tuple[str, Source]]
    ) -> Iterator[Prepared | UnreadableImage]:
        """Yield the images that were prepared of `pairs`, with JPEG files decoded where a device does so."""
        if self._decodes is None:
            return images
        return device_jpeg.decoded(images, self._decodes, lambda k: self._prepared(pairs[k], read(pairs[k])))

    def _encoded(self, source: Source) -> device_jpeg.Encoded | None:
        """Read a file that the device decodes."""
        if self._decodes is None or not isinstance(source, Path) or not isinstance(self._pipeline, Deferred):
            return None
        file = device_jpeg.read(source)
        return None if file is None or self._pipeline.is_too_large(*file.shape[1::-1]) else file

    def _prepared(self, pair: tuple[str, Source], image: Any) -> Prepared | UnreadableImage:
        if isinstance(image, UnreadableImage):
            return image
        try:
            return self._pipeline({"img": image, "img_id": pair[0]})
        except Exception as error:  # what OpenCV or a transform of the user's own makes of an odd image
            self.sample()
            height, width = image.shape[:2]
            said = f"{type(error).__name__}: {' '.join(str(error).split())}"
            return UnreadableImage(f"{pair[0]}: the test pipeline fails on {width} x {height} pixels: {said}")

    def sample(self) -> Prepared:
        """Prepare a small image of noise.

        Raises:
            ValueError: when the pipeline cannot.
        """
        noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
        with configs.explained(self._config, "a test pipeline that prepares images"):
            return self._pipeline({"img": noise, "img_id": ""})
