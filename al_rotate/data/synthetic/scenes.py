"""Small aerial scenes with exact rotated boxes: the data of the demo and of the tests.

Six kinds of scene (harbour, airfield, roads and car parks, tank farm, suburb, empty land or water) show five classes
with a long-tailed distribution, among clutter that resembles them. A seed determines everything.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...boxes.convert import canonical
from ..formats import dota
from ..instances import RotatedInstances
from .canvas import Canvas
from .layouts import LAYOUTS
from .sprites import CLASSES

__all__ = ["CLASSES", "render", "write_dataset"]


def render(
    size: int = 256, rng: np.random.Generator | int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int32]]:
    """Draw one scene of a random kind.

    The size of objects in pixels does not depend on `size`: a larger scene has more of them. Boxes do not overlap, and
    at least half of each lies in the image.

    Args:
        size: side in pixels, at least 64.
        rng: source of all random numbers, or a seed.

    Returns:
        Image (size, size, 3) RGB; boxes (n, 5) le90, where pixel i spans [i, i + 1]; labels (n,) into `CLASSES`.

    Raises:
        ValueError: when `size` is too small to hold anything.
    """
    if size < 64:
        raise ValueError(f"expected size >= 64 pixels, got {size}")
    rng = np.random.default_rng(rng)
    canvas = Canvas(size, rng, max_objects=round(40 * (size / 256) ** 2))
    layouts, shares = zip(*LAYOUTS, strict=True)
    layouts[np.searchsorted(np.cumsum(shares), rng.random() * sum(shares), side="right")](canvas, rng)
    boxes = canonical(np.array(canvas.boxes, np.float32)).astype(np.float32)
    return canvas.render(), boxes, np.array(canvas.labels, np.int32)


def write_dataset(
    folder: str | Path, n: int, size: int = 256, seed: int = 0, prefix: str = "scene"
) -> RotatedInstances:
    """Render `n` scenes into ``folder/images/scene_0000.jpg`` and ``folder/labelTxt/scene_0000.txt`` (DOTA).

    Scene i depends on `seed` and i alone, so a larger `n` only adds scenes. JPEG (quality 95, no chroma subsampling) is
    written ten times as fast as PNG and takes a third of the space.

    Args:
        folder: made if missing; files of the same names are replaced.
        n: number of scenes.
        size: side in pixels.
        seed: an integer >= 0.
        prefix: of the image ids.

    Returns:
        The labels, with `image_sizes`.
    """
    folder = Path(folder)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    ids, boxes, labels = [], [], []
    for i in range(n):
        image, scene_boxes, scene_labels = render(size, np.random.default_rng([seed, i]))
        ids.append(f"{prefix}_{i:04d}")
        boxes.append(scene_boxes)
        labels.append(scene_labels)
        Image.fromarray(image).save(folder / "images" / f"{ids[-1]}.jpg", quality=95, subsampling=0)
    instances = RotatedInstances(
        ids,
        np.cumsum([0, *map(len, boxes)]),
        np.concatenate([np.zeros((0, 5)), *boxes]),
        np.concatenate([np.zeros(0, np.int32), *labels]),
        classes=CLASSES,
        image_sizes=np.full((n, 2), size),
    )
    dota.write(instances, folder / "labelTxt")
    return instances
