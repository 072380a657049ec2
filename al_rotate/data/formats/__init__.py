"""Label formats on disk, read into and written from RotatedInstances.

:func:`read` reads any of :data:`FORMATS` and gives an account; :func:`write` writes those that can be written. Each
format has a module of its own for more options.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from .. import images as image_files
from ..columns import as_classes
from ..instances import RotatedInstances
from . import coco, cvat, dota, labelme, ultralytics, voc, yolo_obb
from .matching import match_images, note_oddities, require_pixels, without_empty
from .reading import Imported, Notes, files_of, is_listing
from .recognition import Guess, guess, guess_of_text

__all__ = ["EMPTY", "FORMATS", "Empty", "Format", "Guess", "Imported", "guess", "read", "write"]

Empty = Literal["labelled", "unlabelled"]
EMPTY: tuple[Empty, ...] = ("labelled", "unlabelled")
Files = Mapping[str, Path]
Read = Callable[[Path, Sequence[str] | None, Files | None, Notes], RotatedInstances]
Write = Callable[[RotatedInstances, Path, Files | None], Path]


class Format(NamedTuple):
    """A label format: what it is, and how it is read and, where it can be, written."""

    what: str
    read: Read
    write: Write | None = None
    states_order: bool = False  # of the classes
    lists_images: bool = False  # those that nobody has looked at, too


def _read_dota(source: Path, classes: Sequence[str] | None, files: Files | None, notes: Notes) -> RotatedInstances:
    labels = dota.find(source)
    for image_id, file in [*labels.items()] if source.is_dir() else []:
        if is_listing(file) and file.read_bytes().strip() and guess_of_text(file) is None:
            notes.add("files left out, for they hold no labels", labels.pop(image_id))
    return dota.read(labels, classes)


def _read_coco(source: Path, classes: Sequence[str] | None, files: Files | None, notes: Notes) -> RotatedInstances:
    found = [*files_of(source, ".json").values()]
    if len(found) > 1:
        listed = ", ".join(str(file.relative_to(source)) for file in found[:5])
        raise ValueError(f"expected one COCO file in {source}, got {listed}; name the file that you mean")
    return coco.read(found[0], classes, notes)


def _write_dota(labels: RotatedInstances, folder: Path, files: Files | None) -> Path:
    return dota.write(labels, folder / "labelTxt")


def _write_coco(labels: RotatedInstances, path: Path, files: Files | None) -> Path:
    return coco.write(labels, path if path.suffix.lower() == ".json" else path / "annotations.json", files)


def _read_parquet(source: Path, classes: Sequence[str] | None, files: Files | None, notes: Notes) -> RotatedInstances:
    labels = RotatedInstances.load(source)
    names = labels.classes or classes
    if names is None:
        raise ValueError(f"{source}: expected labels with class names, got none; give classes")
    order = names if classes is None else classes
    if unknown := sorted({names[number] for number in set(labels.labels.tolist())} - {*order}):
        raise ValueError(f"{source}: expected one of the classes {', '.join(order)}, got {unknown[0]!r}")
    numbers = np.array([order.index(name) if name in order else -1 for name in names], np.int32)
    notes.add("scores and features left out", source if labels.scores is not None else "", labels.scores is not None)
    return labels.as_labels().replace(labels=numbers[labels.labels], classes=order, skipped=labels.skipped)


def _yolo(kind: ultralytics.Kind) -> Read:
    return lambda source, classes, files, notes: ultralytics.read(source, classes, files, notes, kind)


def _voc(rotated: bool) -> Read:
    return lambda source, classes, files, notes: voc.read(source, classes, notes, rotated)


FORMATS: dict[str, Format] = {
    "dota": Format("DOTA's .txt files", _read_dota, _write_dota),
    "coco": Format("COCO's JSON", _read_coco, _write_coco, True, True),
    "ultralytics": Format("a data.yaml with images/ and labels/", _yolo("any"), yolo_obb.write, True),
    "yolo-obb": Format("YOLO's labels/ with rotated boxes", _yolo("rotated"), yolo_obb.write, True),
    "yolo": Format("YOLO's labels/ with horizontal boxes", _yolo("horizontal"), None, True),
    "rolabelimg": Format("roLabelImg's XML", _voc(True)),
    "voc": Format("Pascal VOC's XML, horizontal boxes", _voc(False)),
    "cvat": Format("CVAT's XML for images", lambda s, c, f, n: cvat.read(s, c, n), cvat.write, True, True),
    "labelme": Format("LabelMe's JSON", lambda s, c, f, n: labelme.read(s, c, n)),
    "parquet": Format("the Parquet files of al_rotate", _read_parquet, None, True),
}


def read(
    source: str | Path,
    format: str | None = None,
    classes: Sequence[str] | None = None,
    images: str | Path | Iterable[str | Path] | Mapping[str, str | Path] | None = None,
    empty: Empty = "labelled",
) -> Imported:
    """Read labels that exist already, of any format.

    Part of the images may be labelled: an image without a label file is not labelled, and an empty label file says that
    there is nothing on the image. COCO and CVAT list images. All that are listed count as labelled, unless `empty` says
    that those without an object are not: CVAT lists images that nobody has opened, too.

    Label Studio's export is read by :func:`al_rotate.bridge.read_export`.

    Args:
        source: a file or folder. YOLO's labels need `images`, or the images beside them, for the sizes.
        format: one of FORMATS; None looks into the files (:func:`guess`).
        classes: the class names in order; None takes the order that the format states, else the alphabet, so that two
            exports with the same classes number them alike.
        images: a folder, files, or image id -> file. The labels get their ids and sizes; labels of other images are
            left out and noted. None keeps the ids that the files have.
        empty: what an image without an object is: labelled, for there is none on it, or unlabelled.

    Returns:
        The labels, the format, and notes on what was odd. Images whose labels are not taken over are in
        ``labels.skipped``, with the reason.

    Raises:
        FileNotFoundError: without labels or images.
        ValueError: for an unknown format, files that cannot be read, or labels of which none can be taken over; names
            the file or image.
    """
    if empty not in EMPTY:
        raise ValueError(f"expected empty to be one of {', '.join(EMPTY)}, got {empty!r}")
    source, notes, names = Path(source), Notes(), as_classes(classes)
    if format is None:
        format, reason = guess(source)
        notes.add(f"read as {format}, for {reason}")
    if format not in FORMATS:
        raise ValueError(f"expected a format among {', '.join(FORMATS)}, got {format!r}")
    if not source.exists():
        raise FileNotFoundError(f"expected a file or folder of labels, got {source}, and there is no such file")
    files = None if images is None else image_files.resolve(images)
    labels = FORMATS[format].read(source, names, files, notes)
    if names is None and labels.classes:
        order = "in the order of the file" if FORMATS[format].states_order else "sorted"
        notes.add(f"classes, {order}: {', '.join(labels.classes)}")
    require_pixels(labels, source)
    if files is not None:
        labels = match_images(labels, files, notes, source)
    if labels.skipped and not len(labels):
        image_id, reason = next(iter(labels.skipped.items()))
        others = f" (and {len(labels.skipped) - 1} others)" if len(labels.skipped) > 1 else ""
        raise ValueError(f"{source}: expected labels that can be taken over, got none: {image_id!r}{others}: {reason}")
    if empty == "unlabelled":
        labels = without_empty(labels, notes)
    elif FORMATS[format].lists_images and not labels.counts.all():
        notes.add("images without an object that nobody has looked at yet: read with empty='unlabelled'")
    note_oddities(labels, notes)
    return Imported(labels, format, tuple(notes))


def write(
    labels: RotatedInstances, format: str, out: str | Path, images: Mapping[str, str | Path] | None = None
) -> Path:
    """Write labels in one of the formats that can be written.

    Args:
        labels: with `classes`; all formats but DOTA need `image_sizes` too.
        format: dota, coco, ultralytics, yolo-obb or cvat.
        out: a folder, made if necessary; for COCO and CVAT also the file.
        images: image id -> file: for the suffixes in COCO and CVAT, and to be copied for YOLO.

    Returns:
        The file or folder written.

    Raises:
        ValueError: for a format that cannot be written, or labels that it cannot hold.
    """
    writer = FORMATS[format].write if format in FORMATS else None
    if writer is None:
        able = ", ".join(name for name, known in FORMATS.items() if known.write)
        raise ValueError(f"expected a format that can be written ({able}), got {format!r}")
    files = None if images is None else {image_id: Path(file) for image_id, file in images.items()}
    return writer(labels, Path(out), files)
