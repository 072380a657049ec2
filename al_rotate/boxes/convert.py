r"""Rotated boxes and their angle conventions.

A box is ``(cx, cy, w, h, theta)``: centre and sides in pixels, and the direction of the side ``w`` in radians. The y
axis points down, so angles run clockwise on the screen: 0 is right, pi/2 down, -pi/2 up.

Swapping the sides and turning by pi/2, or turning by pi, gives another description of the same rectangle. Each of
MMRotate's three conventions picks one by the directions that ``w`` may have. The solid line is the start of the range,
which belongs to it, the dotted line its end, which does not::

    le90, w >= h             le135, w >= h               oc, either side is w

     -pi/2                           -pi/4               -pi/2
       |                              /                    |
       |                             /                     |
       |    w                       /  w                   |   w
       +-------- 0                 +-------- 0             + . . . . 0
       :    w                     : w  w
       :                         :
       :                        :
      pi/2                    3 pi/4

Two rectangles with sides a > b, as ``(w, h, theta)``:

========================================== ================= ================== =================
the side a                                 le90              le135              oc
========================================== ================= ================== =================
steep, from lower left to upper right      ``a, b, -pi/3``   ``a, b, 2*pi/3``   ``a, b, -pi/3``
gentle, from upper left to lower right     ``a, b, pi/6``    ``a, b, pi/6``     ``b, a, -pi/3``
========================================== ================= ================== =================

Inside al_rotate all boxes are le90, the canonical form.

Every function takes arrays of shape (N, 5), computes in float64 and returns the floating dtype that it was given
(integers become float64). NumPy alone: results do not depend on what else is installed.
"""

from __future__ import annotations

from typing import Any, Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

Version = Literal["le90", "le135", "oc"]
Floats = NDArray[np.floating[Any]]

# version -> (is w the longer side?, start of the angle's range, length of the range)
_VERSIONS = {
    "le90": (True, -np.pi / 2, np.pi),
    "le135": (True, -np.pi / 4, np.pi),
    "oc": (False, -np.pi / 2, np.pi / 2),
}

_UNIT_CORNERS = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])


def to_corners(boxes: ArrayLike) -> Floats:
    """Compute the corners of rotated boxes.

    Args:
        boxes: (N, 5) boxes, any angle.

    Returns:
        (N, 4, 2) x, y in pixels, clockwise on the screen. In the box's own frame (``w`` to the right) they are
        top left, top right, bottom right, bottom left.

    >>> to_corners([[10, 10, 8, 4, 0]])[0].tolist()
    [[6.0, 8.0], [14.0, 8.0], [14.0, 12.0], [6.0, 12.0]]
    """
    boxes, dtype = as_boxes(boxes)
    return corners_of(boxes).astype(dtype)


def from_corners(corners: ArrayLike) -> Floats:
    """Make canonical boxes from four corners each.

    Rectangles are recovered exactly, whichever corner is first and in either order. Any other quadrilateral (DOTA's
    labels are drawn by hand) becomes its rectangle of least area, as in MMRotate's ``qbox2rbox`` (OpenCV's
    ``minAreaRect``). A side of that rectangle lies along a side of the convex hull (Freeman and Shapira 1975), and the
    hull's sides are among the six lines through two of the corners.

    Args:
        corners: (N, 4, 2) or (N, 8) pixels.

    Returns:
        (N, 5) canonical boxes.

    Raises:
        ValueError: for another shape or a coordinate that is not finite.
    """
    array = np.asarray(corners)
    if array.size == 0:
        return np.zeros((0, 5), _float_dtype(array))
    if array.ndim not in (2, 3) or array.shape[1:] not in ((8,), (4, 2)):
        raise ValueError(f"expected corners of shape (N, 4, 2) or (N, 8), got {array.shape}")
    points: Floats = array.reshape(-1, 4, 2).astype(np.float64)
    require_finite(points, "corners")
    # With a corner as the origin, boxes far from the image's origin lose no digits.
    origin = points[:, :1]
    points = points - origin

    first, second = np.triu_indices(4, k=1)
    directions = points[:, second] - points[:, first]  # (N, 6, 2)
    lengths = np.hypot(directions[..., 0], directions[..., 1])
    nonzero = (lengths > 0)[..., None]
    directions = np.where(nonzero, directions, (1.0, 0.0)) / np.where(nonzero, lengths[..., None], 1.0)
    normals = np.stack([-directions[..., 1], directions[..., 0]], axis=-1)
    along = np.einsum("nkd,npd->nkp", directions, points)
    across = np.einsum("nkd,npd->nkp", normals, points)
    width, height = np.ptp(along, axis=-1), np.ptp(across, axis=-1)

    # Of directions that span the same rectangle up to rounding, the longest line gives the most precise angle.
    area = width * height
    slack = area.min(axis=1, keepdims=True) + 1e-9 * (lengths.max(axis=1, keepdims=True) ** 2)
    best = np.where(area <= slack, lengths, -1.0).argmax(axis=1)[:, None]
    along, across, width, height = (_pick(v, best) for v in (along, across, width, height))
    direction, normal = _pick(directions, best), _pick(normals, best)
    middle_along = (along.min(axis=1) + along.max(axis=1))[:, None] / 2
    middle_across = (across.min(axis=1) + across.max(axis=1))[:, None] / 2
    centre = middle_along * direction + middle_across * normal + origin[:, 0]
    theta = np.arctan2(direction[:, 1], direction[:, 0])
    boxes = np.column_stack([centre, width, height, theta]).astype(_float_dtype(array))
    return canonical(boxes)


