"""Rotated boxes by shapely, and how far corners lie apart."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from al_rotate import boxes


def polygons(rotated: NDArray) -> NDArray:
    """The boxes as shapely polygons, by shapely's own rotation."""
    made = []
    for cx, cy, w, h, theta in rotated.astype(np.float64):
        level = shapely.box(cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
        made.append(shapely.affinity.rotate(level, theta, origin=(cx, cy), use_radians=True))
    return np.array(made)


def overlap(a: NDArray, b: NDArray) -> NDArray[np.float64]:
    """Paired rotated IoU by shapely."""
    p, q = polygons(a), polygons(b)
    common = shapely.area(shapely.intersection(p, q))
    return common / (shapely.area(p) + shapely.area(q) - common)


def apart(a: NDArray, b: NDArray) -> NDArray[np.float64]:
    """(n,) how far the corners of a[i] are from those of b[i], whichever is first and whichever way round."""
    p, q = boxes.to_corners(a.astype(np.float64)), boxes.to_corners(b.astype(np.float64))
    distances = np.linalg.norm(p[:, :, None] - q[:, None], axis=-1)
    return np.maximum(distances.min(axis=1).max(axis=1), distances.min(axis=2).max(axis=1))
