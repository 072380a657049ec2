"""The regions of one annotation or prediction -> rotated boxes, with a note on each that is odd."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from ... import boxes as rboxes
from .geometry import MIN_VISIBLE, from_label_studio, visible_share
from .joined import join_entries

# Results about the whole image or about other regions: they hide no object.
_NO_SHAPES = "choices taxonomy textarea rating number datetime pairwise ranker relation hypertextlabels".split()
_TINY = 0.01  # pixels; an accidental click
_PIXEL = 1.0  # nobody draws a box that is smaller than this both ways
_HUGE = 1e9  # percent, degrees or pixels; float32 holds the products


@dataclass
class Regions:
    """The boxes of a result.

    Args:
        boxes: (N, 5) in pixels and radians.
        labels: (N,) class indices.
        scores: N numbers in [0, 1]; 1 where the region has none.
        ids: N region ids; None where a region has none, or its id occurred before.
        size: width and height of the image in pixels, None where unknown.
        notes: (region, action, detail) of each odd region.
    """

    boxes: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 5)))
    labels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    scores: list[float] = field(default_factory=list)
    ids: list[str | None] = field(default_factory=list)
    size: tuple[int, int] | None = None
    notes: list[tuple[str | None, str, str]] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """Why the image is quarantined; empty for a usable one."""
        return [detail for _, action, detail in self.notes if action == "quarantined"]

    def note(self, region: str | None, action: str, detail: str) -> None:
        """Add a note."""
        self.notes.append((region, action, detail))


class _Drawn(NamedTuple):
    """A region that is a box, and a remark on how it became one."""

    box: NDArray[np.float64]
    label: int
    size: tuple[int, int]
    remark: str | None


class _Unusable(ValueError):
    """A region that may mark an object but cannot become a box."""


class _NoObject(ValueError):
    """A region that marks no object."""


@dataclass(frozen=True)
class Target:
    """Which regions are labels of an image.

    Args:
        codes: label -> class index.
        polygons: take a polygon as its smallest rectangle.
        to_name: the page's object that shows the image; None: the only one that the result names, or `image_key`.
        from_name: the labels that give the class, where a region has labels of several groups.
        image_key: the key of the task's data that holds the image's address.
        only_label: that of shapes without one; None: they may be anything.
    """

    codes: Mapping[str, int]
    polygons: bool = True
    to_name: str | None = None
    from_name: str | None = None
    image_key: str = "image"
    only_label: str | None = None


def read_regions(result: Sequence[Any], target: Target, size: tuple[int, int] | None) -> Regions:
    """Read the boxes of a result.

    Args:
        result: regions as Label Studio has them; what becomes of those that are no boxes is told in
            :mod:`al_rotate.bridge.conversion.annotations`.
        target: which of them are the image's.
        size: width and height of the image in pixels; None trusts the regions.
    """
    regions = Regions(size=size)
    rows: list[tuple[Any, ...]] = []
    seen: set[str | None] = set()
    entries = list(join_entries(result))
    objects, groups = _objects(entries), _groups(entries)
    for region in entries:
        name = _id_of(region)
        try:
            _check_object(region, objects, target)
            _check_group(region, groups.get(name, set()), target)
            drawn = _read_region(region, target, size)
        except _Unusable as error:
            regions.note(name, "quarantined", str(error))
            continue
        except _NoObject as error:
            regions.note(name, "noted", str(error))
            continue
        if regions.size is not None and drawn.size != regions.size:
            (width, height), (w, h) = drawn.size, regions.size
            regions.note(name, "quarantined", f"drawn on {width} x {height} pixels, a region before it on {w} x {h}")
            continue
        regions.size = drawn.size
        if min(drawn.box[2:4]) <= _TINY:
            regions.note(name, "dropped", f"a box without a size ({drawn.box[2]:.3g} x {drawn.box[3]:.3g} px)")
            continue
        if any(drawn.label == label and np.array_equal(drawn.box, box) for box, label, *_ in rows):
            regions.note(name, "dropped", "the same box with the same label is there already")
            continue
        is_double = name is not None and name in seen
        if is_double:
            regions.note(name, "noted", "another region has the same id; both are kept")
        if drawn.remark:
            regions.note(name, "noted", drawn.remark)
        if problem := _misplacement(drawn.box, drawn.size):
            regions.note(name, "quarantined", problem)
            continue
        if _overhangs(drawn.box, drawn.size):
            regions.note(name, "noted", "lies partly outside the image; kept")
        rows.append((drawn.box, drawn.label, region.get("score"), None if is_double else name))
        seen.add(name)
    if rows:
        regions.boxes = np.array([row[0] for row in rows])
        regions.labels = np.array([row[1] for row in rows], np.int64)
        regions.scores = [float(row[2]) if _is_score(row[2]) else 1.0 for row in rows]
        regions.ids = [row[3] for row in rows]
    return regions


def _id_of(region: Any) -> str | None:
    return str(region["id"]) if isinstance(region, Mapping) and region.get("id") is not None else None


def _objects(entries: Sequence[Any]) -> set[str]:
    """The objects of the page on which something is drawn."""
    shapes = [entry for entry in entries if isinstance(entry, Mapping) and entry.get("type") not in _NO_SHAPES]
    return {str(shape["to_name"]) for shape in shapes if shape.get("to_name") is not None}


def _groups(entries: Sequence[Any]) -> dict[str | None, set[str]]:
    """Region id -> the groups of labels that it has labels of."""
    groups: dict[str | None, set[str]] = {}
    for entry in entries:
        name = _id_of(entry)
        if name is not None and entry.get("type") in ("rectanglelabels", "polygonlabels"):
            groups.setdefault(name, set()).add(str(entry.get("from_name")))
    return groups


def _check_object(region: Any, objects: set[str], target: Target) -> None:
    """Pass over what is drawn on another object or page of the task."""
    if not isinstance(region, Mapping) or region.get("type") in _NO_SHAPES:
        return
    if (page := region.get("item_index")) not in (None, 0):
        raise _NoObject(f"drawn on another page of the task (item_index {page})")
    on = region.get("to_name")
    image = target.to_name or (target.image_key if len(objects) > 1 else on)
    if on is None or on == image:
        return
    if target.to_name is None and image not in objects:
        raise _Unusable(
            f"drawn on {on!r}, and other regions on another of {', '.join(sorted(objects))}: say which of them shows "
            "the image, by the project's labelling configuration or to_name"
        )
    raise _NoObject(f"drawn on {on!r}, another object of the page than {image!r}")


def _check_group(region: Any, groups: set[str], target: Target) -> None:
    """Take the class from one of several groups of labels."""
    if len(groups) < 2:
        return
    if target.from_name not in groups:
        raise _Unusable(
            f"has labels of {' and '.join(sorted(groups))}: say which of them gives the class (from_name), or convert "
            "with a labelling configuration that has that one alone"
        )
    if region.get("from_name") != target.from_name:
        name = region.get("from_name")
        raise _NoObject(f"labels of {name}: an attribute of the box; {target.from_name} gives its class")


def _read_region(region: Any, target: Target, size: tuple[int, int] | None) -> _Drawn:
    kind = region.get("type") if isinstance(region, Mapping) else None
    if kind in _NO_SHAPES:
        raise _NoObject(f"{kind} is not about a box")
    value = region.get("value") if isinstance(region, Mapping) else None
    if not isinstance(value, Mapping):
        raise _Unusable(f"expected a region with a value, got {str(region)[:100]}")
    if kind in ("rectangle", "polygon"):  # drawn while no label was chosen
        return _read_unlabelled(region, target, size)
    if kind not in ("rectanglelabels", "polygonlabels") or (kind == "polygonlabels" and not target.polygons):
        more = "; read with polygons=True to take it as its smallest rectangle" if kind == "polygonlabels" else ""
        raise _Unusable(f"a {kind} region cannot become a rotated box{more}")
    label = _read_label(value.get(kind), target.codes)
    if region.get("image_rotation"):
        raise _Unusable(f"drawn on a view turned by {region['image_rotation']} degrees: turn it back and draw it again")
    drawn_on = _read_size(region, size)
    if kind == "polygonlabels":
        box = _smallest_rectangle(value.get("points"), drawn_on)
        return _Drawn(box, label, drawn_on, "a polygon, taken as its smallest rectangle")
    numbers: list[Any] = [value.get(name) for name in ("x", "y", "width", "height")] + [value.get("rotation") or 0]
    if not all(_is_number(number) for number in numbers):
        raise _Unusable(f"expected x, y, width, height, rotation as numbers below {_HUGE:.0e}, got {numbers}")
    return _Drawn(from_label_studio([numbers], *drawn_on)[0], label, drawn_on, None)


def _read_unlabelled(region: Mapping[str, Any], target: Target, size: tuple[int, int] | None) -> _Drawn:
    """Where the project has labels of one class alone, a shape without a label is of it."""
    kind, label = region["type"], target.only_label
    if label is None:
        raise _Unusable(f"a {kind} without a label: select it in the browser, choose its label, and update")
    value = {**region["value"], f"{kind}labels": [label]}
    drawn = _read_region({**region, "type": f"{kind}labels", "value": value}, target, size)
    remark = f"a {kind} without a label, taken as {label}, the only class"
    return drawn._replace(remark=f"{remark}; {drawn.remark}" if drawn.remark else remark)


def _read_label(names: Any, codes: Mapping[str, int]) -> int:
    if not isinstance(names, (list, tuple)) or len(names) != 1:
        raise _Unusable(f"expected one label, got {names or 'none'}")
    if not isinstance(names[0], str) or names[0] not in codes:
        raise _Unusable(f"unknown label {names[0]!r}; the classes are {', '.join(codes)}")
    return codes[names[0]]


def _read_size(region: Mapping[str, Any], size: tuple[int, int] | None) -> tuple[int, int]:
    """The size of the image that a region was drawn on, which must be the image's."""
    drawn_on: tuple[Any, Any] = (region.get("original_width"), region.get("original_height"))
    if not all(_is_number(side) and side >= 1 for side in drawn_on):
        if size is None:
            raise _Unusable(
                f"expected original_width and original_height, got {drawn_on}, and the image's size is unknown"
            )
        return size
    if size is not None and drawn_on != tuple(size):
        turned = drawn_on == tuple(size)[::-1]
        why = "drawn on it before its EXIF orientation was applied" if turned else "of another version of it"
        raise _Unusable(f"drawn on {drawn_on[0]} x {drawn_on[1]} pixels, the image has {size[0]} x {size[1]}: {why}")
    return size or (int(drawn_on[0]), int(drawn_on[1]))


