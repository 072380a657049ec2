"""Labels for use elsewhere: a Label Studio export, or a workspace's labels -> any format that can be written.

What is written into a folder, besides ``account.csv``:

========= ==============================================================================================
dota      ``labelTxt/ID.txt``; see :mod:`al_rotate.data.formats.dota`
coco      ``annotations.json``; see :mod:`al_rotate.data.formats.coco`
cvat      ``annotations.xml``; see :mod:`al_rotate.data.formats.cvat`
yolo-obb  ``labels/ID.txt``, ``classes.txt``, ``data.yaml``; see :mod:`al_rotate.data.formats.yolo_obb`. This is
          Ultralytics' layout: ``ultralytics`` is the same
========= ==============================================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from ..data import RotatedInstances, images
from ..data.formats import FORMATS as LABEL_FORMATS
from ..data.formats import coco, cvat, dota, yolo_obb
from ..storage.files import atomic_write
from ..workspace import Workspace
from .conversion.addresses import image_suffix
from .conversion.annotations import ACCOUNT, read
from .conversion.export_file import find_image_key, iterate_tasks
from .conversion.label_config import read_xml
from .conversion.options import ReadOptions
from .conversion.tasks import image_id_of

FORMATS = tuple(name for name, known in LABEL_FORMATS.items() if known.write)


@dataclass(frozen=True, eq=False)
class Exported:
    """What was written.

    Args:
        folder: where.
        labels: the labels written.
        account: what was left out, and what is odd; the columns of
            :data:`~al_rotate.bridge.conversion.annotations.ACCOUNT`.
    """

    folder: Path
    labels: RotatedInstances
    account: pd.DataFrame


def convert(
    export_json: str | Path,
    to: str,
    out: str | Path,
    classes: Sequence[str] | None = None,
    *,
    label_config: str | Path | None = None,
    image_files: str | Path | Mapping[str, str | Path] | None = None,
    options: ReadOptions | None = None,
    **changes: Any,
) -> Exported:
    """Convert Label Studio's JSON export, task by task; only the boxes are kept in memory.

    Args:
        export_json: the file.
        to: one of FORMATS.
        out: a folder, made if necessary.
        classes: class names in order; None takes those of the options, else of `label_config`, else the labels of the
            file, sorted, so that exports with the same labels number them alike.
        label_config: a file with the project's labelling configuration (XML).
        image_files: the folder of the images, or image id -> file: to check the sizes of what was drawn on, for the
            sizes of images without a box (which COCO needs), and for YOLO-OBB to copy.
        options: how to read; None takes the defaults of :class:`~al_rotate.bridge.conversion.options.ReadOptions`.
        changes: fields of :class:`~al_rotate.bridge.conversion.options.ReadOptions` that differ from `options`, such
            as ``polygons=True``.

    Raises:
        ValueError: for a file that is no JSON export, an unknown format, a folder with other labels in it, or labels
            that the format cannot hold.
        UnreadableImage: for one of `image_files` that is no image.
    """
    path = Path(export_json)
    _check_format(to)
    options = ReadOptions.merged(options, classes, changes)
    config = None if label_config is None else read_xml(Path(label_config).read_text(encoding="utf-8"))
    survey = _survey(path, options.image_key or (config.image_key if config else None), options.polygons)
    names = options.classes or (config.classes if config else survey.classes(options.rename or {}))
    files = None if image_files is None else _match_files(survey.suffixes, images.resolve(image_files))
    sizes = {**(options.sizes or {}), **{image_id: images.size(file) for image_id, file in (files or {}).items()}}
    reading = read(
        iterate_tasks(path), options=replace(options, classes=tuple(names), sizes=sizes, image_key=survey.image_key)
    )
    silent = [(i, "left out", "no answer that counts") for i in reading.unanswered if i not in reading.quarantined]
    labels = _with_sizes(reading.labels, sizes)
    assert labels.image_sizes is not None
    if to in ("coco", "cvat") and (labels.image_sizes == 0).any():
        lacking = labels.image_ids[(labels.image_sizes == 0).any(axis=1)]
        raise ValueError(
            f"{path}: expected the size of every image, for {to.upper()}, got none of {len(lacking)} without a box, "
            f"e.g. {lacking[0]!r}: give image_files"
        )
    return write_labels(labels, to, out, _extend(reading.account, silent), files, survey.suffixes)


def export_workspace(workspace: Workspace, to: str, out: str | Path) -> Exported:
    """Write the current labels of a workspace.

    Args:
        workspace: open, at least for reading.
        to: one of FORMATS.
        out: a folder, made if necessary.

    Raises:
        ValueError: for an unknown format, no labels, a folder with other labels in it, or labels that the format
            cannot hold.
        UnreadableImage: for an image whose size is unknown and cannot be read.
    """
    _check_format(to)
    labels = workspace.labels()
    if not len(labels):
        raise ValueError(f"expected labelled images in {workspace.folder}, got none yet")
    files = workspace.paths(labels.image_ids)
    if to != "dota":
        sizes = np.zeros((len(labels), 2)) if labels.image_sizes is None else labels.image_sizes
        unknown = labels.image_ids[(sizes == 0).any(axis=1)]
        labels = _with_sizes(labels, {image_id: images.size(files[image_id]) for image_id in unknown})
    return write_labels(labels, to, out, files=files)


def _check_format(to: str) -> None:
    if to not in FORMATS:
        raise ValueError(f"expected a format of {', '.join(FORMATS)}, got {to!r}")


@dataclass
class _Survey:
    """What must be known of an export before its boxes are read."""

    image_key: str
    labels: dict[str, None] = field(default_factory=dict)
    suffixes: dict[str, str] = field(default_factory=dict)  # image id -> its file's

    def classes(self, rename: Mapping[str, str]) -> list[str]:
        """The labels as classes, each once."""
        return sorted({rename.get(label, label) for label in self.labels})


def _survey(path: Path, image_key: str | None, polygons: bool) -> _Survey:
    survey = _Survey(image_key or "")
    kinds = ("rectanglelabels", "polygonlabels") if polygons else ("rectanglelabels",)
    for task in iterate_tasks(path):
        survey.image_key = survey.image_key or find_image_key(task["data"])
        try:
            image_id = image_id_of(task["data"], survey.image_key)
        except ValueError:
            continue  # annotations.read reports it
        survey.suffixes[image_id] = image_suffix(str(task["data"].get(survey.image_key) or ""))
        for annotation in task["annotations"]:
            if annotation.get("was_cancelled"):
                continue  # what was drawn before Skip is no label, and its names need be no classes
            for region in annotation.get("result") or ():
                survey.labels.update(dict.fromkeys(_label_names(region, kinds)))
    return survey


def _label_names(region: Any, kinds: Sequence[str]) -> list[str]:
    """A region's labels, if it is one of these kinds."""
    kind = region.get("type") if isinstance(region, Mapping) else None
    value = region.get("value") if kind in kinds else None
    names = value.get(kind) if isinstance(value, Mapping) else None
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _match_files(image_ids: Iterable[str], files: Mapping[str, Path]) -> dict[str, Path]:
    """Find each image's file; the id of somebody else's task is the name of the file alone."""
    by_name: dict[str, list[Path]] = {}
    for image_id, file in files.items():
        by_name.setdefault(PurePosixPath(image_id).name, []).append(file)
    matches = {}
    for image_id in image_ids:
        candidates = [files[image_id]] if image_id in files else by_name.get(image_id, [])
        if len(candidates) != 1:
            got = " and ".join(map(str, candidates[:2])) or "none"
            raise ValueError(f"expected one file of the image {image_id!r} in image_files, got {got}")
        matches[image_id] = candidates[0]
    return matches


