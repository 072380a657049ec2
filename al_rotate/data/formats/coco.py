"""COCO's JSON, with the exact rotated box next to COCO's own polygon and axis-aligned box."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, TextIO

import numpy as np
import shapely
from numpy.typing import NDArray

from ...boxes import area, canonical, from_corners, to_corners, to_hbb
from ...storage.files import atomic_write
from ..images import SUFFIXES
from ..instances import RotatedInstances

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


def read(path: str | Path, classes: Sequence[str] | None = None) -> RotatedInstances:
    """Read a COCO file; the whole JSON is in memory meanwhile.

    The box of an annotation is the first available of: `attributes.rotated_box`; the rectangle of least area around
    its polygons; `bbox` rotated about its centre by `attributes.rotation` degrees clockwise, as CVAT writes it;
    `bbox` as it is. Masks (RLE) and crowds are refused: they are regions, not objects with a box.

    Args:
        path: a COCO file with images, categories and annotations.
        classes: the class names in order; None takes the categories, ordered by id.

    Returns:
        Images in the order of the file. An image id is the `file_name` without its suffix. With `image_sizes` (0 if
        the file has none), and with `scores` and `difficult` if annotations have them.

    Raises:
        FileNotFoundError: when the file does not exist.
        ValueError: for content that cannot be read; names file and annotation.
    """
    path = Path(path)
    images, categories, annotations = _load(path)
    ids = [_image_id(image["file_name"]) for image in images]
    sizes = [[image.get("width") or 0, image.get("height") or 0] for image in images]
    position = {image["id"]: index for index, image in enumerate(images)}
    names = {category["id"]: category["name"] for category in sorted(categories, key=lambda category: category["id"])}
    classes = tuple(names.values()) if classes is None else tuple(classes)
    labels = {number: classes.index(name) for number, name in names.items() if name in classes}

    rows: list[tuple[int, int]] = []
    shapes: list[list[float]] = []
    for annotation in annotations:
        try:
            if annotation.get("image_id") not in position:
                raise ValueError(f"expected the id of one of the images, got {annotation.get('image_id')}")
            number = annotation.get("category_id")
            if number not in labels:
                raise ValueError(f"expected one of the classes {', '.join(classes)}, got {names.get(number, number)!r}")
            rows.append((position[annotation["image_id"]], labels[number]))
            shapes.append(_shape(annotation))
        except ValueError as error:
            raise ValueError(f"{path}: annotation {annotation.get('id')}: {error}") from None

    table = np.array(rows, np.int64).reshape(-1, 2)
    order = np.argsort(table[:, 0], kind="stable")
    scores = [annotation.get("score") for annotation in annotations]
    if None in scores and any(score is not None for score in scores):
        lacking = annotations[scores.index(None)]
        raise ValueError(f"{path}: expected a score in all annotations or in none, got none in {lacking.get('id')}")
    flags = [_attributes(annotation).get("difficult") for annotation in annotations]
    return RotatedInstances(
        ids,
        np.concatenate([[0], np.cumsum(np.bincount(table[:, 0], minlength=len(ids)))]).astype(np.int64),
        _boxes(shapes)[order],
        table[order, 1],
        scores=None if not scores or scores[0] is None else np.array(scores, np.float32)[order],
        classes=classes,
        difficult=np.array([int(f or 0) for f in flags])[order] if any(f is not None for f in flags) else None,
        image_sizes=np.array(sizes, np.int32).reshape(-1, 2),
    )


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
    try:
        data = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON, got: {error}") from error
    parts = []
    for key, needed in (("images", ("id", "file_name")), ("categories", ("id", "name")), ("annotations", ())):
        items = data.get(key) if isinstance(data, dict) else None
        if not isinstance(items, list):
            raise ValueError(f"{path}: expected a COCO file with images, categories and annotations, got no {key}")
        for item in items:
            if not isinstance(item, dict) or any(name not in item for name in needed):
                raise ValueError(f"{path}: expected {' and '.join(needed)} in each of {key}, got {str(item)[:200]}")
        if needed and len({item["id"] for item in items}) < len(items):
            raise ValueError(f"{path}: expected distinct ids in {key}, got one twice")
        parts.append(items)
    images, categories, annotations = parts
    return images, categories, annotations


def _shape(annotation: dict[str, Any]) -> list[float]:
    """Return an annotation's rotated box (5 numbers) or its corners (8)."""
    attributes, outline = _attributes(annotation), annotation.get("segmentation")
    if annotation.get("iscrowd"):
        raise ValueError("expected single objects, got a crowd; remove the annotations with iscrowd 1")
    if "rotated_box" in attributes:
        box = _numbers(attributes["rotated_box"], "rotated_box", 5)
        if min(box[2:4]) < 0:
            raise ValueError(f"expected rotated_box with sides w, h >= 0, got {box}")
        return box
    if isinstance(outline, dict):
        raise ValueError("expected a polygon or a box, got a mask (RLE); export polygons instead")
    if outline:
        if not isinstance(outline, list):
            raise ValueError(f"expected segmentation to be a list of polygons, got {outline!r}")
        polygons = [_numbers(polygon, "polygon") for polygon in outline]
        if any(len(polygon) < 6 or len(polygon) % 2 for polygon in polygons):
            raise ValueError(f"expected polygons of at least 3 points, got {min(map(len, polygons))} numbers")
        return (
            polygons[0]
            if len(polygons) == 1 and len(polygons[0]) == 8
            else _rectangle(list(chain.from_iterable(polygons)))
        )
    x, y, w, h = _numbers(annotation.get("bbox"), "bbox", 4)
    if w < 0 or h < 0:
        raise ValueError(f"expected bbox as x, y, w, h with w, h >= 0, got {[x, y, w, h]}")
    (degrees,) = _numbers([attributes.get("rotation") or 0.0], "rotation", 1)
    return [x + w / 2, y + h / 2, w, h, math.radians(degrees)]


