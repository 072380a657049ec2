"""DOTA's label files: one ``ID.txt`` per image, one object per line, ``x1 y1 x2 y2 x3 y3 x4 y4 class difficulty``."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...boxes import from_corners, to_corners
from ...storage.files import atomic_write, path_for_image
from ..columns import as_classes
from ..instances import RotatedInstances
from .reading import files_of
from .values import LARGEST

Source = str | Path | Iterable[str | Path] | Mapping[str, str | Path]

# In the order of MMRotate's datasets, so that labels agree with its configs and checkpoints.
DOTA_V1: tuple[str, ...] = (
    "plane",
    "baseball-diamond",
    "bridge",
    "ground-track-field",
    "small-vehicle",
    "large-vehicle",
    "ship",
    "tennis-court",
    "basketball-court",
    "storage-tank",
    "soccer-ball-field",
    "roundabout",
    "harbor",
    "swimming-pool",
    "helicopter",
)
DOTA_V15: tuple[str, ...] = (*DOTA_V1, "container-crane")
DOTA_V2: tuple[str, ...] = (*DOTA_V15, "airport", "helipad")

DECIMALS = 9  # of written coordinates: enough for the float32 angle of a box of ten pixels
_ROWS_AT_ONCE = 10_000
_HEADERS = ("imagesource:", "gsd:", "acquisition dates:")


def read(source: Source, classes: Sequence[str] | None = None) -> RotatedInstances:
    """Read DOTA labels.

    A line is eight numbers, the class (which may have spaces), and the difficulty, an integer from 0 to 255 that may be
    missing (0). A last word that is a number is the difficulty: ``plane 2`` is a plane of difficulty 2, and
    ``plane 2 0`` is an object of the class ``plane 2``. A single word is the class, even if it is a number. A class
    that begins with a number or has a decimal fraction in it (``10 20 ship``, ``ship 0.9``) is refused unless `classes`
    has it: such a line has more corners than four, or a score. DOTA's header lines and blank lines are ignored; a blank
    file is an image without objects. Four corners that form no rectangle become their rectangle of least area
    (:func:`al_rotate.boxes.from_corners`).

    Args:
        source: a folder with ``.txt`` files, or one with such a folder ``labelTxt`` in it; one file, or several; or
            image id -> file. The image id is the path below that folder, for single files the name, without ``.txt``.
        classes: the class names in order; None takes those in the files, sorted.

    Returns:
        Labels with ``difficult``, images sorted by id (single files: in the order of `source`).

    Raises:
        FileNotFoundError: when there are no label files.
        ValueError: for a line that cannot be read, or whose class is not in `classes`; names file and line.
    """
    if classes is not None:
        return RotatedInstances.concat(stream(source, classes))
    index: defaultdict[str, int] = defaultdict()
    index.default_factory = index.__len__  # a new class gets the next index
    labels = RotatedInstances.concat(_shards(find(source), index))
    names = sorted(index)
    rank = np.array([names.index(name) for name in index], np.int32)
    return labels.replace(labels=rank[labels.labels], classes=names)


def stream(source: Source, classes: Sequence[str], images_at_once: int = 256) -> Iterator[RotatedInstances]:
    """Read as :func:`read` does, yielding some images at a time, for labels larger than memory."""
    index = {name: position for position, name in enumerate(as_classes(classes) or ())}
    for shard in _shards(find(source), index, images_at_once):
        yield shard.replace(classes=classes)


def find(source: Source) -> dict[str, Path]:
    """Find the label files of a source of :func:`read`: image id -> file.

    Raises:
        FileNotFoundError: when there are none.
        ValueError: when two files of a list have the same id.
    """
    if isinstance(source, Mapping):
        return {image_id: Path(file) for image_id, file in source.items()}
    if isinstance(source, (str, Path)):
        root = Path(source) / "labelTxt" if (Path(source) / "labelTxt").is_dir() else Path(source)
        try:
            return files_of(root, ".txt")
        except FileNotFoundError:
            raise FileNotFoundError(
                f"expected DOTA labels: .txt files, their folder or one with labelTxt/, got {source}"
            ) from None
    files: dict[str, Path] = {}
    for file in map(Path, source):
        if file.stem in files:
            raise ValueError(f"expected one file per image id, got {files[file.stem]} and {file}; give their folder")
        files[file.stem] = file
    if not files:
        raise FileNotFoundError("expected DOTA labels: .txt files, got none")
    return files


def write(instances: RotatedInstances, folder: str | Path) -> Path:
    """Write labels as one ``ID.txt`` per image; an image without boxes gets a blank file.

    Corners have nine decimals, finer than the resolution of a float32 box, so :func:`read` recovers the boxes. Only an
    angle at the end of its range, or of a square, may be read as another angle of the same rectangle. Each file is
    written atomically; other files in the folder are kept. Features and image sizes are not written: the format has no
    place for them.

    Args:
        instances: labels with `classes`. Without `difficult`, 0 is written.
        folder: ids with ``/`` become sub-folders.

    Returns:
        The folder.

    Raises:
        ValueError: for detections, which would lose their scores; for ids or class names that could not be read back.
    """
    folder = Path(folder)
    if instances.scores is not None:
        raise ValueError(
            "expected labels, got detections with scores; use write_submission, or instances.replace(scores=None)"
        )
    names = _names(instances)
    files = [path_for_image(folder, image_id, ".txt") for image_id in instances.image_ids]
    folder.mkdir(parents=True, exist_ok=True)
    for path, (_, image) in zip(files, instances, strict=True):
        flags = np.zeros(image.n_boxes, np.uint8) if image.difficult is None else image.difficult
        lines = zip(_corners(image.boxes), image.labels.tolist(), flags.tolist(), strict=True)
        with atomic_write(path) as file:
            file.writelines(f"{corners} {names[label]} {flag}\n" for corners, label, flag in lines)
    return folder


def write_submission(detections: RotatedInstances, folder: str | Path) -> Path:
    """Write detections for DOTA's evaluation server (task 1).

    There is one ``Task1_CLASS.txt`` per class, with lines ``ID score x1 ... y4``. The server expects them zipped.

    Args:
        detections: with `scores` and `classes`. A class without detections gets a blank file.
        folder: a folder of its own.

    Returns:
        The folder.

    Raises:
        ValueError: for labels without scores, image ids with spaces, or class names that cannot be file names.
    """
    folder = Path(folder)
    if detections.scores is None:
        raise ValueError("expected detections with scores, got labels without")
    for image_id in detections.image_ids:
        if image_id.split() != [image_id]:
            raise ValueError(f"expected image ids without spaces in a DOTA submission, got {image_id!r}")
    ids, scores = detections.image_ids[detections.image_index], detections.scores
    for label, name in enumerate(_names(detections)):
        rows = np.flatnonzero(detections.labels == label)
        if "/" in name or "\\" in name:
            raise ValueError(f"expected class names that can be file names, got {name!r}")
        with atomic_write(folder / f"Task1_{name}.txt") as file:
            for start in range(0, len(rows), _ROWS_AT_ONCE):
                chunk = rows[start : start + _ROWS_AT_ONCE]
                lines = zip(ids[chunk], scores[chunk], _corners(detections.boxes[chunk]), strict=True)
                file.writelines(f"{image_id} {score!s} {corners}\n" for image_id, score, corners in lines)
    return folder


def _shards(
    files: Mapping[str, Path], index: Mapping[str, int], images_at_once: int = 256
) -> Iterator[RotatedInstances]:
    remaining = iter(files.items())
    while shard := dict(islice(remaining, images_at_once)):
        corners, labels, difficult, offsets = array("d"), array("i"), array("B"), [0]
        for file in shard.values():
            for numbers, label, flag in _objects(file, index):
                corners.extend(numbers)
                labels.append(label)
                difficult.append(flag)
            offsets.append(len(labels))
        boxes = from_corners(np.array(corners).reshape(-1, 8))
        yield RotatedInstances(list(shard), offsets, boxes, np.array(labels), difficult=np.array(difficult))


def _objects(file: Path, index: Mapping[str, int]) -> Iterator[tuple[list[float], int, int]]:
    """Yield the eight coordinates, the label and the difficulty of each object in a file."""
    number = 0
    try:
        with open(file, encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                words = line.split()
                if not words or line.lstrip().lower().startswith(_HEADERS):
                    continue
                try:
                    parsed = _object(words, index)
                except ValueError as error:
                    raise ValueError(f"{file}:{number}: {error}; the line is {line.strip()[:200]!r}") from None
                yield parsed
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: expected UTF-8 text, got other bytes after line {number}: {error}") from None


def _object(words: list[str], index: Mapping[str, int]) -> tuple[list[float], int, int]:
    try:
        numbers = [float(word) for word in words[:8]]
    except ValueError:
        numbers = []
    if len(numbers) < 8 or len(words) < 9:
        raise ValueError("expected 8 numbers, a class and perhaps a difficulty")
    if not all(abs(number) <= LARGEST for number in numbers):
        raise ValueError(f"expected finite coordinates, of pixels up to {LARGEST:g}")
    name, difficulty = words[8:], 0
    if len(name) > 1 and _is_number(name[-1]):
        last = name.pop()
        difficulty = int(last) if last.isascii() and last.isdecimal() else -1
        if not 0 <= difficulty <= 255:
            raise ValueError(f"expected a difficulty from 0 to 255, got {last}")
    joined = " ".join(name)
    if joined not in index and len(name) > 1 and (_is_number(name[0]) or any(map(_is_fraction, name))):
        raise ValueError(f"expected 4 corners and then the class, got the class {joined!r}: more corners, or a score?")
    try:
        return numbers, index[joined], difficulty
    except KeyError:
        raise ValueError(f"expected one of the classes {', '.join(index)}, got {joined!r}") from None


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _is_fraction(word: str) -> bool:
    return "." in word and _is_number(word)


def _corners(boxes: NDArray[np.float32]) -> list[str]:
    """Format each box's corners."""
    corners = to_corners(boxes.astype(np.float64)).reshape(-1, 8)
    return [" ".join([f"{value:.{DECIMALS}f}" for value in row]) for row in corners.tolist()]


def _names(instances: RotatedInstances) -> tuple[str, ...]:
    if instances.classes is None:
        raise ValueError("expected instances with classes, got None; give them by instances.replace(classes=...)")
    for name in instances.classes:
        if " ".join(name.split()) != name:
            raise ValueError(f"expected class names with single spaces inside only, got {name!r}")
    return instances.classes
