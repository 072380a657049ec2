"""What the readers of label files share: they gather objects image by image, and note what is odd."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...boxes import canonical, from_corners
from ...storage.plurals import many
from ..columns import as_classes, require_unicode
from ..instances import RotatedInstances

HORIZONTAL = "horizontal boxes, taken as rotated boxes of angle 0"
_LISTINGS = ("classes.txt", "readme", "license", "train.txt", "val.txt", "test.txt", "trainval.txt", "notes.json")
POLYGONS = "polygons, taken as their rectangles of least area"


@dataclass(frozen=True, eq=False)
class Imported:
    """Labels that existed already.

    Args:
        labels: without scores unless the file has them. Images that could not be read completely are in
            ``labels.skipped`` with the reason: their labels would teach that what is missing is background.
        format: one of :data:`~al_rotate.data.formats.FORMATS`.
        notes: sentences for people: how the format was recognised, what was taken for what, what was left out.
    """

    labels: RotatedInstances
    format: str
    notes: tuple[str, ...]

    def __str__(self) -> str:
        """Return the account: what was read, then the notes, one per line."""
        what = f"{self.format}: {many(len(self.labels), 'image')}, {many(self.labels.n_boxes, 'box')}"
        return "\n".join([what, *(f"  {note}" for note in self.notes)])


class Notes:
    """What is odd in label files: each thing once, with how often it occurs and where first."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def add(self, what: str, where: object = "", times: int = 1) -> None:
        """Note something; `where` is the file, with the line or image if need be."""
        if times:
            self._counts[what] += times
            self._first.setdefault(what, str(where))

    def __iter__(self) -> Iterator[str]:
        """Yield one sentence for each thing noted."""
        for what, times in self._counts.items():
            where = self._first[what]
            yield f"{times} {what}, e.g. in {where}" if where else what


class LabelledObject(NamedTuple):
    """An object: its class, its box (cx, cy, w, h, theta) or its corners (8 numbers), its difficulty."""

    name: str
    shape: Sequence[float]
    difficult: int = 0


class Gathered:
    """Objects gathered image by image, from which :meth:`labels` makes the container.

    Args:
        classes: the class names in order; None takes those that occur.

    Raises:
        ValueError: for a text in place of a sequence of names.
    """

    def __init__(self, classes: Sequence[str] | None) -> None:
        names = as_classes(classes)
        self._given = names
        self._numbers: dict[str, int] = {name: number for number, name in enumerate(names or ())}
        self._files: dict[str, object] = {}
        self._sizes: list[tuple[int, int]] = []
        self._counts: list[int] = []
        self._labels: list[int] = []
        self._shapes: list[Sequence[float]] = []
        self._difficult: list[int] = []
        self._skipped: dict[str, str] = {}

    def add(
        self, image_id: str, file: object, objects: Iterable[LabelledObject], size: tuple[int, int] = (0, 0)
    ) -> None:
        """Add a labelled image.

        Args:
            image_id, file: its id, and the label file, for errors.
            objects: none for an image without an object.
            size: width and height in pixels; 0 where unknown.

        Raises:
            ValueError: for an image that was added before, or a class that is not among those given.
        """
        if image_id in self._files:
            raise ValueError(
                f"{file}: expected one set of labels per image, got {image_id!r} twice: see also "
                f"{self._files[image_id]}"
            )
        self._files[image_id] = file
        self._sizes.append(size)
        before = len(self._labels)
        for name, shape, difficult in objects:
            if self._given is not None and name not in self._numbers:
                raise ValueError(f"{file}: expected one of the classes {', '.join(self._given)}, got {name!r}")
            self._labels.append(self._numbers.setdefault(name, len(self._numbers)))
            self._shapes.append(shape)
            self._difficult.append(difficult)
        self._counts.append(len(self._labels) - before)

    def skip(self, image_id: str, reason: str) -> None:
        """Record an image whose labels cannot be read completely; it is not among the labels."""
        self._skipped[image_id] = reason

    def labels(self) -> RotatedInstances:
        """Make the container, with ``difficult`` if an object has it and ``image_sizes`` if one is known.

        Classes are those given, else those that occur, sorted.
        """
        names = sorted(self._numbers) if self._given is None else list(self._given)
        rank = np.array([names.index(name) for name in self._numbers], np.int32)
        return RotatedInstances(
            list(self._files),
            np.cumsum([0, *self._counts]),
            boxes_of(self._shapes),
            rank[np.array(self._labels, np.int64)],
            classes=names or None,
            difficult=np.array(self._difficult) if any(self._difficult) else None,
            image_sizes=np.array(self._sizes) if any(map(any, self._sizes)) else None,
            skipped=self._skipped,
        )


def is_listing(file: Path) -> bool:
    """Tell from its name whether a text file lists classes or images, or is for people: it holds no labels."""
    return file.name.lower().startswith(_LISTINGS)


def boxes_of(shapes: Sequence[Sequence[float]]) -> NDArray[np.float32]:
    """Make canonical boxes (N, 5) of boxes (5 numbers) and corners (8 numbers)."""
    is_corners = np.array([len(shape) == 8 for shape in shapes], bool)
    boxes = np.zeros((len(shapes), 5), np.float32)
    boxes[is_corners] = from_corners(np.array([s for s in shapes if len(s) == 8], float).reshape(-1, 8))
    # In float32 a box that a writer of this package wrote is canonical, so it is kept bit for bit.
    boxes[~is_corners] = canonical(np.array([s for s in shapes if len(s) == 5], np.float32).reshape(-1, 5))
    return boxes


def files_of(source: Path, suffix: str) -> dict[str, Path]:
    """Find the label files of one image each: image id -> file, sorted by id.

    Args:
        source: a file, or a folder that is searched with its sub-folders; hidden files and folders are ignored.
        suffix: of the files, such as ``.xml``, in any case.

    Returns:
        The id is the POSIX path below the folder, or a single file's name, without the suffix.

    Raises:
        FileNotFoundError: when there is no such file or folder, or no file in it.
        ValueError: for two files that differ in the case of their suffix alone, or a name that is not UTF-8.
    """
    if source.is_file():
        return {source.stem: source}
    files: dict[str, Path] = {}
    for file in source.rglob("*"):
        relative = file.relative_to(source)
        hidden = any(part.startswith(".") for part in relative.parts)
        hidden |= file.name.endswith(".aux.xml")  # of GDAL: where an image lies, and its statistics
        if hidden or file.suffix.lower() != suffix or not file.is_file():
            continue
        require_unicode(str(relative), f"the names of label files in {source}")
        image_id = relative.with_suffix("").as_posix()
        if image_id in files:
            raise ValueError(f"expected one label file per image, got {files[image_id]} and {file}; delete one")
        files[image_id] = file
    if not files:
        raise FileNotFoundError(f"expected {suffix} files with labels in {source}, got none")
    return dict(sorted(files.items()))
