"""Ultralytics' data sets, as YOLO reads them: rotated boxes, horizontal boxes and polygons, as fractions of the image.

There is one ``.txt`` per image, one object per line: the class number, then eight coordinates (the corners of a rotated
box), four (centre x and y, width and height of a horizontal box), or the points of a polygon. Ultralytics looks for an
image's labels by replacing the last ``images`` in its path by ``labels``::

    data.yaml        names, and the images of train, val and test: folders, lists of folders, or .txt files of images
    images/train/ID.jpg
    labels/train/ID.txt

An empty label file is an image without objects. An image without a label file is an image that nobody has labelled yet
(Ultralytics takes it for one without objects).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from ... import images
from ...class_names import names_of, read_text, read_yaml
from ...instances import RotatedInstances
from ..reading import HORIZONTAL, POLYGONS, Gathered, LabelledObject, Notes
from ..values import number_in, rectangle_around
from . import layout
from .layout import find_yaml

__all__ = ["Kind", "find_yaml", "read", "read_objects"]

Kind = Literal["any", "rotated", "horizontal"]

_SLACK = 0.01  # that Ultralytics allows beyond the image
_WANTED = {"any": "4, 8 or more coordinates", "rotated": "8 coordinates", "horizontal": "4 coordinates"}


def read(
    source: str | Path,
    classes: Sequence[str] | None = None,
    image_files: Mapping[str, str | Path] | None = None,
    notes: Notes | None = None,
    kind: Kind = "any",
) -> RotatedInstances:
    """Read a data set by its ``data.yaml``, or a folder with labels/, images/ and classes.txt.

    Args:
        source: a ``.yaml`` file; a folder with one; or a folder whose label files are in labels/, or in it, with their
            class names in classes.txt, obj.names or `classes`.
        classes: the class names in the order that the labels shall have, matched by name. None takes the data set's,
            in its order.
        image_files: image id -> file, for the sizes. Its ids are taken where the data set's images are among these
            files. None looks where the data set says.
        notes: collects what is odd.
        kind: of the lines that are accepted.

    Returns:
        Labels with `image_sizes` for all images with a label file, sorted by id. An id is the path below the data set,
        without ``images`` and the suffix: ``train/ID`` for images/train/ID.jpg as for train/images/ID.jpg. Labels
        without an image, or of one whose size cannot be read, are in `skipped`.

    Raises:
        FileNotFoundError: without labels, images or class names.
        ValueError: for a line that cannot be read, or coordinates that are no fractions; names file and line.
    """
    source, notes = Path(source), notes if notes is not None else Notes()
    file = find_yaml(source)
    files = {image_id: Path(path) for image_id, path in (image_files or {}).items()}
    left_out: dict[str, str] = {}
    if file is not None:
        data = read_yaml(file)
        names = names_of(data, file)
        pairs = dict(layout.pairs_of_yaml(data, file, files, notes))
        if not pairs and files:  # labels whose images lie elsewhere
            pairs, left_out = layout.pairs_of_folder(layout.root_of(data, file), files, [])
        else:
            left_out = layout.unnamed_labels(layout.root_of(data, file), pairs, file)
    else:
        listing = layout.names_files(source)
        names = dict(enumerate(layout.class_names(source, listing, classes)))
        pairs, left_out = layout.pairs_of_folder(source, files, listing)
    if len(set(names.values())) < len(names):
        raise ValueError(f"{file}: expected distinct class names, got {list(names.values())}")
    gathered = Gathered(list(names.values()) if classes is None else classes)
    for image_id, (label_file, image_file) in sorted(pairs.items()):
        try:
            with images.allow_large_images():
                size = images.size(image_file)
        except images.UnreadableImage as error:
            left_out[image_id] = f"{label_file}: expected the size of its image, got: {error}"
            continue
        gathered.add(image_id, label_file, read_objects(label_file, names, size, kind, notes), size)
    example = "".join([*left_out.values()][:1])
    notes.add("label files left out, for their image is not known", example, len(left_out))
    for image_id, reason in left_out.items():
        gathered.skip(image_id, reason)
    return gathered.labels()


def read_objects(
    file: Path, names: Mapping[int, str], size: tuple[int, int], kind: Kind, notes: Notes
) -> list[LabelledObject]:
    """Read the label file of an image of `size` (width, height); ValueError names file and line."""
    objects = []
    for number, line in enumerate(read_text(file, layout.LARGEST_LIST).splitlines(), start=1):
        if words := line.split():
            try:
                label, shape = _object(words, names, kind)
            except ValueError as error:
                raise ValueError(f"{file}:{number}: {error}; the line is {line.strip()[:200]!r}") from None
            if len(shape) == 4:
                notes.add(HORIZONTAL, f"{file}:{number}")
                scaled = [*(np.array(shape) * np.tile(size, 2)).tolist(), 0.0]
            else:
                if len(shape) != 8:
                    notes.add(POLYGONS, f"{file}:{number}")
                scaled = rectangle_around((np.reshape(shape, (-1, 2)) * size).ravel().tolist())
            objects.append(LabelledObject(names[label], scaled))
    return objects


def _object(words: list[str], names: Mapping[int, str], kind: Kind) -> tuple[int, list[float]]:
    """Return the class number and the coordinates, as fractions, of a line."""
    try:
        numbers = [number_in(word, "a coordinate") for word in words[1:]]
    except ValueError:
        numbers = []
    counts = {"rotated": len(numbers) == 8, "horizontal": len(numbers) == 4}
    if not counts.get(kind, len(numbers) == 4 or (len(numbers) >= 6 and len(numbers) % 2 == 0)):
        hint = "" if kind == "any" else "; the format ultralytics takes rotated and horizontal boxes together"
        raise ValueError(f"expected a class number and {_WANTED[kind]}, got {len(words) - 1} words after it{hint}")
    label = int(words[0].partition(".")[0]) if _is_class_number(words[0]) else -1
    if label not in names:
        raise ValueError(
            f"expected a class number below {max(names, default=-1) + 1}, of classes.txt or data.yaml, got {words[0]}"
        )
    if len(numbers) == 4:
        centre, sides = np.array(numbers[:2]), np.array(numbers[2:])
    else:
        points = np.reshape(numbers, (-1, 2))
        centre, sides = (points.min(axis=0) + points.max(axis=0)) / 2, np.ptp(points, axis=0)
    inside = (centre >= -_SLACK) & (centre <= 1 + _SLACK) & (sides >= 0) & (sides <= 1 + _SLACK)
    if not inside.all():
        raise ValueError(
            "expected fractions of the image's width and height, of a box whose centre lies in the image "
            "and whose sides are no longer than the image's: are these pixels?"
        )
    return label, numbers


def _is_class_number(word: str) -> bool:
    whole, _, rest = word.partition(".")
    return word.isascii() and whole.isdecimal() and not rest.strip("0") and len(whole) < 7
