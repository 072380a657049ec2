"""Rotated boxes <-> Label Studio's rectangles. The only module besides :mod:`al_rotate.boxes` that knows an angle.

Label Studio's value is ``x, y, width, height, rotation``: the rectangle's **own top-left corner** and sides in percent
of the image (x and width of its width, y and height of its height), rotated about that corner by degrees, clockwise on
the screen. The rotation happens in pixels; in percent it would shear boxes of images that are not square. Widths can
exceed 100 (a long box at 90 degrees in a narrow image), and boxes may leave the image.
"""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

from ... import boxes as rboxes

MIN_VISIBLE = 0.1  # the least share of a box that lies in its image: Label Studio's page keeps boxes inside
LARGEST = 100.0  # percent that Label Studio's import takes for x, y, width and height


def to_label_studio(boxes: ArrayLike, width: ArrayLike, height: ArrayLike) -> NDArray[np.float64]:
    """Convert rotated boxes to Label Studio's values.

    Args:
        boxes: (N, 5) cx, cy, w, h, theta in pixels and radians; any angle.
        width, height: of the image in pixels as a browser shows it (EXIF applied); one number, or one per box.

    Returns:
        (N, 5) float64: x, y, width, height in percent, unrounded, and rotation in degrees in [0, 360).

    Raises:
        ValueError: for a wrong shape, values that are not finite, or an image without a size.

    >>> to_label_studio([[50, 20, 40, 10, 0]], 200, 100).tolist()
    [[15.0, 15.0, 20.0, 10.0, 0.0]]
    """
    array = _as_rows(boxes, "boxes")
    size = _sizes(width, height, len(array))
    cx, cy, w, h, theta = array.T
    cos, sin = np.cos(theta), np.sin(theta)
    x, y = cx - w / 2 * cos + h / 2 * sin, cy - w / 2 * sin - h / 2 * cos
    degrees = np.degrees(theta) % 360.0
    # The remainder of a tiny negative angle rounds up to 360 itself.
    return np.column_stack([np.column_stack([x, y, w, h]) * (100.0 / size), np.where(degrees < 360.0, degrees, 0.0)])


def to_importable(boxes: ArrayLike, width: ArrayLike, height: ArrayLike) -> NDArray[np.float64]:
    """Convert rotated boxes to values that Label Studio's import takes, where there are any.

    Label Studio 1.23 leaves out predictions with x, y, width or height above 100, or refuses them, by the way that they
    are sent. A box that leaves the image to the right or below, or is long and upright in a narrow image, is the same
    rectangle from another of its corners, turned by 90, 180 or 270 degrees.

    Args:
        boxes, width, height: as of :func:`to_label_studio`.

    Returns:
        (N, 5) float64, as of :func:`to_label_studio`; from the first corner for which no value exceeds 100, or from the
        box's own top-left one if there is none, as of a box that is longer than the image.

    Raises:
        ValueError: as :func:`to_label_studio`.

    >>> to_importable([[198, 50, 20, 10, 1.5707963267948966]], 200, 100).round(6).tolist()
    [[96.5, 60.0, 10.0, 10.0, 270.0]]
    """
    array = _as_rows(boxes, "boxes")
    turns = [array]
    for _ in range(3):
        cx, cy, w, h, theta = turns[-1].T
        turns.append(np.column_stack([cx, cy, h, w, theta + np.pi / 2]))
    values = np.stack([to_label_studio(turned, width, height) for turned in turns])
    fits = (values[:, :, :4] <= LARGEST).all(axis=2)
    return np.asarray(values[fits.argmax(axis=0), np.arange(len(array))], np.float64)


def from_label_studio(values: ArrayLike, width: ArrayLike, height: ArrayLike) -> NDArray[np.float64]:
    """Convert Label Studio's values to rotated boxes.

    Args:
        values: (N, 5) x, y, width, height in percent, rotation in degrees; any angle. A negative width or height
            (both occur) extends from the corner to the other side.
        width, height: ``original_width`` and ``original_height``; one number, or one per box.

    Returns:
        (N, 5) float64 canonical le90 boxes in pixels and radians.

    Raises:
        ValueError: as :func:`to_label_studio`.
    """
    array = _as_rows(values, "values")
    size = _sizes(width, height, len(array))
    x, y, w, h = (array[:, :4] * (size / 100.0)).T
    theta = np.radians(array[:, 4])
    cos, sin = np.cos(theta), np.sin(theta)
    cx, cy = x + w / 2 * cos - h / 2 * sin, y + w / 2 * sin + h / 2 * cos
    return np.asarray(rboxes.canonical(np.column_stack([cx, cy, np.abs(w), np.abs(h), theta])), np.float64)


def visible_share(boxes: ArrayLike, width: float, height: float) -> NDArray[np.float64]:
    """Return which share of each box's area lies in its image.

    Args:
        boxes: (N, 5) cx, cy, w, h, theta in pixels and radians; a box without an area has the share 0.
        width, height: of the image in pixels.

    Returns:
        (N,) numbers in [0, 1].

    Raises:
        ValueError: for a wrong shape, or values that are not finite.

    >>> visible_share([[0, 50, 40, 10, 0], [50, 50, 40, 10, 1]], 100, 100).round(6).tolist()
    [0.5, 1.0]
    """
    array = _as_rows(boxes, "boxes")
    areas = array[:, 2] * array[:, 3]
    shapes = shapely.polygons(rboxes.to_corners(array).reshape(-1, 4, 2).astype(np.float64))
    inside = shapely.area(shapely.intersection(shapes, shapely.box(0, 0, width, height)))
    return np.clip(np.divide(inside, areas, out=np.zeros(len(array)), where=areas > 0), 0, 1)


def _as_rows(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """Check the shape (N, 5) and that all values are finite."""
    array = np.asarray(values, np.float64)
    if array.size == 0:
        return np.zeros((0, 5))
    if array.ndim != 2 or array.shape[1] != 5:
        raise ValueError(f"expected {name} of shape (N, 5), got {array.shape}")
    if not np.isfinite(array).all():
        row = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
        raise ValueError(f"expected finite {name}, got {array[row].tolist()} in row {row}")
    return array


def _sizes(width: ArrayLike, height: ArrayLike, n: int) -> NDArray[np.float64]:
    """(n, 4): width, height, width, height of each box's image."""
    columns = [np.broadcast_to(np.asarray(side, np.float64), (n,)) for side in (width, height)]
    size = np.column_stack(columns * 2)
    if not (np.isfinite(size).all() and (size > 0).all()):
        raise ValueError(f"expected images of at least 1 x 1 pixels, got {width!r} x {height!r}")
    return size
