"""Pascal VOC's XML, one file per image, and roLabelImg's, which adds rotated boxes to it.

In ``<robndbox>``, (cx, cy) is the centre, w and h are the sides in pixels, and the angle is in radians, clockwise on
the screen from the x axis to the side w. That is how roLabelImg itself turns the corners when it reads a file
(``rotatePoint`` in its ``pascal_voc_io.py``, called with the negative angle), and how this package does. It writes
angles from 0 to pi. Others are taken modulo pi; beyond a full turn they are refused, since they must be degrees.

DIOR-R has four corners in ``<robndbox>`` instead (``<x_left_top>``...). CVAT's VOC export has an attribute ``rotation``
beside ``<bndbox>``: degrees, clockwise about its centre.

``<bndbox>`` is horizontal. Its numbers are taken as they are, as labelImg and roLabelImg write them; VOC's own files
count pixels from 1, which shifts their boxes by one pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

from ..instances import RotatedInstances
from .reading import HORIZONTAL, Gathered, LabelledObject, Notes, files_of
from .values import as_difficult, as_text, image_id_of, load_xml, number_in, radians_in, turned_box

_CORNERS = [f"{axis}_{corner}" for corner in ("left_top", "right_top", "right_bottom", "left_bottom") for axis in "xy"]


def read(
    source: str | Path, classes: Sequence[str] | None = None, notes: Notes | None = None, rotated: bool | None = None
) -> RotatedInstances:
    """Read the XML files of a folder, or one.

    Args:
        source: a folder, whose sub-folders are searched too, or a file. The image id is the path below the folder
            without ``.xml``. A file without an object is an image without objects.
        classes: the class names in order; None takes those in the files, sorted.
        notes: collects what is odd.
        rotated: True expects at least one rotated box (roLabelImg), False none (VOC); None takes both.

    Returns:
        Labels with ``difficult`` if an object has it, and with ``image_sizes``, 0 where the file has none.

    Raises:
        FileNotFoundError: when there is no file.
        ValueError: for a file that cannot be read, or a class that is not in `classes`; names file and object.
    """
    gathered, notes = Gathered(classes), notes if notes is not None else Notes()
    n_rotated = 0
    for image_id, file in files_of(Path(source), ".xml").items():
        root = load_xml(file)
        if root.tag != "annotation":
            raise ValueError(f"{file}: expected Pascal VOC's <annotation>, got <{root.tag}>")
        objects = []
        for number, element in enumerate(root.iter("object"), start=1):
            try:
                found = _object(element)
            except ValueError as error:
                raise ValueError(f"{file}: object {number}: {error}") from None
            objects.append(found)
            if element.find("robndbox") is not None:
                if rotated is False:
                    raise ValueError(f"{file}: object {number} is a rotated box; read the files as rolabelimg")
                n_rotated += 1
            elif _rotation(element) is None:
                notes.add(HORIZONTAL, file)
        named = image_id_of(root.findtext("filename", "").strip() or "?").rpartition("/")[2]
        if named not in ("?", image_id.rpartition("/")[2]):
            notes.add("files of another name than their <filename>; the file's own name is taken", file)
        gathered.add(image_id, file, objects, _size(root, file))
    if rotated and not n_rotated:
        notes.add("expected rotated boxes (robndbox) in roLabelImg's files, got none")
    return gathered.labels()


def has_rotated_boxes(root: Element) -> bool:
    """Tell whether a file is roLabelImg's rather than plain VOC."""
    return root.find("object/robndbox") is not None


def has_objects(root: Element) -> bool:
    """Tell whether a file has an object at all."""
    return root.find("object") is not None


def _object(element: Element) -> LabelledObject:
    name = as_text(element.findtext("name"), "name")
    difficult = as_difficult(element.findtext("difficult"))
    rotated, level = element.find("robndbox"), element.find("bndbox")
    if rotated is not None and rotated.find("x_left_top") is not None:
        corners = [number_in(rotated.findtext(part), part) for part in _CORNERS]
        return LabelledObject(name, corners, difficult)
    if rotated is not None:
        centre = [number_in(rotated.findtext(part), part) for part in ("cx", "cy")]
        sides = [number_in(rotated.findtext(part), part, 0) for part in ("w", "h")]
        angle = radians_in(number_in(rotated.findtext("angle"), "angle"), "angle")
        return LabelledObject(name, [*centre, *sides, angle], difficult)
    if level is not None:
        left, top, right, bottom = (number_in(level.findtext(part), part) for part in ("xmin", "ymin", "xmax", "ymax"))
        degrees = number_in(_rotation(element) or "0", "rotation", -36_000, 36_000)
        return LabelledObject(name, turned_box(left, top, right, bottom, degrees), difficult)
    got = ", ".join(f"<{child.tag}>" for child in element) or "nothing"
    raise ValueError(f"expected <bndbox> or <robndbox>, got {got}")


def _rotation(element: Element) -> str | None:
    """Return the text of an object's attribute ``rotation``."""
    for attribute in element.iterfind("attributes/attribute"):
        if attribute.findtext("name", "").strip() == "rotation":
            return attribute.findtext("value", "").strip() or None
    return None


def _size(root: Element, file: Path) -> tuple[int, int]:
    sides = []
    for part in ("width", "height"):
        text = root.findtext(f"size/{part}", "").strip()
        try:
            sides.append(int(number_in(text, f"size/{part}", 0)) if text else 0)
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from None
    return sides[0], sides[1]
