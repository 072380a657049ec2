"""Transformed views of an image, and the way back for boxes: a stable detector finds the same objects in each view.

Flips and quarter turns move pixels without changing them. Small rotations and scales resample, and noise changes
pixels. Boxes are mapped back exactly from all of them.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from ..boxes import Floats, from_corners, to_corners
from .instances import RotatedInstances
from .sources import Shared, Source, size_of

__all__ = ["DIHEDRAL", "View"]

_SEPARATOR = "\t"  # between image id and view name
_GREY = (114, 114, 114)  # MMDetection's padding


@dataclass(frozen=True)
class View:
    """A transformation of an image: a flip, then quarter turns, then rotation and scaling about the centre, then noise.

    Args:
        flip: mirror left and right.
        quarters: quarter turns, clockwise on the screen.
        degrees: a further rotation, clockwise; the frame stays, and what leaves it is cut off.
        scale: factor for both sides of the frame and its content.
        noise: standard deviation of Gaussian noise on each channel, in units of 1/255.

    Raises:
        ValueError: for a scale that is not positive, negative noise, or a number that is not finite.
    """

    flip: bool = False
    quarters: int = 0
    degrees: float = 0.0
    scale: float = 1.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        numbers = (self.degrees, self.scale, self.noise)
        if not all(map(math.isfinite, numbers)) or self.scale <= 0 or self.noise < 0:
            raise ValueError(f"expected finite degrees, scale > 0 and noise >= 0, got {numbers}")

    @property
    def name(self) -> str:
        """A short distinct name: ``flip+90``, ``+7.5deg``; ``same`` for the identity."""
        parts = [
            "flip" if self.flip else "",
            f"+{90 * (self.quarters % 4)}" if self.quarters % 4 else "",
            f"{self.degrees:+g}deg" if self.degrees else "",
            f"x{self.scale:g}" if self.scale != 1 else "",
            f"noise{self.noise:g}" if self.noise else "",
        ]
        return "".join(parts) or "same"

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return width and height of the view of an image of this size."""
        w, h = (height, width) if self.quarters % 2 else (width, height)
        return max(1, round(w * self.scale)), max(1, round(h * self.scale))

    def pixels(self, image: NDArray[np.uint8], seed: int = 0) -> NDArray[np.uint8]:
        """Transform an image.

        Args:
            image: (H, W, 3) uint8.
            seed: of the noise.

        Returns:
            (h, w, 3) uint8 with ``(w, h) == self.size(W, H)``.
        """
        view = np.rot90(image[:, ::-1] if self.flip else image, -self.quarters)
        if self.degrees or self.scale != 1:
            size = self.size(image.shape[1], image.shape[0])
            inverse = _inverse(self._rotation_and_scale(view.shape[1], view.shape[0])).ravel().tolist()
            source = Image.fromarray(np.ascontiguousarray(view))
            method = (Image.Transform.AFFINE, inverse, Image.Resampling.BILINEAR)
            view = np.asarray(source.transform(size, *method, fillcolor=_GREY))
        if self.noise:
            noisy = view + np.random.default_rng(seed).normal(0, self.noise, view.shape)
            view = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
        return np.ascontiguousarray(view)

    def matrix(self, width: int, height: int) -> NDArray[np.float64]:
        """Return the (2, 3) affine matrix from points x, y of an image of this size to points of the view."""
        matrix = _square([[-1, 0, width], [0, 1, 0]]) if self.flip else np.eye(3)
        for _ in range(self.quarters % 4):
            matrix = _square([[0, -1, height], [1, 0, 0]]) @ matrix
            width, height = height, width
        return (_square(self._rotation_and_scale(width, height)) @ matrix)[:2]

    def boxes(self, boxes: ArrayLike, width: int, height: int) -> Floats:
        """Map (N, 5) boxes of an image of this size into the view; canonical le90."""
        return _map_boxes(boxes, self.matrix(width, height))

    def back(self, boxes: ArrayLike, width: int, height: int) -> Floats:
        """Map (N, 5) boxes of the view of an image of this size back into the image; canonical le90."""
        return _map_boxes(boxes, _inverse(self.matrix(width, height)))

    def _rotation_and_scale(self, width: int, height: int) -> NDArray[np.float64]:
        """Return the (2, 3) matrix of `degrees` and `scale`, from the flipped and turned image of this size."""
        cos, sin = (self.scale * function(math.radians(self.degrees)) for function in (math.cos, math.sin))
        linear = np.array([[cos, -sin], [sin, cos]])
        # The view's sides are rounded to pixels and centres coincide: edges may lose or gain half a pixel.
        frame = np.maximum(1, np.rint([width * self.scale, height * self.scale]))
        return np.column_stack([linear, frame / 2 - linear @ [width / 2, height / 2]])


