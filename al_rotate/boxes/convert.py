"""Rotated boxes: the only module that knows what an angle means.

A box is ``(cx, cy, w, h, theta)``: centre and sides in pixels, ``theta`` in radians, the direction of the
side ``w``, clockwise on the screen because y points down. The canonical form, used everywhere inside
al_rotate, is **le90**: ``w >= h`` and ``theta`` in ``[-pi/2, pi/2)``.

Every function takes arrays of shape (N, 5), computes in float64 and returns the floating dtype it was given
(integers become float64). NumPy alone; results do not depend on what else is installed.
"""

from __future__ import annotations

from typing import Any, Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

Version = Literal["le90", "le135", "oc"]
Floats = NDArray[np.floating[Any]]

# version -> (is w the longer side?, where the angle's range starts, how long the range is)
_VERSIONS = {
    "le90": (True, -np.pi / 2, np.pi),
    "le135": (True, -np.pi / 4, np.pi),
    "oc": (False, -np.pi / 2, np.pi / 2),
}

_UNIT_CORNERS = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])


def to_corners(boxes: ArrayLike) -> Floats:
    """Corners of rotated boxes.

    Args:
        boxes: (N, 5) boxes, any angle.

    Returns:
        (N, 4, 2) x, y in pixels, clockwise on the screen. In the box's own frame (``w`` to the right) they are
        top-left, top-right, bottom-right, bottom-left.

    >>> to_corners([[10, 10, 8, 4, 0]])[0].tolist()
    [[6.0, 8.0], [14.0, 8.0], [14.0, 12.0], [6.0, 12.0]]
    """
    boxes, dtype = _as_boxes(boxes)
    return _corners(boxes).astype(dtype)


def from_corners(corners: ArrayLike) -> Floats:
    """Canonical le90 boxes from four corners each.

    Rectangles come back exactly, whichever corner is first and whichever way round they go. Any other
    quadrilateral (DOTA's labels are drawn by hand) gives its rectangle of least area, as MMRotate's
    ``qbox2rbox`` does with OpenCV: one side of that rectangle lies along a side of the hull (Freeman and
    Shapira 1975), and the hull's sides are among the six lines through two of the corners.

    Args:
        corners: (N, 4, 2) or (N, 8) pixels.

    Returns:
        (N, 5) canonical boxes.

    Raises:
        ValueError: for another shape or a coordinate that is not finite.
    """
    given = np.asarray(corners)
    if given.size == 0:
        return np.zeros((0, 5), _float_dtype(given))
    if given.ndim not in (2, 3) or given.shape[1:] not in ((8,), (4, 2)):
        raise ValueError(f"expected corners of shape (N, 4, 2) or (N, 8), got {given.shape}")
    points: Floats = given.reshape(-1, 4, 2).astype(np.float64)
    _require_finite(points, "corners")
    # The near corner as origin keeps every digit of boxes that lie far from the image's origin.
    origin = points[:, :1]
    points = points - origin

    first, second = np.triu_indices(4, k=1)
    directions = points[:, second] - points[:, first]  # (N, 6, 2)
    lengths = np.hypot(directions[..., 0], directions[..., 1])
    known = (lengths > 0)[..., None]
    directions = np.where(known, directions, (1.0, 0.0)) / np.where(known, lengths[..., None], 1.0)
    normals = np.stack([-directions[..., 1], directions[..., 0]], axis=-1)
    along = np.einsum("nkd,npd->nkp", directions, points)
    across = np.einsum("nkd,npd->nkp", normals, points)
    width, height = np.ptp(along, axis=-1), np.ptp(across, axis=-1)

    # Where two directions span the same rectangle up to rounding, the longer line gives the better angle.
    area = width * height
    slack = area.min(axis=1, keepdims=True) + 1e-9 * (lengths.max(axis=1, keepdims=True) ** 2)
    best = np.where(area <= slack, lengths, -1.0).argmax(axis=1)[:, None]
    along, across, width, height = (_pick(v, best) for v in (along, across, width, height))
    direction, normal = _pick(directions, best), _pick(normals, best)
    middle_along = (along.min(axis=1) + along.max(axis=1))[:, None] / 2
    middle_across = (across.min(axis=1) + across.max(axis=1))[:, None] / 2
    centre = middle_along * direction + middle_across * normal + origin[:, 0]
    theta = np.arctan2(direction[:, 1], direction[:, 0])
    boxes = np.column_stack([centre, width, height, theta]).astype(_float_dtype(given))
    return canonical(boxes)


