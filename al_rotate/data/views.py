"""Other views of the same image, and the way back: what a steady detector finds in each, it finds at the same places.

Flips and quarter turns move pixels and change none, so that boxes come back exactly. Small rotations and scales
resample, and noise changes the pixels; their boxes come back exactly too, but the picture was another one.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from .. import boxes as rboxes
from .instances import RotatedInstances
from .sources import Shared, Source, size_of

__all__ = ["DIHEDRAL", "View"]

_BETWEEN = "\t"  # image id and view
_GREY = (114, 114, 114)  # beyond the picture's edge, as MMDetection pads


@dataclass(frozen=True)
class View:
    """One way to look at an image: flipped, then turned by quarters, then turned and scaled about the middle.

    Args:
        flip: left and right change places.
        quarters: quarter turns, clockwise on the screen.
        degrees: a further turn, clockwise; the frame stays, and what leaves it is cut off.
        scale: of both sides of the frame, with all that is in it.
        noise: standard deviation of Gaussian noise on each channel, of 255.

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
        """Short and distinct: ``flip+90``, ``+7.5deg``; ``same`` where nothing changes."""
        parts = [
            "flip" if self.flip else "",
            f"+{90 * (self.quarters % 4)}" if self.quarters % 4 else "",
            f"{self.degrees:+g}deg" if self.degrees else "",
            f"x{self.scale:g}" if self.scale != 1 else "",
            f"noise{self.noise:g}" if self.noise else "",
        ]
        return "".join(parts) or "same"

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the view of an image of that size."""
        w, h = (height, width) if self.quarters % 2 else (width, height)
        return max(1, round(w * self.scale)), max(1, round(h * self.scale))

    def pixels(self, image: NDArray[np.uint8], seed: int = 0) -> NDArray[np.uint8]:
        """What it looks like.

        Args:
            image: (H, W, 3) uint8.
            seed: of the noise.

        Returns:
            (h, w, 3) uint8 with ``(w, h) == self.size(W, H)``.
        """
        seen = np.rot90(image[:, ::-1] if self.flip else image, -self.quarters)
        if self.degrees or self.scale != 1:
            size = self.size(image.shape[1], image.shape[0])
            back = _inverse(self._last(seen.shape[1], seen.shape[0])).ravel().tolist()
            picture = Image.fromarray(np.ascontiguousarray(seen))
            how = (Image.Transform.AFFINE, back, Image.Resampling.BILINEAR)
            seen = np.asarray(picture.transform(size, *how, fillcolor=_GREY))
        if self.noise:
            speckled = seen + np.random.default_rng(seed).normal(0, self.noise, seen.shape)
            seen = np.clip(np.rint(speckled), 0, 255).astype(np.uint8)
        return np.ascontiguousarray(seen)

    def matrix(self, width: int, height: int) -> NDArray[np.float64]:
        """(2, 3): a place x, y of an image of that size -> where the view has it."""
        whole = _square([[-1, 0, width], [0, 1, 0]]) if self.flip else np.eye(3)
        for _ in range(self.quarters % 4):
            whole = _square([[0, -1, height], [1, 0, 0]]) @ whole
            width, height = height, width
        return (_square(self._last(width, height)) @ whole)[:2]

    def boxes(self, boxes: ArrayLike, width: int, height: int) -> rboxes.Floats:
        """(N, 5) boxes of an image of that size -> where the view has them, canonical le90."""
        return _moved(boxes, self.matrix(width, height))

    def back(self, boxes: ArrayLike, width: int, height: int) -> rboxes.Floats:
        """(N, 5) boxes found in the view of an image of that size -> where the image has them, canonical le90."""
        return _moved(boxes, _inverse(self.matrix(width, height)))

    def _last(self, width: int, height: int) -> NDArray[np.float64]:
        """(2, 3) of the small turn and the scale: the middle of the flipped and turned picture stays the middle."""
        across, down = (self.scale * function(math.radians(self.degrees)) for function in (math.cos, math.sin))
        linear = np.array([[across, -down], [down, across]])
        # The frame's sides are whole pixels, the scale is not: half a pixel may be cut off or added at the edges.
        frame = np.maximum(1, np.rint([width * self.scale, height * self.scale]))
        return np.column_stack([linear, frame / 2 - linear @ [width / 2, height / 2]])


DIHEDRAL: Sequence[View] = tuple(View(flip, quarters) for flip in (False, True) for quarters in range(4))[1:]
"""The seven exact views beside the image itself."""


def sources(pairs: Sequence[tuple[str, Source]], views: Sequence[View]) -> Iterator[tuple[str, Source]]:
    """Every view of every image, to be decoded where the detector decodes; the views of one image after each other.

    Raises:
        ValueError: for views of one name.
    """
    names = [view.name for view in views]
    if not names or len({*names}) < len(names):
        raise ValueError(f"expected distinct views, got {', '.join(names) or 'none'}")

    def seen(pixels: Shared, image_id: str, view: View) -> NDArray[np.uint8]:
        return view.pixels(pixels(), zlib.crc32(f"{image_id}{_BETWEEN}{view.name}".encode()))

    for pair in pairs:
        shared = Shared(pair, len(views))
        for view in views:
            yield f"{pair[0]}{_BETWEEN}{view.name}", partial(seen, shared, pair[0], view)


def apart(
    found: RotatedInstances, pairs: Sequence[tuple[str, Source]], views: Sequence[View]
) -> list[RotatedInstances]:
    """What was detected in `sources`, view by view, mapped back into the images."""
    sizes = {image_id: size_of(source) for image_id, source in pairs if f"{image_id}{_BETWEEN}{views[0].name}" in found}
    parts = []
    for view in views:
        ids = [f"{image_id}{_BETWEEN}{view.name}" for image_id in sizes]
        part = found.subset(ids)
        back = [view.back(one.boxes, *size) for (_, one), size in zip(part, sizes.values(), strict=True)]
        skipped = {
            i.rpartition(_BETWEEN)[0]: why for i, why in found.skipped.items() if i.endswith(_BETWEEN + view.name)
        }
        parts.append(
            part.replace(
                image_ids=list(sizes),
                boxes=np.concatenate(back) if back else part.boxes,
                image_sizes=np.array(list(sizes.values())).reshape(-1, 2),
                skipped=skipped,
            )
        )
    return parts


def _square(matrix: ArrayLike) -> NDArray[np.float64]:
    return np.vstack([np.asarray(matrix, np.float64), [0, 0, 1]])


def _inverse(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.inv(_square(matrix))[:2], np.float64)


def _moved(boxes: ArrayLike, matrix: NDArray[np.float64]) -> rboxes.Floats:
    corners = rboxes.to_corners(np.asarray(boxes, np.float64).reshape(-1, 5))
    return rboxes.from_corners(corners @ matrix[:, :2].T + matrix[:, 2])
