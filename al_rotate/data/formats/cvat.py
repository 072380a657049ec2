"""CVAT's XML for images: rotated boxes, polygons and ellipses of all images in one file.

A ``<box>`` has corners (xtl, ytl) and (xbr, ybr) before its `rotation`, in degrees, clockwise about its centre.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element
from xml.sax.saxutils import quoteattr

import numpy as np

from ...storage.files import atomic_write
from ..instances import RotatedInstances
from .reading import POLYGONS, Gathered, LabelledObject, Notes, files_of
from .values import (
    as_difficult,
    as_text,
    image_id_of,
    load_xml,
    number_in,
    rectangle_around,
    turned_box,
)

_WITHOUT_EXTENT = ("points", "polyline", "tag")  # they mark no object with a box
_ELLIPSES = "ellipses, taken as the rectangles around them"


def read(source: str | Path, classes: Sequence[str] | None = None, notes: Notes | None = None) -> RotatedInstances:
    """Read a file exported as "CVAT for images 1.1", or several in a folder.

    A polygon becomes its rectangle of least area, an ellipse the rectangle around it. Points, polylines and tags are
    left out and noted. An image with a mask, a cuboid or a skeleton is held back: it is in `skipped`, not among the
    labels, since an object would be missing from it.

    Args:
        source: an XML file, or a folder of them.
        classes: the class names in order; None takes the task's labels in their order, and without those the labels
            that occur, sorted.
        notes: collects what is odd.

    Returns:
        Images in the order of the file, all that it lists: CVAT lists images that nobody has labelled yet, too. The
        image id is the name without its suffix. With ``image_sizes``.

    Raises:
        FileNotFoundError: when there is no file.
        ValueError: for a file that cannot be read, a video's tracks, or a class that is not in `classes`; names file,
            image and shape.
    """
    notes = notes if notes is not None else Notes()
    roots = {file: load_xml(file) for file in files_of(Path(source), ".xml").values()}
    for file, root in roots.items():
        if root.tag != "annotations":
            raise ValueError(f"{file}: expected CVAT's <annotations>, got <{root.tag}>")
        if root.find("track") is not None:
            raise ValueError(f"{file}: expected CVAT for images, got tracks; export the task as 'CVAT for images 1.1'")
        if unknown := {child.tag for child in root} - {"version", "meta", "image"}:
            raise ValueError(f"{file}: expected <version>, <meta> and <image>, got <{min(unknown)}>")
    gathered = Gathered(_task_labels(roots) if classes is None else classes)
    for file, root in roots.items():
        for image in root.iter("image"):
            name = image.get("name", "")
            try:
                size = int(number_in(image.get("width"), "width", 0)), int(number_in(image.get("height"), "height", 0))
                image_id = image_id_of(as_text(name, "the image's name"))
                objects, unreadable = _objects(image, f"{file}, image {name!r}", notes)
            except ValueError as error:
                raise ValueError(f"{file}: image {name!r}: {error}") from None
            if unreadable:
                gathered.skip(image_id, f"{file} has a {unreadable} on it, which is no rectangle")
                notes.add(f"images held back, for a {unreadable} on them is no rectangle", f"{file}, image {name!r}")
            else:
                gathered.add(image_id, file, objects, size)
    return gathered.labels()


def write(labels: RotatedInstances, path: str | Path, image_files: Mapping[str, str | Path] | None = None) -> Path:
    """Write labels as one file that CVAT imports ("CVAT 1.1"), atomically.

    Args:
        labels: with `classes` and `image_sizes`. `difficult` becomes an attribute of that name.
        path: the file; a folder gets ``annotations.xml``.
        image_files: image id -> file, for the suffix in the images' names, by which CVAT finds them.

    Returns:
        The file.

    Raises:
        ValueError: for detections, without classes or sizes, for names that XML cannot hold, or for an image without a
            file in `image_files`.
    """
    if labels.scores is not None:
        raise ValueError("expected labels, got detections with scores; remove them: instances.replace(scores=None)")
    if labels.classes is None:
        raise ValueError("expected instances with classes, got None; give them by instances.replace(classes=...)")
    for name in (*labels.classes, *labels.image_ids):
        if name.strip() != name or not all(character >= " " for character in name):
            raise ValueError(f"expected names without blanks around them or control characters, got {name!r}")
    sizes = np.zeros((len(labels), 2), int) if labels.image_sizes is None else labels.image_sizes
    if (unknown := np.flatnonzero((sizes <= 0).any(axis=1))).size:
        raise ValueError(f"expected the size of every image, got none for {labels.image_ids[unknown[0]]!r}")
    path = Path(path) if Path(path).suffix.lower() == ".xml" else Path(path) / "annotations.xml"
    with atomic_write(path) as file:
        file.write(
            '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n<meta><task><labels>\n'
        )
        for name in labels.classes:
            attribute = "" if labels.difficult is None else _DIFFICULT
            file.write(f"<label><name>{_escaped(name)}</name><attributes>{attribute}</attributes></label>\n")
        file.write("</labels></task></meta>\n")
        for number, ((image_id, image), size) in enumerate(zip(labels, sizes.tolist(), strict=True)):
            if image_files is not None and image_id not in image_files:
                raise ValueError(f"expected a file for every image in image_files, got none for {image_id!r}")
            name = image_id + ("" if image_files is None else Path(image_files[image_id]).suffix)
            file.write(f'<image id="{number}" name={quoteattr(name)} width="{size[0]}" height="{size[1]}">\n')
            file.writelines(_boxes(image))
            file.write("</image>\n")
        file.write("</annotations>\n")
    return path


_DIFFICULT = (
    "<attribute><name>difficult</name><mutable>False</mutable><input_type>number</input_type>"
    "<default_value>0</default_value><values>0\n255\n1</values></attribute>"
)


def _boxes(image: RotatedInstances) -> list[str]:
    lines = []
    difficult = [None] * image.n_boxes if image.difficult is None else image.difficult.tolist()
    names = image.classes or ()
    for (cx, cy, w, h, theta), label, flag in zip(
        image.boxes.astype(float).tolist(), image.labels.tolist(), difficult, strict=True
    ):
        edges = {"xtl": cx - w / 2, "ytl": cy - h / 2, "xbr": cx + w / 2, "ybr": cy + h / 2}
        numbers = {**edges, "rotation": math.degrees(theta) % 360}  # CVAT's range
        attributes = " ".join(f'{key}="{value:.9f}"' for key, value in numbers.items())
        inside = "" if flag is None else f'<attribute name="difficult">{flag}</attribute>'
        lines.append(f'<box label={quoteattr(names[label])} occluded="0" {attributes} z_order="0">{inside}</box>\n')
    return lines


def _escaped(text: str) -> str:
    return quoteattr(text)[1:-1]


def _task_labels(roots: Mapping[Path, Element]) -> list[str] | None:
    """Return the labels that the files' tasks define, in their order; None if one of the files defines none."""
    names: list[str] = []
    for root in roots.values():
        defined = [label for label in root.iterfind("meta/*/labels/label") if label.find("parent") is None]
        if not defined:
            return None
        names += [name for label in defined if (name := label.findtext("name", "").strip())]
    return list(dict.fromkeys(names))