def _with_sizes(labels: RotatedInstances, sizes: Mapping[str, tuple[int, int]]) -> RotatedInstances:
    """Fill in the sizes of images that lack one."""
    own = np.zeros((len(labels), 2), int) if labels.image_sizes is None else labels.image_sizes
    filled = [sizes.get(i, (0, 0)) if 0 in size else size for i, size in zip(labels.image_ids, own, strict=True)]
    return labels.replace(image_sizes=np.array(filled, int).reshape(-1, 2))


def write_labels(
    labels: RotatedInstances,
    to: str,
    out: str | Path,
    account: pd.DataFrame | None = None,
    files: Mapping[str, Path] | None = None,
    suffixes: Mapping[str, str] | None = None,
) -> Exported:
    """Write labels with an account.

    Args:
        labels: with classes, and with `image_sizes` for all formats but DOTA.
        to: one of FORMATS.
        out: a folder, made if necessary.
        account: what was left out of the labels already.
        files: image id -> file, to be copied for YOLO.
        suffixes: image id -> suffix of its file, where `files` does not say it.

    Raises:
        ValueError: for an unknown format, a folder with other labels in it, or labels that the format cannot hold.
    """
    _check_format(to)
    out = Path(out)
    names: Mapping[str, Path] | None = files
    if suffixes is not None:
        names = {image_id: Path(f"_{suffix}") for image_id, suffix in suffixes.items()}
    account = pd.DataFrame(columns=list(ACCOUNT)) if account is None else account
    notes: list[tuple[str, str, str]] = []
    if to == "dota":
        labels, notes = _one_word_classes(labels)
        _refuse_other_labels(out / "labelTxt", labels)
        dota.write(labels, out / "labelTxt")
    elif to == "coco":
        coco.write(labels, out / "annotations.json", names)
    elif to == "cvat":
        cvat.write(labels, out / "annotations.xml", names)
    else:
        fits = yolo_obb.readable(labels)
        detail = "a box reaches so far out of the image that Ultralytics would pass over the whole image; left out"
        notes = [(i, "dropped", detail) for i in labels.image_ids[labels.image_index[~fits]]]
        labels = labels.where(fits)
        _refuse_other_labels(out / "labels", labels)
        yolo_obb.write(labels, out, files)
    account = _extend(account, notes)
    with atomic_write(out / "account.csv") as file:
        account.to_csv(file, index=False)
    return Exported(out, labels, account)


