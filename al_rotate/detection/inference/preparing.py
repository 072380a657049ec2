"""Turn one image into the model's input by the config's own test pipeline."""

from __future__ import annotations

import copy

import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.config import Config

from ...data.images import UnreadableImage
from ...data.sources import Source, read
from .. import configs
from .device_resize import Deferred, can_defer
from .forward import Prepared
from .options import PredictOptions


class Preparation:
    """A config's test pipeline, for images of any source.

    Args:
        config: of the detector.

    Raises:
        ValueError: for a config without a test pipeline, or with one that cannot be built.
    """

    def __init__(self, config: Config) -> None:
        self._config, steps = config, configs.array_pipeline(config)
        with configs.explained(config, "a test pipeline that can be built"):
            self._pipeline: Compose | Deferred = Compose(steps)

    def on(self, device: torch.device, options: PredictOptions) -> Preparation:
        """Return the preparation for a device that resizes images itself, where `options` ask for it; else this one."""
        wanted = options.resize_on_device
        if not (device.type == "cuda" if wanted is None else wanted) or not can_defer(self._pipeline):
            return self
        deferred = copy.copy(self)
        deferred._pipeline = Deferred(self._pipeline)
        return deferred

    def __str__(self) -> str:
        return str(self._pipeline)

    def __call__(self, pair: tuple[str, Source]) -> Prepared | UnreadableImage:
        """Return an image as the model takes it, or why it cannot be.

        Raises:
            ValueError: when the pipeline fails on every image; when an array is no image.
        """
        array = read(pair)
        if isinstance(array, UnreadableImage):
            return array
        try:
            return self._pipeline({"img": array, "img_id": pair[0]})
        except Exception as error:  # what OpenCV or a transform of the user's own makes of an odd image
            self.sample()
            height, width = array.shape[:2]
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
