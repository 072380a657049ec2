"""Ultralytics' YOLO-OBB labels: one ``ID.txt`` per image, one object per line, ``class x1 y1 x2 y2 x3 y3 x4 y4``.

Coordinates are fractions of the image's width and height, the class is a number. Ultralytics looks for an image's
labels by replacing ``images`` in its path by ``labels``::

    data.yaml        the image folders, and the names of the classes
    classes.txt      the same names, one per line
    images/ID.jpg
    labels/ID.txt
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...boxes import from_corners, to_corners, to_hbb
from ...storage.files import atomic_write, path_for_image, temporary_sibling
from .. import images
from ..instances import RotatedInstances

DECIMALS = 12  # of written fractions: enough for float32 boxes in an image of 10,000 pixels


def write(instances: RotatedInstances, folder: str | Path, image_files: Mapping[str, str | Path] | None = None) -> Path:
    """Write labels; an image without boxes gets an empty file, which Ultralytics treats as a negative.

    Each file is written atomically; other files in the folder are kept. The format has no difficult objects: they are
    written like all others. ``data.yaml`` names all images for both training and validation: split them as you like.

    Args:
        instances: labels with `classes`, and with `image_sizes` of all images that have boxes.
        folder: ids with ``/`` become sub-folders of labels/ and images/.
        image_files: image id -> file, linked as images/ID with the file's suffix. Without it, put the images there
            yourself. (Ultralytics repairs JPEGs without an end marker in place, through the link.)

    Returns:
        The folder.

    Raises:
        ValueError: for detections, an image with boxes but no size, an image without a file, or boxes that are not
            :func:`readable`; names the image.
    """
    folder = Path(folder)
    if instances.scores is not None:
        raise ValueError("expected labels, got detections with scores; remove them: instances.replace(scores=None)")
    if instances.classes is None:
        raise ValueError("expected instances with classes, got None; give them by instances.replace(classes=...)")
    for name in instances.classes:
        if name.splitlines() != [name]:
            raise ValueError(f"expected class names of one line, got {name!r}")
    bad = np.flatnonzero(~readable(instances))
    if len(bad):
        box, image_id = instances.boxes[bad[0]].tolist(), instances.image_ids[instances.image_index[bad[0]]]
        raise ValueError(
            f"expected boxes that Ultralytics reads, got {box} in image {image_id!r}, which reaches too far out of it; "
            "remove such boxes: instances.where(yolo_obb.readable(instances))"
        )
    for image_id in instances.image_ids:
        if "images" in image_id.split("/")[:-1]:
            raise ValueError(
                f"expected ids without a folder 'images', which Ultralytics takes for its own, got {image_id!r}"
            )
        if image_files is not None and image_id not in image_files:
            raise ValueError(f"expected a file for every image in image_files, got none for {image_id!r}")
    files = [path_for_image(folder / "labels", image_id, ".txt") for image_id in instances.image_ids]
    for path, corners, (image_id, image) in zip(files, _fractions(instances), instances, strict=True):
        with atomic_write(path) as file:
            for label, row in zip(image.labels.tolist(), corners.tolist(), strict=True):
                file.write(f"{label} {' '.join(f'{value:.{DECIMALS}f}' for value in row)}\n")
        if image_files is not None:
            source = Path(image_files[image_id]).absolute()
            _link(source, path_for_image(folder / "images", image_id, source.suffix))
    with atomic_write(folder / "classes.txt") as file:
        file.writelines(f"{name}\n" for name in instances.classes)
    with atomic_write(folder / "data.yaml") as file:
        file.write("train: images\nval: images\nnames:\n")
        file.writelines(f"  {k}: {json.dumps(name, ensure_ascii=False)}\n" for k, name in enumerate(instances.classes))
    return folder


def readable(instances: RotatedInstances) -> NDArray[np.bool_]:
    """Tell which boxes Ultralytics accepts, (N,); it drops a whole image for one box that it does not accept.

    The centre of a box's axis-aligned hull must lie in the image, and the hull's sides must not exceed the image's (its
    ``verify_image_label``, without the tolerance of 1 % in newer releases). Corners may lie outside.

    Raises:
        ValueError: for an image that has boxes but no size.
    """
    hulls = to_hbb(instances.boxes.astype(np.float64)) / np.tile(_sizes(instances), 2)[instances.image_index]
    low, high = hulls[:, :2].astype(np.float32), hulls[:, 2:].astype(np.float32)
    centre, sides = (low + high) / 2, high - low
    inside: NDArray[np.bool_] = (centre >= 0) & (centre <= 1) & (sides <= 1)
    return np.asarray(inside.all(axis=1))


def read(folder: str | Path, image_files: Mapping[str, str | Path] | None = None) -> RotatedInstances:
    """Read a folder laid out as by :func:`write`.

    Four corners that form no rectangle become their rectangle of least area (:func:`al_rotate.boxes.from_corners`).

    Args:
        folder: with labels/ and classes.txt.
        image_files: image id -> file, for the sizes; None looks in images/.

    Returns:
        Labels with `image_sizes`, for all images with a label file, sorted by id.

    Raises:
        FileNotFoundError: without labels or classes.
        ValueError: for a line that cannot be read, or labels without an image; names file and line.
    """
    folder = Path(folder)
    names = (folder / "classes.txt").read_text(encoding="utf-8").splitlines()
    label_files = {
        file.relative_to(folder / "labels").with_suffix("").as_posix(): file
        for file in sorted((folder / "labels").rglob("*.txt"))
    }
    if not label_files:
        raise FileNotFoundError(f"expected YOLO-OBB labels in {folder / 'labels'}, got no .txt file")
    image_files = images.find(folder / "images") if image_files is None else image_files
    offsets, labels, corners, sizes = [0], [], [], []
    for image_id, file in sorted(label_files.items()):
        if image_id not in image_files:
            raise ValueError(f"{file}: expected an image with the id {image_id!r}, for its size, got none")
        sizes.append(images.size(image_files[image_id]))
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            if line.strip():
                try:
                    label, numbers = _object(line.split(), len(names))
                except ValueError as error:
                    raise ValueError(f"{file}:{number}: {error}; the line is {line[:200]!r}") from None
                labels.append(label)
                corners.append(np.reshape(numbers, (4, 2)) * sizes[-1])
        offsets.append(len(labels))
    boxes = from_corners(np.array(corners).reshape(-1, 4, 2))
    ids = sorted(label_files)
    return RotatedInstances(ids, offsets, boxes, np.array(labels, int), classes=names, image_sizes=sizes)


def _object(words: list[str], n_classes: int) -> tuple[int, list[float]]:
    try:
        numbers = [float(word) for word in words[1:]]
    except ValueError:
        numbers = []
    if len(numbers) != 8 or not all(map(math.isfinite, numbers)):
        raise ValueError("expected a class number and 8 coordinates")
    if not (words[0].isdecimal() and int(words[0]) < n_classes):
        raise ValueError(f"expected a class number below {n_classes}, of classes.txt, got {words[0]}")
    return int(words[0]), numbers


def _fractions(instances: RotatedInstances) -> list[NDArray[np.float64]]:
    """Return each image's corners, (n, 8), as fractions of width and height."""
    corners = to_corners(instances.boxes.astype(np.float64)) / _sizes(instances)[instances.image_index, None]
    return np.split(corners.reshape(-1, 8), instances.offsets[1:-1])


def _sizes(instances: RotatedInstances) -> NDArray[np.float64]:
    sizes = np.zeros((len(instances), 2)) if instances.image_sizes is None else instances.image_sizes.astype(float)
    unknown = np.flatnonzero((sizes <= 0).any(axis=1) & (instances.counts > 0))
    if len(unknown):
        raise ValueError(
            f"expected the sizes of images, got none for {len(unknown)}, e.g. {instances.image_ids[unknown[0]]!r}; "
            "give them by instances.replace(image_sizes=[al_rotate.images.size(file) for file in ...])"
        )
    return sizes


def _link(source: Path, link: Path) -> None:
    if not source.is_file():
        raise ValueError(f"expected an image file, got none at {source}")
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.resolve() == source.resolve():
        return
    scratch = temporary_sibling(link)
    scratch.symlink_to(source)
    scratch.replace(link)