def _one_word_classes(labels: RotatedInstances) -> tuple[RotatedInstances, list[tuple[str, str, str]]]:
    """Replace the spaces in class names, at which MMRotate and other readers of DOTA would cut them."""
    names = {name: "-".join(name.split()) for name in labels.classes or ()}
    if len({*names.values()}) < len(names):
        raise ValueError(f"expected classes that differ by more than spaces and hyphens, got {', '.join(names)}")
    notes = [("", "noted", f"the class {old!r} is written as {new!r}") for old, new in names.items() if old != new]
    return labels.replace(classes=tuple(names.values())), notes


def _refuse_other_labels(folder: Path, labels: RotatedInstances) -> None:
    """Refuse a folder with label files that this export does not write: they would be taken for part of it."""
    ours = {folder / f"{image_id}.txt" for image_id in labels.image_ids}
    others = sorted({*folder.rglob("*.txt")} - ours)
    if others:
        raise ValueError(f"expected no other labels in {folder}, got {others[0]}: delete them, or export elsewhere")


def _extend(account: pd.DataFrame, notes: Sequence[tuple[str, str, str]]) -> pd.DataFrame:
    """Append notes of image, action and detail to an account."""
    more = pd.DataFrame(notes, columns=["image_id", "action", "detail"])
    parts = [part for part in (account, more) if len(part)]
    return pd.concat(parts, ignore_index=True).reindex(columns=list(ACCOUNT)) if parts else account
