"""The regions of one annotation or prediction -> rotated boxes, each oddity with a note."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from ... import boxes as rboxes
from .geometry import from_label_studio

# Results about the whole image or about other regions: they hide no object.
_NO_SHAPES = "choices taxonomy textarea rating number datetime pairwise ranker relation hypertextlabels".split()
_TINY = 0.01  # pixels; an accidental click
_HUGE = 1e9  # percent, degrees or pixels; float32 holds what is made of it


@dataclass
class Regions:
    """(N, 5) boxes, (N,) class indices, scores in [0, 1] and region ids; `notes` are (region, action, detail)."""

    boxes: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 5)))
    labels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    scores: list[float] = field(default_factory=list)
    ids: list[str | None] = field(default_factory=list)
    size: tuple[int, int] | None = None
    notes: list[tuple[str | None, str, str]] = field(default_factory=list)

    @property
    def wrong(self) -> list[str]:
        """What quarantines the image."""
        return [detail for _, action, detail in self.notes if action == "quarantined"]


class _Unusable(ValueError):
    """A region that may mark an object, and cannot become a box."""


def read(
    result: Sequence[Mapping[str, Any]], codes: Mapping[str, int], polygons: bool, size: tuple[int, int] | None
) -> Regions:
    """Boxes of a result's regions; see :func:`al_rotate.bridge.annotations.read` for what becomes of the others."""
    found = Regions(size=size)
    rows: list[tuple[Any, ...]] = []
    seen: set[str | None] = set()
    for region in result:
        name = str(region["id"]) if isinstance(region, Mapping) and region.get("id") is not None else None
        try:
            made = _box(region, codes, polygons, size)
        except _Unusable as error:
            found.notes.append((name, "quarantined", str(error)))
            continue
        if isinstance(made, str):
            found.notes.append((name, "noted", made))
            continue
        box, label, own, remark = made
        if found.size is not None and own != found.size:
            detail = f"drawn on {own[0]} x {own[1]} pixels, a region before it on {found.size[0]} x {found.size[1]}"
            found.notes.append((name, "quarantined", detail))
            continue
        found.size = own
        if min(box[2:4]) <= _TINY:
            found.notes.append((name, "dropped", f"a box without a size ({box[2]:.3g} x {box[3]:.3g} px)"))
            continue
        if name is not None and name in seen:
            found.notes.append((name, "noted", "another region has the same id; both are kept"))
        if remark:
            found.notes.append((name, "noted", remark))
        left, top, right, bottom = rboxes.to_hbb(box[None])[0]
        width, height = found.size
        if left < -0.5 or top < -0.5 or right > width + 0.5 or bottom > height + 0.5:
            gone = right < 0 or bottom < 0 or left > width or top > height
            found.notes.append((name, "noted", f"lies {'wholly' if gone else 'partly'} outside the image; kept"))
        rows.append((box, label, region.get("score"), None if name in seen else name))
        seen.add(name)
    if rows:
        found.boxes = np.array([row[0] for row in rows])
        found.labels = np.array([row[1] for row in rows], np.int64)
        found.scores = [float(row[2]) if _in_unit(row[2]) else 1.0 for row in rows]
        found.ids = [row[3] for row in rows]
    return found


def _box(
    region: Any, codes: Mapping[str, int], polygons: bool, size: tuple[int, int] | None
) -> str | tuple[NDArray[np.float64], int, tuple[int, int], str | None]:
    """Box, class, image size and a remark; or why the region is none of our business."""
    kind = region.get("type") if isinstance(region, Mapping) else None
    if kind in _NO_SHAPES:
        return f"{kind} is not about a box"
    value = region.get("value") if isinstance(region, Mapping) else None
    if not isinstance(value, Mapping):
        raise _Unusable(f"expected a region with a value, got {str(region)[:100]}")
    if kind not in ("rectanglelabels", "polygonlabels") or (kind == "polygonlabels" and not polygons):
        more = "; read with polygons=True to take it as its smallest rectangle" if kind == "polygonlabels" else ""
        raise _Unusable(f"a {kind} region cannot become a rotated box{more}")
    label = _label(value.get(kind), codes)
    if region.get("image_rotation"):
        raise _Unusable(f"drawn on a view turned by {region['image_rotation']} degrees: turn it back and draw it again")
    own = _own_size(region, size)
    if kind == "polygonlabels":
        return _around(value.get("points"), own), label, own, "a polygon, taken as its smallest rectangle"
    numbers: list[Any] = [value.get(name) for name in ("x", "y", "width", "height")] + [value.get("rotation") or 0]
    if not all(_is_number(number) for number in numbers):
        raise _Unusable(f"expected x, y, width, height, rotation as numbers below {_HUGE:.0e}, got {numbers}")
    return from_label_studio([numbers], *own)[0], label, own, None


def _label(names: Any, codes: Mapping[str, int]) -> int:
    if not isinstance(names, (list, tuple)) or len(names) != 1:
        raise _Unusable(f"expected one label, got {names or 'none'}")
    if not isinstance(names[0], str) or names[0] not in codes:
        raise _Unusable(f"unknown label {names[0]!r}; the classes are {', '.join(codes)}")
    return codes[names[0]]


def _own_size(region: Mapping[str, Any], size: tuple[int, int] | None) -> tuple[int, int]:
    own: tuple[Any, Any] = (region.get("original_width"), region.get("original_height"))
    if not all(_is_number(side) and side >= 1 for side in own):
        if size is None:
            raise _Unusable(f"expected original_width and original_height, got {own}, and the image's size is unknown")
        return size
    if size is not None and tuple(own) != tuple(size):
        turned = tuple(own) == tuple(size)[::-1]
        why = "drawn on it before its EXIF orientation was applied" if turned else "of another version of it"
        raise _Unusable(f"drawn on {own[0]} x {own[1]} pixels, the image has {size[0]} x {size[1]}: {why}")
    return size or (int(own[0]), int(own[1]))


def _around(points: Any, size: tuple[int, int]) -> NDArray[np.float64]:
    """The rectangle of least area around a polygon."""
    if not isinstance(points, list) or len(points) < 3 or not all(map(_is_point, points)):
        raise _Unusable(f"expected a polygon of at least three points, got {str(points)[:100]}")
    pixels = np.array(points, float) * np.array(size, float) / 100
    around = shapely.get_coordinates(shapely.oriented_envelope(shapely.MultiPoint(pixels)))[:4]
    # Points on one line give that line, equal points one point: repeated, they are flat rectangles.
    return rboxes.from_corners(np.resize(around, (1, 8)).astype(float))[0]


def _is_point(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2 and all(map(_is_number, value))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _HUGE


def _in_unit(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1