DIHEDRAL: Sequence[View] = tuple(View(flip, quarters) for flip in (False, True) for quarters in range(4))[1:]
"""The seven exact views besides the identity: flips and quarter turns."""


@dataclass(frozen=True, eq=False)
class _Viewed:
    """A view of an image, as a source for a detector."""

    name: str
    view: View
    shared: Shared
    path: Path | None

    def __call__(self) -> NDArray[np.uint8]:
        return self.view.pixels(self.shared(), seed=zlib.crc32(self.name.encode()))


def sources(pairs: Sequence[tuple[str, Source]], views: Sequence[View]) -> Iterator[tuple[str, Source]]:
    """Yield every view of every image as a source for a detector, all views of an image in a row.

    An image is decoded once, where the detector decodes.

    Args:
        pairs: image id and source.
        views: with distinct names.

    Raises:
        ValueError: for no views, or two with the same name.
    """
    names = [view.name for view in views]
    if not names or len({*names}) < len(names):
        raise ValueError(f"expected distinct views, got {', '.join(names) or 'none'}")

    for pair in pairs:
        shared = Shared(pair, len(views))
        for view in views:
            name = _view_id(pair[0], view)
            yield name, _Viewed(name, view, shared, shared.path)


def split_by_view(
    detections: RotatedInstances, pairs: Sequence[tuple[str, Source]], views: Sequence[View]
) -> list[RotatedInstances]:
    """Split the detections on :func:`sources` by view, and map them back into the images.

    Args:
        detections: on all views of the images that could be read.
        pairs, views: that :func:`sources` was called with.

    Returns:
        For each view the detections on the images, with image sizes.
    """
    sizes = {image_id: size_of(source) for image_id, source in pairs if _view_id(image_id, views[0]) in detections}
    failed = [(*name.rpartition(_SEPARATOR), reason) for name, reason in detections.skipped.items()]
    split = []
    for view in views:
        in_view = detections.subset(_view_id(image_id, view) for image_id in sizes)
        boxes = [view.back(image.boxes, *size) for (_, image), size in zip(in_view, sizes.values(), strict=True)]
        split.append(
            in_view.replace(
                image_ids=list(sizes),
                boxes=np.concatenate(boxes) if boxes else in_view.boxes,
                image_sizes=np.array(list(sizes.values())).reshape(-1, 2),
                skipped={image_id: reason for image_id, _, name, reason in failed if name == view.name},
            )
        )
    return split


def _view_id(image_id: str, view: View) -> str:
    return f"{image_id}{_SEPARATOR}{view.name}"


def _square(matrix: ArrayLike) -> NDArray[np.float64]:
    return np.vstack([np.asarray(matrix, np.float64), [0, 0, 1]])


def _inverse(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.inv(_square(matrix))[:2], np.float64)


def _map_boxes(boxes: ArrayLike, matrix: NDArray[np.float64]) -> Floats:
    corners = to_corners(np.asarray(boxes, np.float64).reshape(-1, 5))
    return from_corners(corners @ matrix[:, :2].T + matrix[:, 2])
