"""Ultralytics' YOLO-OBB labels: one ``ID.txt`` an image, one object a line, ``class x1 y1 x2 y2 x3 y3 x4 y4``.

Coordinates are fractions of the image's width and height, the class is a number. Ultralytics looks for an image's
labels where its path says ``labels`` instead of ``images``::

    data.yaml        what to train on, and the names of the classes
    classes.txt      the same names, one a line
    images/ID.jpg
    labels/ID.txt
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ... import boxes
from ...storage import files as _files
from .. import images
from ..instances import RotatedInstances

DECIMALS = 12  # of fractions, so that boxes in an image of 10,000 pixels come back as float32 knows them


def write(instances: RotatedInstances, folder: str | Path, image_files: Mapping[str, str | Path] | None = None) -> Path:
    """Write labels; an image without boxes gets an empty file, which Ultralytics takes for a negative.

    Each file appears whole or not at all; other files in the folder stay. Difficult objects are written as others
    are: the format does not know them. ``data.yaml`` names all images for training and validation alike: divide
    them as you like.

    Args:
        instances: labels with `classes`, and `image_sizes` of those that have boxes.
        folder: ids with ``/`` become sub-folders of labels/ and images/.
        image_files: image id -> file, to be linked as images/ID.jpg (or whatever its suffix). Without it put the
            images there yourself. (Ultralytics mends JPEGs that lack their end in place, through the link.)

    Returns:
        The folder.

    Raises:
        ValueError: for detections, for an image with boxes and without a size, for one without a file, and for boxes
            that are not :func:`readable`; names the image.
    """
    folder = Path(folder)
    if instances.scores is not None:
        raise ValueError("expected labels, got detections with scores; take them off: instances.replace(scores=None)")
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
            "take such boxes off: instances.where(yolo_obb.readable(instances))"
        )
    for image_id in instances.image_ids:
        if "images" in image_id.split("/")[:-1]:
            raise ValueError(f"expected ids without a folder 'images', which Ultralytics mistakes, got {image_id!r}")
        if image_files is not None and image_id not in image_files:
            raise ValueError(f"expected a file for every image in image_files, got none for {image_id!r}")
    files = [_files.path_for_image(folder / "labels", image_id, ".txt") for image_id in instances.image_ids]
    for path, corners, (image_id, image) in zip(files, _fractions(instances), instances, strict=True):
        with _files.atomic_write(path) as file:
            for label, row in zip(image.labels.tolist(), corners.tolist(), strict=True):
                file.write(f"{label} {' '.join(f'{value:.{DECIMALS}f}' for value in row)}\n")
        if image_files is not None:
            source = Path(image_files[image_id]).absolute()
            _link(source, _files.path_for_image(folder / "images", image_id, source.suffix))
    with _files.atomic_write(folder / "classes.txt") as file:
        file.writelines(f"{name}\n" for name in instances.classes)
    with _files.atomic_write(folder / "data.yaml") as file:
        file.write("train: images\nval: images\nnames:\n")
        file.writelines(f"  {k}: {json.dumps(name, ensure_ascii=False)}\n" for k, name in enumerate(instances.classes))
    return folder


def readable(instances: RotatedInstances) -> NDArray[np.bool_]:
    """(N,) which boxes Ultralytics reads: it leaves out whole images for the sake of one that it does not.

    Of the upright hull around a box the centre must lie in the image, and the sides must not be longer than the
    image's (its ``verify_image_label``, without the 1 % that newer releases forgive). Corners may lie outside.

    Raises:
        ValueError: without the size of an image that has boxes.
    """
    hulls = boxes.to_hbb(instances.boxes.astype(np.float64)) / np.tile(_sizes(instances), 2)[instances.image_index]
    low, high = hulls[:, :2].astype(np.float32), hulls[:, 2:].astype(np.float32)
    centre, sides = (low + high) / 2, high - low
    inside: NDArray[np.bool_] = (centre >= 0) & (centre <= 1) & (sides <= 1)
    return np.asarray(inside.all(axis=1))


def read(folder: str | Path, image_files: Mapping[str, str | Path] | None = None) -> RotatedInstances:
    """Read labels that lie as :func:`write` leaves them.

    Four corners that are no rectangle become their rectangle of least area (:func:`al_rotate.boxes.from_corners`).

    Args:
        folder: with labels/ and classes.txt.
        image_files: image id -> file, for the sizes; None looks into images/.

    Returns:
        Labels with `image_sizes`, images sorted by id: those that have a label file.

    Raises:
        FileNotFoundError: without labels or classes.
        ValueError: for a line that cannot be read, or an image whose file is not known; names file and line.
    """
    folder = Path(folder)
    names = (folder / "classes.txt").read_text(encoding="utf-8").splitlines()
    found = {
        file.relative_to(folder / "labels").with_suffix("").as_posix(): file
        for file in sorted((folder / "labels").rglob("*.txt"))
    }
    if not found:
        raise FileNotFoundError(f"expected YOLO-OBB labels in {folder / 'labels'}, got no .txt file")
    files = images.find(folder / "images") if image_files is None else image_files
    offsets, labels, corners, sizes = [0], [], [], []
    for image_id, file in sorted(found.items()):
        if image_id not in files:
            raise ValueError(f"{file}: expected an image with the id {image_id!r}, for its size, got none")
        sizes.append(images.size(files[image_id]))
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            if line.strip():
                try:
                    label, numbers = _object(line.split(), len(names))
                except ValueError as error:
                    raise ValueError(f"{file}:{number}: {error}; the line is {line[:200]!r}") from None
                labels.append(label)
                corners.append(np.reshape(numbers, (4, 2)) * sizes[-1])
        offsets.append(len(labels))
    rectangles = boxes.from_corners(np.array(corners).reshape(-1, 4, 2))
    return RotatedInstances(sorted(found), offsets, rectangles, np.array(labels, int), classes=names, image_sizes=sizes)


def _object(words: list[str], classes: int) -> tuple[int, list[float]]:
    try:
        numbers = [float(word) for word in words[1:]]
    except ValueError:
        numbers = []
    if len(numbers) != 8 or not all(map(math.isfinite, numbers)):
        raise ValueError("expected a class number and 8 coordinates")
    if not (words[0].isdecimal() and int(words[0]) < classes):
        raise ValueError(f"expected a class number below {classes}, of classes.txt, got {words[0]}")
    return int(words[0]), numbers


def _fractions(instances: RotatedInstances) -> list[NDArray[np.float64]]:
    """Each image's corners, (n, 8), as fractions of width and height."""
    corners = boxes.to_corners(instances.boxes.astype(np.float64)) / _sizes(instances)[instances.image_index, None]
    return np.split(corners.reshape(-1, 8), instances.offsets[1:-1])


def _sizes(instances: RotatedInstances) -> NDArray[np.float64]:
    sizes = np.zeros((len(instances), 2)) if instances.image_sizes is None else instances.image_sizes.astype(float)
    unknown = np.flatnonzero((sizes <= 0).any(axis=1) & (instances.counts > 0))
    if len(unknown):
        raise ValueError(
            f"expected the sizes of images, got none of {len(unknown)}, e.g. {instances.image_ids[unknown[0]]!r}; "
            "give them by instances.replace(image_sizes=[al_rotate.images.size(file) for file in ...])"
        )
    return sizes


def _link(source: Path, link: Path) -> None:
    if not source.is_file():
        raise ValueError(f"expected an image file, got none at {source}")
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.resolve() == source.resolve():
        return
    scratch = link.with_name(f".{link.name}.{os.getpid()}.tmp")
    scratch.symlink_to(source)
    os.replace(scratch, link)
