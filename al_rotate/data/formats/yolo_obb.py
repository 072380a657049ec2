"""Ultralytics' YOLO-OBB labels: one ``ID.txt`` per image, one object per line, ``class x1 y1 x2 y2 x3 y3 x4 y4``.

Coordinates are fractions of the image's width and height, the class is a number. Ultralytics looks for an image's
labels by replacing ``images`` in its path by ``labels``::

    data.yaml              the lists of images, and the names of the classes
    train.txt, val.txt     the images of each side, one path per line, relative to the list
    classes.txt            the names of the classes, one per line
    images/ID.jpg
    labels/ID.txt

Other layouts, and horizontal boxes, are read by :mod:`al_rotate.data.formats.ultralytics`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...boxes import to_corners, to_hbb
from ...storage.files import atomic_write, path_for_image, temporary_sibling
from .. import images
from ..class_names import read_file
from ..instances import RotatedInstances
from ..tiling import Tile
from .reading import Gathered, Notes
from .ultralytics import read_objects

DECIMALS = 12  # of written fractions: enough for float32 boxes in an image of 10,000 pixels


def write(
    instances: RotatedInstances,
    folder: str | Path,
    image_files: Mapping[str, str | Path] | None = None,
    val: float = 0.2,
    seed: int = 0,
) -> Path:
    """Write labels; an image without boxes gets an empty file, which Ultralytics treats as a negative.

    Each file is written atomically; other files in the folder are kept. The format has no difficult objects: they are
    written like all others. The folder is complete: it may be moved, packed, or copied to another computer.

    Args:
        instances: labels with `classes`, and with `image_sizes` of all images that have boxes.
        folder: ids with ``/`` become sub-folders of labels/ and images/.
        image_files: image id -> file, copied as images/ID with the file's suffix (copied, not linked: Ultralytics
            repairs JPEGs without an end marker in place). Of files that Ultralytics reads otherwise than
            :func:`al_rotate.images.read` (TIFFs, more than 8 bits), images/ID.png is made. Without `image_files`, put
            the images there yourself; ``data.yaml`` then names the folder images/ for both training and validation, to
            be split as you like.
        val: share of the images that are for validation, and listed in val.txt; the others are in train.txt. All tiles
            of a scene are on the same side. 0 validates on the images of training.
        seed: decides which. The same images with the same seed are split alike; of more images, nearly so.

    Returns:
        The folder.

    Raises:
        ValueError: for detections, an image with boxes but no size, an image without a file, boxes that are not
            :func:`readable`, or a share outside [0, 1); names the image.
        UnreadableImage: for an image that can be read only with `bands` or `stretch`.
    """
    folder = Path(folder)
    if not 0 <= val < 1:
        raise ValueError(f"expected a share of the images for validation in [0, 1), got {val}")
    if instances.scores is not None:
        raise ValueError("expected labels, got detections with scores; remove them: instances.replace(scores=None)")
    if instances.classes is None:
        raise ValueError("expected instances with classes, got None; give them by instances.replace(classes=...)")
    for name in instances.classes:
        if name.strip().splitlines() != [name]:
            raise ValueError(f"expected class names of one line, without blanks around them, got {name!r}")
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
    files = {image_id: path_for_image(folder / "labels", image_id, ".txt") for image_id in instances.image_ids}
    for corners, (image_id, image) in zip(_fractions(instances), instances, strict=True):
        with atomic_write(files[image_id]) as file:
            for label, row in zip(image.labels.tolist(), corners.tolist(), strict=True):
                file.write(f"{label} {' '.join(f'{value:.{DECIMALS}f}' for value in row)}\n")
    with atomic_write(folder / "classes.txt") as file:
        file.writelines(f"{name}\n" for name in instances.classes)
    train, val_images = "images", "images"
    if image_files is not None:
        for_val = split(instances.image_ids.tolist(), val, seed)
        placed = _place(folder / "images", {image_id: Path(image_files[image_id]) for image_id in files})
        paths = {image_id: f"./images/{image_id}{placed[image_id].suffix}\n" for image_id in files}
        train, val_images = "train.txt", "val.txt" if for_val else "train.txt"
        for name, chosen in (("train.txt", files.keys() - for_val), ("val.txt", for_val)):
            with atomic_write(folder / name) as file:
                file.writelines(paths[image_id] for image_id in files if image_id in chosen)
    with atomic_write(folder / "data.yaml") as file:
        file.write(f"train: {train}\nval: {val_images}\nnames:\n")
        file.writelines(f"  {k}: {json.dumps(name, ensure_ascii=False)}\n" for k, name in enumerate(instances.classes))
    return folder


def split(image_ids: Sequence[str], val: float, seed: int = 0) -> set[str]:
    """Choose the images for validation: `val` of them, at least one of several; all tiles of a scene together.

    An image's place in the draw depends on its id and the seed alone, so that few images change sides when others are
    added.
    """
    groups: dict[str, list[str]] = {}
    for image_id in image_ids:
        try:
            scene = Tile.of(image_id).scene
        except ValueError:
            scene = image_id
        groups.setdefault(scene, []).append(image_id)
    drawn = sorted(groups, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    wanted = max(1, round(val * len(image_ids))) if val and len(groups) > 1 else 0
    chosen: set[str] = set()
    for scene in drawn[:-1]:
        if len(chosen) >= wanted:
            break
        chosen.update(groups[scene])
    return chosen


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
    names = dict(enumerate(read_file(folder / "classes.txt", numbered=True)))
    label_files = {
        file.relative_to(folder / "labels").with_suffix("").as_posix(): file
        for file in (folder / "labels").rglob("*.txt")
    }
    if not label_files:
        raise FileNotFoundError(f"expected YOLO-OBB labels in {folder / 'labels'}, got no .txt file")
    image_files = images.find(folder / "images") if image_files is None else image_files
    gathered = Gathered(list(names.values()))
    for image_id, file in sorted(label_files.items()):
        if image_id not in image_files:
            raise ValueError(f"{file}: expected an image with the id {image_id!r}, for its size, got none")
        size = images.size(image_files[image_id])
        gathered.add(image_id, file, read_objects(file, names, size, "rotated", Notes()), size)
    return gathered.labels()


def _fractions(instances: RotatedInstances) -> list[NDArray[np.float64]]:
    """Return each image's corners, (n, 8), as fractions of width and height."""
    corners = to_corners(instances.boxes.astype(np.float64)) / _sizes(instances)[instances.image_index, None]
    rows = corners.reshape(-1, 8)
    return [rows[start:end] for start, end in zip(instances.offsets[:-1], instances.offsets[1:], strict=True)]