def canonical(boxes: ArrayLike, version: Version = "le90") -> Floats:
    """The same rectangles in the normal form of one angle convention.

    ======= ============== =====================
    version sides          theta
    ======= ============== =====================
    le90    ``w >= h``     ``[-pi/2, pi/2)``
    le135   ``w >= h``     ``[-pi/4, 3*pi/4)``
    oc      as theta says  ``[-pi/2, 0)``
    ======= ============== =====================

    These are the patterns of MMRotate 1.x (``RotatedBoxes.regularize_boxes``). Boxes that are canonical already
    come back bit for bit, squares included; MMRotate turns a square by pi/2 each time.

    Args:
        boxes: (N, 5) boxes; any angle, in particular either range of ``cv2.minAreaRect`` in radians.
        version: le90, le135 or oc.

    Raises:
        ValueError: for an unknown version, a wrong shape, a negative side or a value that is not finite.
    """
    if version not in _VERSIONS:
        raise ValueError(f"expected version to be one of {', '.join(_VERSIONS)}, got {version!r}")
    longer_first, start, period = _VERSIONS[version]
    boxes, dtype = _as_boxes(boxes)
    _require_finite(boxes, "boxes")
    if (boxes[:, 2:4] < 0).any():
        row = int(np.flatnonzero((boxes[:, 2:4] < 0).any(axis=1))[0])
        raise ValueError(f"expected sides w, h >= 0, got {boxes[row, 2:4].tolist()} in row {row}")
    w, h, theta = boxes[:, 2], boxes[:, 3], boxes[:, 4]
    if longer_first:
        swap = w < h
        turned = np.where(swap, theta + np.pi / 2, theta)
        theta = _wrap(turned, start, period, dtype)
    else:
        # Each quarter turn that the wrapping takes off swaps the sides.
        wrapped = _wrap(theta, start, period, dtype)
        swap = np.round((theta - wrapped) / period).astype(np.int64) % 2 == 1
        theta = wrapped
    out = np.column_stack([boxes[:, :2], np.where(swap, h, w), np.where(swap, w, h), theta])
    return out.astype(dtype)


def area(boxes: ArrayLike) -> Floats:
    """Areas of boxes in square pixels: (N, 5) -> (N,)."""
    boxes, dtype = _as_boxes(boxes)
    return (boxes[:, 2] * boxes[:, 3]).astype(dtype)


def to_hbb(boxes: ArrayLike) -> Floats:
    """The axis-aligned boxes around rotated ones: (N, 5) -> (N, 4) as x1, y1, x2, y2 in pixels."""
    boxes, dtype = _as_boxes(boxes)
    return np.column_stack(_extents(boxes)).astype(dtype)


def _corners(boxes: Floats) -> NDArray[np.float64]:
    cos, sin = np.cos(boxes[:, 4]), np.sin(boxes[:, 4])
    offsets = _UNIT_CORNERS * boxes[:, None, 2:4]
    x = boxes[:, :1] + offsets[..., 0] * cos[:, None] - offsets[..., 1] * sin[:, None]
    y = boxes[:, 1:2] + offsets[..., 0] * sin[:, None] + offsets[..., 1] * cos[:, None]
    return np.stack([x, y], axis=-1)


def _extents(boxes: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    cos, sin = np.abs(np.cos(boxes[:, 4])), np.abs(np.sin(boxes[:, 4]))
    half_x = (boxes[:, 2] * cos + boxes[:, 3] * sin) / 2
    half_y = (boxes[:, 2] * sin + boxes[:, 3] * cos) / 2
    return boxes[:, 0] - half_x, boxes[:, 1] - half_y, boxes[:, 0] + half_x, boxes[:, 1] + half_y


def _wrap(angle: Floats, start: float, period: float, dtype: np.dtype) -> Floats:
    """Angles moved by whole periods into [start, start + period), as seen in `dtype`; those inside stay as they are."""
    low, high, seen = dtype.type(start), dtype.type(start + period), angle.astype(dtype)
    inside = (seen >= low) & (seen < high)
    wrapped = ((angle - start) % period + start).astype(dtype)
    # Rounding can land on the open end, which is the closed one, a period away.
    return np.where(inside, seen, np.where(wrapped >= high, low, np.maximum(wrapped, low)))


def _pick(values: NDArray, index: NDArray) -> NDArray:
    """values (N, K, ...) at index (N, 1) along the second axis -> (N, ...)."""
    return values[np.arange(len(values)), index[:, 0]]


def _as_boxes(boxes: ArrayLike) -> tuple[Floats, np.dtype]:
    given = np.asarray(boxes)
    if given.size == 0:
        return np.zeros((0, 5)), _float_dtype(given)
    if given.ndim != 2 or given.shape[1] != 5:
        raise ValueError(f"expected boxes of shape (N, 5) as cx, cy, w, h, theta, got {given.shape}")
    return given.astype(np.float64, copy=False), _float_dtype(given)


def _float_dtype(array: NDArray) -> np.dtype:
    return cast(np.dtype, array.dtype if array.dtype.kind == "f" and array.size else np.dtype(np.float64))


def _require_finite(values: NDArray, name: str) -> None:
    bad = ~np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise ValueError(f"expected finite {name}, got {values[row].tolist()} in row {row}")