def canonical(boxes: ArrayLike, version: Version = "le90") -> Floats:
    """Bring boxes to the normal form of an angle convention.

    ======= ============== =====================
    version sides          theta
    ======= ============== =====================
    le90    ``w >= h``     ``[-pi/2, pi/2)``
    le135   ``w >= h``     ``[-pi/4, 3*pi/4)``
    oc      any            ``[-pi/2, 0)``
    ======= ============== =====================

    These are the patterns of MMRotate 1.x (``RotatedBoxes.regularize_boxes``), with one deviation: boxes that are in
    normal form already are returned bit for bit, squares included. MMRotate turns a square by pi/2 each time.

    Args:
        boxes: (N, 5) boxes; any angle, including both ranges of ``cv2.minAreaRect`` (in radians).
        version: le90, le135 or oc.

    Raises:
        ValueError: for an unknown version, a wrong shape, a negative side or a value that is not finite.
    """
    if version not in _VERSIONS:
        raise ValueError(f"expected version to be one of {', '.join(_VERSIONS)}, got {version!r}")
    longer_first, start, period = _VERSIONS[version]
    boxes, dtype = as_boxes(boxes)
    require_finite(boxes, "boxes")
    if (boxes[:, 2:4] < 0).any():
        row = int(np.flatnonzero((boxes[:, 2:4] < 0).any(axis=1))[0])
        raise ValueError(f"expected sides w, h >= 0, got {boxes[row, 2:4].tolist()} in row {row}")
    w, h, theta = boxes[:, 2], boxes[:, 3], boxes[:, 4]
    if longer_first:
        swap = w < h
        turned = np.where(swap, theta + np.pi / 2, theta)
        theta = _wrap(turned, start, period, dtype)
    else:
        # Each quarter turn removed by the wrapping swaps the sides.
        wrapped = _wrap(theta, start, period, dtype)
        swap = np.round((theta - wrapped) / period).astype(np.int64) % 2 == 1
        theta = wrapped
    out = np.column_stack([boxes[:, :2], np.where(swap, h, w), np.where(swap, w, h), theta])
    return out.astype(dtype)


def area(boxes: ArrayLike) -> Floats:
    """Compute the areas of boxes in square pixels: (N, 5) -> (N,)."""
    boxes, dtype = as_boxes(boxes)
    return (boxes[:, 2] * boxes[:, 3]).astype(dtype)


def to_hbb(boxes: ArrayLike) -> Floats:
    """Compute the axis-aligned hulls of rotated boxes: (N, 5) -> (N, 4) as x1, y1, x2, y2 in pixels."""
    boxes, dtype = as_boxes(boxes)
    return np.column_stack(extents(boxes)).astype(dtype)


# For this package: the float64 arithmetic behind the functions above, without their checks and dtypes.


def as_boxes(boxes: ArrayLike) -> tuple[Floats, np.dtype]:
    """Return boxes as float64, and the dtype for results; ValueError unless they are (N, 5) or empty."""
    array = np.asarray(boxes)
    if array.size == 0:
        return np.zeros((0, 5)), _float_dtype(array)
    if array.ndim != 2 or array.shape[1] != 5:
        raise ValueError(f"expected boxes of shape (N, 5) as cx, cy, w, h, theta, got {array.shape}")
    return array.astype(np.float64, copy=False), _float_dtype(array)


def require_finite(values: NDArray, name: str) -> None:
    """Raise ValueError if a value is not finite; the message has the first such row."""
    bad = ~np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise ValueError(f"expected finite {name}, got {values[row].tolist()} in row {row}")


def corners_of(boxes: Floats) -> NDArray[np.float64]:
    """Compute corners: (N, 5) -> (N, 4, 2)."""
    cos, sin = np.cos(boxes[:, 4]), np.sin(boxes[:, 4])
    offsets = _UNIT_CORNERS * boxes[:, None, 2:4]
    x = boxes[:, :1] + offsets[..., 0] * cos[:, None] - offsets[..., 1] * sin[:, None]
    y = boxes[:, 1:2] + offsets[..., 0] * sin[:, None] + offsets[..., 1] * cos[:, None]
    return np.stack([x, y], axis=-1)


def extents(boxes: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Compute the axis-aligned hulls: (N, 5) -> left, top, right and bottom, (N,) each."""
    cos, sin = np.abs(np.cos(boxes[:, 4])), np.abs(np.sin(boxes[:, 4]))
    half_x = (boxes[:, 2] * cos + boxes[:, 3] * sin) / 2
    half_y = (boxes[:, 2] * sin + boxes[:, 3] * cos) / 2
    return boxes[:, 0] - half_x, boxes[:, 1] - half_y, boxes[:, 0] + half_x, boxes[:, 1] + half_y


def _wrap(angle: Floats, start: float, period: float, dtype: np.dtype) -> Floats:
    """Shift angles by whole periods into [start, start + period) as rounded to `dtype`; keep those already inside."""
    low, high, rounded = dtype.type(start), dtype.type(start + period), angle.astype(dtype)
    inside = (rounded >= low) & (rounded < high)
    wrapped = ((angle - start) % period + start).astype(dtype)
    # Rounding can reach the open end of the range, which is the closed end a period later.
    return np.where(inside, rounded, np.where(wrapped >= high, low, np.maximum(wrapped, low)))


def _pick(values: NDArray, index: NDArray) -> NDArray:
    """Take values (N, K, ...) at index (N, 1) along the second axis: (N, ...)."""
    return values[np.arange(len(values)), index[:, 0]]


def _float_dtype(array: NDArray) -> np.dtype:
    return cast(np.dtype, array.dtype if array.dtype.kind == "f" and array.size else np.dtype(np.float64))