def _rectangle(outline: list[float]) -> list[float]:
    """Return the corners of the rectangle of least area around any number of points."""
    envelope = shapely.oriented_envelope(shapely.MultiPoint(np.reshape(outline, (-1, 2))))
    # Of collinear points the envelope is a line, of equal points a point; repeated, both make a flat rectangle.
    return np.resize(shapely.get_coordinates(envelope)[:4], 8).tolist()


def _boxes(shapes: list[list[float]]) -> NDArray[np.floating]:
    is_corners = np.array([len(shape) == 8 for shape in shapes], bool)
    boxes = np.zeros((len(shapes), 5), np.float32)
    boxes[is_corners] = from_corners(np.array([s for s in shapes if len(s) == 8]).reshape(-1, 8))
    # In float32 a box that `write` wrote is canonical, so it is kept bit for bit.
    boxes[~is_corners] = canonical(np.array([s for s in shapes if len(s) == 5], np.float32).reshape(-1, 5))
    return boxes


def _numbers(values: Any, name: str, count: int | None = None) -> list[float]:
    wanted = f"{name} of {count} finite numbers" if count else f"{name} of finite numbers"
    if not isinstance(values, list) or (count and len(values) != count):
        raise ValueError(f"expected {wanted}, got {values!r}")
    if not all(isinstance(value, (int, float)) and math.isfinite(value) for value in values):
        raise ValueError(f"expected {wanted}, got {values!r}")
    return [float(value) for value in values]


def _attributes(annotation: dict[str, Any]) -> dict[str, Any]:
    attributes = annotation.get("attributes")
    return attributes if isinstance(attributes, dict) else {}


def _image_id(file_name: str) -> str:
    path = PurePosixPath(file_name.replace("\\", "/"))
    return (path.with_suffix("") if path.suffix.lower() in SUFFIXES else path).as_posix()