def _smallest_rectangle(points: Any, size: tuple[int, int]) -> NDArray[np.float64]:
    """The rectangle of least area around a polygon."""
    if not isinstance(points, list) or len(points) < 3 or not all(map(_is_point, points)):
        raise _Unusable(f"expected a polygon of at least three points, got {str(points)[:100]}")
    pixels = np.array(points, float) * np.array(size, float) / 100
    corners = shapely.get_coordinates(shapely.oriented_envelope(shapely.MultiPoint(pixels)))[:4]
    # Points on one line give that line, equal points one point: repeated, they are flat rectangles.
    return rboxes.from_corners(np.resize(corners, (1, 8)).astype(float))[0]


def _misplacement(box: NDArray[np.float64], size: tuple[int, int]) -> str | None:
    """Why a box cannot be what somebody drew on an image of this size."""
    if max(box[2:4]) < _PIXEL:
        return f"smaller than a pixel ({box[2]:.3g} x {box[3]:.3g} px): are its numbers fractions, not percent?"
    share = float(visible_share(box[None], *size)[0])
    if share >= MIN_VISIBLE:
        return None
    left, top, right, bottom = rboxes.to_hbb(box[None])[0]
    return (
        f"{share:.0%} of the box lies in the image: it goes from ({left:.0f}, {top:.0f}) to ({right:.0f}, "
        f"{bottom:.0f}) in {size[0]} x {size[1]} pixels"
    )


def _overhangs(box: NDArray[np.float64], size: tuple[int, int]) -> bool:
    """Whether a box leaves the image by more than half a pixel."""
    left, top, right, bottom = rboxes.to_hbb(box[None])[0]
    return bool(left < -0.5 or top < -0.5 or right > size[0] + 0.5 or bottom > size[1] + 0.5)


def _is_point(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2 and all(map(_is_number, value))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _HUGE


def _is_score(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1