def _sizes(instances: RotatedInstances) -> NDArray[np.float64]:
    sizes = np.zeros((len(instances), 2)) if instances.image_sizes is None else instances.image_sizes.astype(float)
    unknown = np.flatnonzero((sizes <= 0).any(axis=1) & (instances.counts > 0))
    if len(unknown):
        raise ValueError(
            f"expected the sizes of images, got none for {len(unknown)}, e.g. {instances.image_ids[unknown[0]]!r}; "
            "give them by instances.replace(image_sizes=[al_rotate.images.size(file) for file in ...])"
        )
    return sizes


def _place(folder: Path, files: Mapping[str, Path]) -> dict[str, Path]:
    """Copy images, or make PNGs of those that Ultralytics would read otherwise: image id -> file below `folder`."""
    for file in files.values():
        if not file.is_file():
            raise ValueError(f"expected an image file, got none at {file}")
    images.require_decided(files.values())
    other = {image_id: file for image_id, file in files.items() if not images.is_shown_by_browsers(file)}
    placed = dict(images.render(other, folder)) if other else {}
    for image_id, source in files.items():
        if image_id not in placed:
            placed[image_id] = path_for_image(folder, image_id, source.suffix)
            _copy(source, placed[image_id])
    return placed


def _copy(source: Path, target: Path) -> None:
    found, wanted = target.stat() if target.is_file() else None, source.stat()
    if found and not target.is_symlink() and (found.st_size, found.st_mtime) == (wanted.st_size, wanted.st_mtime):
        return  # of an earlier export
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = temporary_sibling(target)
    try:
        shutil.copy2(source, scratch)  # with its time
        scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)
