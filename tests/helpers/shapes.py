"""Rotated boxes: random ones, their shapely polygons and overlaps, and distances between their corners."""

from __future__ import annotations

import math

import numpy as np
import shapely
from hypothesis import strategies as st
from numpy.typing import NDArray

from al_rotate import boxes

angles = st.one_of(st.floats(-10, 10), st.sampled_from([k * math.pi / 4 for k in range(-9, 10)]))
centres = st.floats(-200, 20_000)
any_sides = st.one_of(st.floats(1, 2000), st.floats(1e-3, 1), st.sampled_from([0.0, 1e-3, 8.0, 512.0]))


@st.composite
def rotated_boxes(draw: st.DrawFn, sides: st.SearchStrategy[float] = any_sides) -> NDArray[np.float64]:
    """(n, 5) boxes of any angle: squares, slivers, flat ones, partly off the image."""
    rows = []
    for _ in range(draw(st.integers(1, 6))):
        w = draw(sides)
        rows.append([draw(centres), draw(centres), w, w if draw(st.booleans()) else draw(sides), draw(angles)])
    return np.array(rows)


def crowd(seed: int, n: int) -> NDArray[np.float32]:
    """(n, 5) boxes of any angle, many of which overlap."""
    rng = np.random.default_rng(seed)
    return rng.uniform([0, 0, 4, 4, -6], [300, 300, 90, 40, 6], (n, 5)).astype(np.float32)


def polygons(rotated: NDArray) -> NDArray:
    """The boxes as shapely polygons, by shapely's own rotation."""
    rectangles = []
    for cx, cy, w, h, theta in rotated.astype(np.float64):
        level = shapely.box(cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
        rectangles.append(shapely.affinity.rotate(level, theta, origin=(cx, cy), use_radians=True))
    return np.array(rectangles)


def shapely_iou(a: NDArray, b: NDArray) -> NDArray[np.float64]:
    """Paired rotated IoU by shapely."""
    p, q = polygons(a), polygons(b)
    common = shapely.area(shapely.intersection(p, q))
    return common / (shapely.area(p) + shapely.area(q) - common)


def corner_distance(a: NDArray, b: NDArray) -> NDArray[np.float64]:
    """(n,) largest distance from a corner of a[i] or b[i] to the nearest of the other, in any order of corners."""
    p, q = boxes.to_corners(a.astype(np.float64)), boxes.to_corners(b.astype(np.float64))
    distances = np.linalg.norm(p[:, :, None] - q[:, None], axis=-1)
    return np.maximum(distances.min(axis=1).max(axis=1), distances.min(axis=2).max(axis=1))