def _objects(image: Element, where: str, notes: Notes) -> tuple[list[LabelledObject], str]:
    """Return an image's objects, and the kind of a shape that cannot be read as a box, if there is one."""
    objects, unreadable = [], ""
    for number, shape in enumerate(image, start=1):
        if shape.tag in _WITHOUT_EXTENT:
            notes.add(f"shapes of the kind {shape.tag} left out", where)
            continue
        box = _shape(shape, number)
        if box is None:
            unreadable = shape.tag
            continue
        try:
            attributes = {child.get("name", "").lower(): child.text for child in shape.iter("attribute")}
            name = as_text(shape.get("label"), "label")
            objects.append(LabelledObject(name, box, as_difficult(attributes.get("difficult"))))
        except ValueError as error:
            raise ValueError(f"{shape.tag} {number}: {error}") from None
        if shape.tag == "polygon":
            notes.add(POLYGONS, where)
        elif shape.tag == "ellipse":
            notes.add(_ELLIPSES, where)
    return objects, unreadable


def _shape(shape: Element, number: int) -> list[float] | None:
    try:
        if shape.tag in ("box", "ellipse", "polygon") and (inside := {child.tag for child in shape} - {"attribute"}):
            raise ValueError(f"expected attributes in it alone, got <{min(inside)}>")
        turned = number_in(shape.get("rotation") or "0", "rotation", -36_000, 36_000)
        if shape.tag == "box":
            left, top, right, bottom = (number_in(shape.get(edge), edge) for edge in ("xtl", "ytl", "xbr", "ybr"))
            return turned_box(left, top, right, bottom, turned)
        if shape.tag == "ellipse":
            cx, cy = (number_in(shape.get(part), part) for part in ("cx", "cy"))
            rx, ry = (number_in(shape.get(part), part, 0) for part in ("rx", "ry"))
            return turned_box(cx - rx, cy - ry, cx + rx, cy + ry, turned)
        if shape.tag == "polygon":
            pairs = [point.split(",") for point in (shape.get("points") or "").split(";")]
            if len(pairs) < 3 or any(len(pair) != 2 for pair in pairs):
                raise ValueError(f"expected points as x,y;x,y;x,y..., got {str(shape.get('points'))[:200]!r}")
            return rectangle_around([number_in(value, "points") for pair in pairs for value in pair])
    except ValueError as error:
        raise ValueError(f"{shape.tag} {number}: {error}") from None
    return None
