"""COCO's JSON, with the exact rotated box next to COCO's own polygon and axis-aligned box."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TextIO, TypeVar

import numpy as np

from ...boxes import area, to_corners, to_hbb
from ...storage.files import atomic_write
from ..columns import as_classes
from ..instances import RotatedInstances
from .reading import HORIZONTAL, Notes, boxes_of
from .values import (
    as_count,
    as_difficult,
    as_number,
    as_numbers,
    as_text,
    image_id_of,
    load_json,
    radians_in,
    rectangle_around,
)

T = TypeVar("T")

_ROWS_AT_ONCE = 10_000


def write(instances: RotatedInstances, path: str | Path, image_files: Mapping[str, str | Path] | None = None) -> Path:
    """Write labels or detections as one COCO file, atomically.

    Each annotation has the four corners as `segmentation`, the axis-aligned hull as `bbox` (x, y, w, h), the
    rotated box's `area` and, for detections, a `score`. Its `attributes` are `rotated_box`, the exact box (cx, cy, w,
    h, theta in radians, le90), `rotation`, the angle in degrees, and `difficult` if the container has it. All ids count
    from 1, in the container's order. Features and class scores are not written: COCO has no place for them.

    Args:
        instances: with `classes` and `image_sizes`.
        path: the file.
        image_files: image id -> file, as :func:`al_rotate.images.find` returns it. `file_name` is the image id with
            that file's suffix; without this mapping it is the image id alone.

    Returns:
        The path.

    Raises:
        ValueError: without classes or sizes, or for an image without a file in `image_files`.
    """
    if instances.classes is None:
        raise ValueError("expected instances with classes, got None; give them by instances.replace(classes=...)")
    sizes = np.zeros((len(instances), 2), int) if instances.image_sizes is None else instances.image_sizes
    names = []
    for image_id, (width, height) in zip(instances.image_ids, sizes.tolist(), strict=True):
        if width <= 0 or height <= 0:
            raise ValueError(
                f"expected the size of every image, got {width} x {height} for {image_id!r}; give (width, height) of "
                "each by instances.replace(image_sizes=[al_rotate.images.size(file) for file in ...])"
            )
        if image_files is not None and image_id not in image_files:
            raise ValueError(f"expected a file for every image in image_files, got none for {image_id!r}")
        names.append(image_id + ("" if image_files is None else Path(image_files[image_id]).suffix))
    images = (
        {"id": number, "file_name": name, "width": width, "height": height}
        for number, (name, (width, height)) in enumerate(zip(names, sizes.tolist(), strict=True), start=1)
    )
    categories = ({"id": number, "name": name} for number, name in enumerate(instances.classes, start=1))
    path = Path(path)
    with atomic_write(path) as file:
        file.write('{"info": {"description": "rotated boxes: attributes.rotated_box is cx, cy, w, h, radians"}')
        _write_list(file, "images", images)
        _write_list(file, "categories", categories)
        _write_list(file, "annotations", _annotations(instances))
        file.write("}\n")
    return path


def read(path: str | Path, classes: Sequence[str] | None = None, notes: Notes | None = None) -> RotatedInstances:
    """Read a COCO file; the whole JSON is in memory meanwhile.

    The box of an annotation is the first available of: `attributes.rotated_box`; the rectangle of least area around
    its polygons; `bbox` rotated about its centre by `attributes.rotation` degrees clockwise, as CVAT writes it;
    `bbox` as it is. An image with a mask (RLE) or a crowd is held back: these are regions, not objects with a box, and
    without them the labels would be incomplete.

    Args:
        path: a COCO file with images, categories and annotations. An id may be a number in one place and a text in
            another (1 and "1").
        classes: the class names in order; None takes the categories, ordered by id.
        notes: collects what is odd.

    Returns:
        Images in the order of the file, those without an annotation too. An image id is the `file_name` without its
        suffix. With `image_sizes` (0 if the file has none), and with `scores` and `difficult` if annotations have them.
        Images held back are in `skipped` instead.

    Raises:
        FileNotFoundError: when the file does not exist.
        ValueError: for content that cannot be read; names file and annotation.
    """
    path, given = Path(path), as_classes(classes)
    notes = notes if notes is not None else Notes()
    images, categories, annotations = _load(path)
    try:
        ids = [image_id_of(as_text(image["file_name"], "file_name")) for image in images]
        sizes = [[as_count(image.get(side) or 0, side) for side in ("width", "height")] for image in images]
        position = _by_id(images, "images", range(len(images)))
        names = _by_id(categories, "categories", [as_text(category["name"], "name") for category in categories])
        order = (
            tuple(as_classes([names[key] for key in sorted(names, key=_ascending)]) or ()) if given is None else given
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    labels = {key: order.index(name) for key, name in names.items() if name in order}

    rows: list[tuple[int, int, int]] = []
    shapes: list[list[float]] = []
    scores: list[float | None] = []
    held_back: dict[str, str] = {}
    for annotation in annotations:
        try:
            image = position.get(_key(annotation.get("image_id"), "image_id"))
            if image is None:
                raise ValueError(f"expected the id of one of the images, got {annotation.get('image_id')!r}")
            number = _key(annotation.get("category_id"), "category_id")
            if number not in labels:
                got = names.get(number, annotation["category_id"])
                raise ValueError(f"expected one of the classes {', '.join(order)}, got {got!r}")
            if region := _region(annotation):
                held_back.setdefault(ids[image], f"{path}: annotation {annotation.get('id')!r} is {region}")
                continue
            score = annotation.get("score")
            scores.append(None if score is None else as_number(score, "score", 0, 1))
            shape, taken_as = _shape(annotation)
            shapes.append(shape)
            if taken_as:
                notes.add(taken_as, f"{path}, annotation {annotation.get('id')!r}")
            difficult = _attributes(annotation).get("difficult")
            rows.append((image, labels[number], -1 if difficult is None else as_difficult(difficult)))
        except ValueError as error:
            raise ValueError(f"{path}: annotation {annotation.get('id')!r}: {error}") from None

    table = np.array(rows, np.int64).reshape(-1, 3)
    by_image = np.argsort(table[:, 0], kind="stable")
    if None in scores and any(score is not None for score in scores):
        lacking = annotations[scores.index(None)]
        raise ValueError(f"{path}: expected a score in all annotations or in none, got none in {lacking.get('id')!r}")
    flags = table[by_image, 2]
    try:
        labels_of_all = RotatedInstances(
            ids,
            np.concatenate([[0], np.cumsum(np.bincount(table[:, 0], minlength=len(ids)))]).astype(np.int64),
            boxes_of(shapes)[by_image],
            table[by_image, 1],
            scores=None if not scores or scores[0] is None else np.array(scores, np.float32)[by_image],
            classes=order,
            difficult=np.maximum(flags, 0) if (flags >= 0).any() else None,
            image_sizes=np.array(sizes, np.int32).reshape(-1, 2),
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    for image_id, reason in held_back.items():
        notes.add("images held back, for a crowd or a mask (RLE) on them is no rectangle", f"{image_id}: {reason}")
    complete = labels_of_all.subset(image_id for image_id in ids if image_id not in held_back)
    return complete.replace(skipped=held_back)


def _annotations(instances: RotatedInstances) -> Iterator[dict[str, Any]]:
    index = instances.image_index
    for start in range(0, instances.n_boxes, _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        rotated = instances.boxes[rows].astype(np.float64)
        hulls = to_hbb(rotated)
        hulls[:, 2:] -= hulls[:, :2]
        columns = (
            index[rows] + 1,
            instances.labels[rows] + 1,
            to_corners(rotated).reshape(-1, 8),
            hulls,
            area(rotated),
            rotated,
        )
        lists: list[list[Any]] = [column.tolist() for column in columns]
        for row, (image, category, corners, hull, square_pixels, box) in enumerate(zip(*lists, strict=True), start):
            attributes = {"rotation": math.degrees(box[4]), "rotated_box": box}
            if instances.difficult is not None:
                attributes["difficult"] = int(instances.difficult[row])
            annotation = {
                "id": row + 1,
                "image_id": image,
                "category_id": category,
                "segmentation": [corners],
                "bbox": hull,
                "area": square_pixels,
                "iscrowd": 0,
                "attributes": attributes,
            }
            if instances.scores is not None:
                annotation["score"] = float(instances.scores[row])
            yield annotation


def _write_list(file: TextIO, name: str, items: Iterable[dict[str, Any]]) -> None:
    file.write(f',\n"{name}": [')
    for number, item in enumerate(items):
        file.write((",\n" if number else "\n") + json.dumps(item))
    file.write("]")


def _load(path: Path) -> tuple[list[dict], list[dict], list[dict]]:
    data = load_json(path)
    parts = []
    for key, needed in (("images", ("id", "file_name")), ("categories", ("id", "name")), ("annotations", ())):
        items = data.get(key) if isinstance(data, dict) else None
        if not isinstance(items, list):
            raise ValueError(f"{path}: expected a COCO file with images, categories and annotations, got no {key}")
        for item in items:
            if not isinstance(item, dict) or any(name not in item for name in needed):
                raise ValueError(f"{path}: expected {' and '.join(needed)} in each of {key}, got {str(item)[:200]}")
        parts.append(items)
    images, categories, annotations = parts
    return images, categories, annotations


def _by_id(items: list[dict], what: str, values: Sequence[T]) -> dict[str, T]:
    by_id = {_key(item["id"], "id"): value for item, value in zip(items, values, strict=True)}
    if len({isinstance(item["id"], str) for item in items}) > 1:
        raise ValueError(f"expected ids of one kind in {what}, got numbers and texts")
    if len(by_id) < len(items):
        raise ValueError(f"expected distinct ids in {what}, got one twice")
    return by_id


def _key(value: Any, name: str) -> str:
    """Return an id as text: scripts write some as numbers and others as text."""
    if isinstance(value, bool) or not isinstance(value, int | str | float) or value != value:
        raise ValueError(f"expected {name} to be a number or a text, got {str(value)[:200]}")
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def _ascending(key: str) -> tuple[bool, int, str]:
    return (False, int(key), "") if key.isascii() and key.isdecimal() and len(key) < 20 else (True, 0, key)


def _region(annotation: dict[str, Any]) -> str:
    """Say what an annotation is if it is a region rather than an object with a box, else nothing."""
    crowd = annotation.get("iscrowd")
    if crowd is True or as_count(crowd or 0, "iscrowd", 1):
        return "a crowd (iscrowd 1)"
    outline = annotation.get("segmentation")
    is_mask = isinstance(outline, dict) and "counts" in outline and "rotated_box" not in _attributes(annotation)
    return "a mask (RLE); export polygons instead" if is_mask else ""


def _shape(annotation: dict[str, Any]) -> tuple[list[float], str]:
    """Return an annotation's rotated box (5 numbers) or its corners (8), and what is odd about it."""
    attributes, outline = _attributes(annotation), annotation.get("segmentation")
    if "rotated_box" in attributes:
        box = as_numbers(attributes["rotated_box"], "rotated_box", 5)
        if min(box[2:4]) < 0:
            raise ValueError(f"expected rotated_box with sides w, h >= 0, got {box}")
        radians_in(box[4], "theta of rotated_box")
        return box, ""
    if outline:
        if not isinstance(outline, list):
            raise ValueError(f"expected segmentation to be a list of polygons, got {str(outline)[:200]!r}")
        polygons = [numbers for polygon in outline if (numbers := as_numbers(polygon, "polygon"))]
        broken = [len(polygon) for polygon in polygons if len(polygon) < 6 or len(polygon) % 2]
        if polygons and not broken:
            return rectangle_around(list(chain.from_iterable(polygons))), ""
        if broken and annotation.get("bbox") is None:
            raise ValueError(f"expected polygons of at least 3 points, got {broken[0]} numbers")
        # Some exporters write an empty or broken outline beside a good bbox.
    bbox = annotation.get("bbox")
    if isinstance(bbox, list) and len(bbox) == 5:
        raise ValueError(
            f"expected bbox as x, y, w, h, got {bbox}: COCO has no angle there, and tools that put one differ in its "
            "sense and in the point it goes with; write attributes.rotated_box: cx, cy, w, h, radians clockwise"
        )
    x, y, w, h = as_numbers(bbox, "bbox", 4)
    if w < 0 or h < 0:
        raise ValueError(f"expected bbox as x, y, w, h with w, h >= 0, got {[x, y, w, h]}")
    rotation = attributes.get("rotation")
    degrees = as_number(0 if rotation is None else rotation, "rotation")
    return [x + w / 2, y + h / 2, w, h, math.radians(degrees)], HORIZONTAL if rotation is None else ""


def _attributes(annotation: dict[str, Any]) -> dict[str, Any]:
    attributes = annotation.get("attributes")
    return attributes if isinstance(attributes, dict) else {}
