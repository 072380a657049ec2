"""LabelMe's JSON, one file per image; X-AnyLabeling and others write the same with rotated rectangles.

A polygon becomes its rectangle of least area. So does a rotated rectangle (``rotation`` or ``oriented_rectangle``),
whose four points are its corners.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..instances import RotatedInstances
from .reading import HORIZONTAL, POLYGONS, Gathered, LabelledObject, Notes, files_of
from .values import as_count, as_difficult, as_numbers, as_text, image_id_of, load_json, rectangle_around, turned_box

_ROTATED = ("rotation", "oriented_rectangle", "rotated_rectangle")
_WITHOUT_EXTENT = ("point", "points", "line", "linestrip")  # they mark no object with a box
_TAKEN_AS = {"polygon": POLYGONS, "rectangle": HORIZONTAL, "circle": "circles, taken as the squares around them"}


def read(source: str | Path, classes: Sequence[str] | None = None, notes: Notes | None = None) -> RotatedInstances:
    """Read the JSON files of a folder, or one.

    Points and lines are left out and noted. An image with any other shape, such as a mask, is held back: it is in
    `skipped`, not among the labels, since an object would be missing from it.

    Args:
        source: a folder, whose sub-folders are searched too, or a file. The image id is the path below the folder
            without ``.json``. A file without a shape is an image without objects.
        classes: the class names in order; None takes those in the files, sorted.
        notes: collects what is odd.

    Returns:
        Labels with ``difficult`` if an object has it, and with ``image_sizes``, 0 where the file has none.

    Raises:
        FileNotFoundError: when there is no file.
        ValueError: for a file that cannot be read, or a class that is not in `classes`; names file and shape.
    """
    gathered, notes = Gathered(classes), notes if notes is not None else Notes()
    for image_id, file in files_of(Path(source), ".json").items():
        content = load_json(file)
        shapes = content.get("shapes") if isinstance(content, dict) else None
        if not isinstance(shapes, list):
            raise ValueError(f"{file}: expected LabelMe's JSON, an object with a list of shapes")
        objects: list[LabelledObject] = []
        unreadable = ""
        for number, shape in enumerate(shapes, start=1):
            try:
                kind, found = _object(shape)
            except ValueError as error:
                raise ValueError(f"{file}: shape {number}: {error}") from None
            if found is not None:
                objects.append(found)
                if kind in _TAKEN_AS:
                    notes.add(_TAKEN_AS[kind], file)
            elif kind in _WITHOUT_EXTENT:
                notes.add(f"shapes of the kind {kind} left out", file)
            else:
                unreadable = kind
        named = image_id_of(str(content.get("imagePath") or "?")).rpartition("/")[2]
        if named not in ("?", image_id.rpartition("/")[2]):
            notes.add("files of another name than their imagePath; the file's own name is taken", file)
        try:
            width, height = (as_count(content.get(f"image{side}") or 0, f"image{side}") for side in ("Width", "Height"))
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from None
        if unreadable:
            gathered.skip(image_id, f"{file} has a shape of the kind {unreadable}, which is no rectangle")
            notes.add(f"images held back, for their shape of the kind {unreadable} is no rectangle", file)
        else:
            gathered.add(image_id, file, objects, (width, height))
    return gathered.labels()


def _object(shape: Any) -> tuple[str, LabelledObject | None]:
    """Return a shape's kind, and its object if the kind has a box."""
    if not isinstance(shape, dict):
        raise ValueError(f"expected an object with label, points and shape_type, got {str(shape)[:200]}")
    kind = "_".join(as_text(shape.get("shape_type") or "polygon", "shape_type").lower().split())
    if kind not in ("polygon", "rectangle", "circle", *_ROTATED):
        return kind, None
    name = as_text(shape.get("label"), "label")
    given = shape.get("points")
    if not isinstance(given, list):
        raise ValueError(f"expected points to be a list, got {str(given)[:200]}")
    points = [as_numbers(point, "a point", 2) for point in given]
    flags = shape["flags"] if isinstance(shape.get("flags"), dict) else {}
    difficult = as_difficult(shape.get("difficult", flags.get("difficult")))
    if kind == "circle" and len(points) == 2:
        (cx, cy), edge = points
        radius = math.dist((cx, cy), edge)
        return kind, LabelledObject(name, turned_box(cx - radius, cy - radius, cx + radius, cy + radius), difficult)
    if kind == "rectangle" and len(points) == 2:
        xs, ys = zip(*points, strict=True)
        return kind, LabelledObject(name, turned_box(min(xs), min(ys), max(xs), max(ys)), difficult)
    if kind != "circle" and len(points) >= 3:
        return kind, LabelledObject(name, rectangle_around([value for point in points for value in point]), difficult)
    raise ValueError(f"expected the points of a {kind}, got {len(points)} points")
