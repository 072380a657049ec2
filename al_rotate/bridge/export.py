"""Labels for use elsewhere: a Label Studio export, or a workspace's labels -> any format that can be written.

What is written into a folder, besides ``account.csv``:

========= ==============================================================================================
dota      ``labelTxt/ID.txt``; see :mod:`al_rotate.data.formats.dota`
coco      ``annotations.json``; see :mod:`al_rotate.data.formats.coco`
geojson   ``boxes.geojson``, in world coordinates; see :mod:`al_rotate.data.geojson`
cvat      ``annotations.xml``; see :mod:`al_rotate.data.formats.cvat`
yolo-obb  ``labels/ID.txt``, ``classes.txt``, ``data.yaml``; see :mod:`al_rotate.data.formats.yolo_obb`. This is
          Ultralytics' layout: ``ultralytics`` is the same
========= ==============================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..data import RotatedInstances, geojson, images
from ..data.formats import FORMATS as LABEL_FORMATS
from ..data.formats import coco, cvat, dota, yolo_obb
from ..storage.files import atomic_write, path_for_image
from ..storage.plurals import many
from ..workspace import Workspace
from .conversion.annotations import ACCOUNT, read
from .conversion.export_file import iterate_tasks
from .conversion.label_config import LabelConfig, read_xml
from .conversion.options import ReadOptions
from .survey import match_files, survey_export

FORMATS = tuple(name for name, known in LABEL_FORMATS.items() if known.write)
GEOJSON = "geojson"  # also written: boxes of georeferenced images


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
    crs: str = geojson.WGS84,
    **changes: Any,
) -> Exported:
    """Convert Label Studio's JSON export, task by task; only the boxes are kept in memory.

    Args:
        export_json: the file.
        to: one of FORMATS, or GEOJSON.
        out: a folder, made if necessary.
        classes: class names in order; None takes those of the options, else of `label_config`, else the labels of the
            file, sorted, so that exports with the same labels number them alike.
        label_config: a file with the project's labelling configuration (XML).
        image_files: the folder of the images, or image id -> file: to check the sizes of what was drawn on, for the
            sizes of images without a box (which COCO needs), for YOLO-OBB to copy, and for GeoJSON to say where they
            lie.
        options: how to read; None takes the defaults of :class:`~al_rotate.bridge.conversion.options.ReadOptions`.
        crs: of GeoJSON, see :func:`al_rotate.data.geojson.write`.
        changes: fields of :class:`~al_rotate.bridge.conversion.options.ReadOptions` that differ from `options`, such
            as ``polygons=False``.

    Raises:
        ValueError: for a file that is no JSON export or has no task that can be read, an unknown format, a folder with
            other labels in it, or labels that the format cannot hold. A task that cannot be read is left out.
        UnreadableImage: for one of `image_files` that is no image.
    """
    path = Path(export_json)
    _check_format(to)
    options = ReadOptions.merged(options, classes, changes)
    config = None if label_config is None else _read_config(Path(label_config))
    survey = survey_export(path, options.image_key or (config.image_key if config else None), options.polygons)
    to_name = options.to_name or (config.to_name if config else survey.image_object())
    names = options.classes or (config.classes if config else survey.classes(to_name, options.rename or {}))
    options = replace(
        options.completed(config) if config else options,
        classes=tuple(names),
        image_key=survey.image_key,
        to_name=to_name,
    )
    files, suffixes, sizes = None, survey.suffixes, dict(options.sizes or {})
    if image_files is not None:
        given = images.resolve(image_files)
        same_names = survey.same_names(given)
        apart = {image_id for image_id, addresses in survey.addresses.items() if addresses <= same_names.keys()}
        suffixes = {i: suffix for i, suffix in suffixes.items() if i not in apart}
        suffixes |= {image_id: given[image_id].suffix for image_id in same_names.values()}
        files = match_files(suffixes, given)
        sizes |= {image_id: images.size(file) for image_id, file in files.items()}
        options = replace(options, image_ids=same_names)
    odd: list[str] = []
    reading = read(iterate_tasks(path, odd), options=replace(options, sizes=sizes))
    silent = [("", "left out", entry) for entry in odd]
    silent += [(i, "left out", "no answer that counts") for i in reading.unanswered if i not in reading.quarantined]
    labels = _with_sizes(reading.labels, sizes)
    assert labels.image_sizes is not None
    if to in ("coco", "cvat") and (labels.image_sizes == 0).any():
        lacking = labels.image_ids[(labels.image_sizes == 0).any(axis=1)]
        raise ValueError(
            f"{path}: expected the size of every image, for {to.upper()}, got none of {len(lacking)} without a box, "
            f"e.g. {lacking[0]!r}: give image_files"
        )
    return write_labels(labels, to, out, _extend(reading.account, silent), files, suffixes, crs)


def export_workspace(workspace: Workspace, to: str, out: str | Path, crs: str = geojson.WGS84) -> Exported:
    """Write the current labels of a workspace.

    Args:
        workspace: open, at least for reading.
        to: one of FORMATS, or GEOJSON.
        out: a folder, made if necessary.
        crs: of GeoJSON, see :func:`al_rotate.data.geojson.write`.

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
    return write_labels(labels, to, out, files=files, crs=crs)


def _check_format(to: str) -> None:
    if to not in (*FORMATS, GEOJSON):
        raise ValueError(f"expected a format of {', '.join((*FORMATS, GEOJSON))}, got {to!r}")


def _read_config(path: Path) -> LabelConfig:
    """Read a labelling configuration from a file, which the error names."""
    try:
        return read_xml(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


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
    crs: str = geojson.WGS84,
) -> Exported:
    """Write labels with an account.

    Args:
        labels: with classes, and with `image_sizes` for all formats but DOTA and GeoJSON.
        to: one of FORMATS, or GEOJSON.
        out: a folder, made if necessary.
        account: what was left out of the labels already.
        files: image id -> file, to be copied for YOLO; for GeoJSON they say where the boxes lie.
        suffixes: image id -> suffix of its file, where `files` does not say it.
        crs: of GeoJSON, see :func:`al_rotate.data.geojson.write`.

    Raises:
        ValueError: for an unknown format, a folder with other labels in it, or labels that the format cannot hold.
    """
    _check_format(to)
    out = Path(out)
    names: Mapping[str, Path] | None = files
    if suffixes is not None:
        names = {image_id: Path(f"_{suffix}") for image_id, suffix in suffixes.items()}
    account = pd.DataFrame(columns=list(ACCOUNT)) if account is None else account
    labels, notes = _with_names_of_files(labels) if to in ("dota", "yolo-obb", "ultralytics") else (labels, [])
    if to == "dota":
        labels, renamed = _one_word_classes(labels)
        notes += renamed
        _refuse_other_labels(out / "labelTxt", labels)
        dota.write(labels, out / "labelTxt")
    elif to == "coco":
        coco.write(labels, out / "annotations.json", names)
    elif to == "cvat":
        cvat.write(labels, out / "annotations.xml", names)
    elif to == GEOJSON:
        labels, notes = _located(labels, files)
        geojson.write(labels, out / "boxes.geojson", files or {}, crs)
    else:
        fits = yolo_obb.readable(labels)
        detail = "a box reaches so far out of the image that Ultralytics would pass over the whole image; left out"
        notes += [(i, "dropped", detail) for i in labels.image_ids[labels.image_index[~fits]]]
        labels = labels.where(fits)
        if labels.difficult is not None and (hard := np.count_nonzero(labels.difficult)):
            detail = f"written like all others: {many(hard, 'difficult box')}; YOLO's labels have no place for that"
            notes.append(("", "noted", detail))
        _refuse_other_labels(out / "labels", labels)
        yolo_obb.write(labels, out, files)
    account = _extend(account, notes)
    with atomic_write(out / "account.csv") as file:
        account.to_csv(file, index=False)
    return Exported(out, labels, account)


def _located(
    labels: RotatedInstances, files: Mapping[str, Path] | None
) -> tuple[RotatedInstances, list[tuple[str, str, str]]]:
    """Leave out the boxes of which nothing says where they lie."""
    if files is None:
        raise ValueError("expected image_files, which say where the boxes lie, with geojson")
    found, missing = geojson.located(labels, files)
    if missing and not found:
        raise ValueError(f"expected georeferenced images, got none of {len(missing)}: {next(iter(missing.values()))}")
    notes = [(image_id, "left out", reason) for image_id, reason in missing.items()]
    if without := int((labels.counts == 0).sum()):
        notes.append(("", "noted", f"{without} images without a box: GeoJSON has a place for boxes alone"))
    return labels.where(np.isin(labels.image_ids[labels.image_index].astype(str), [*found])), notes


def _one_word_classes(labels: RotatedInstances) -> tuple[RotatedInstances, list[tuple[str, str, str]]]:
    """Replace the spaces in class names, at which MMRotate and other readers of DOTA would cut them."""
    names = {name: "-".join(name.split()) for name in labels.classes or ()}
    if len({*names.values()}) < len(names):
        raise ValueError(f"expected classes that differ by more than spaces and hyphens, got {', '.join(names)}")
    notes = [("", "noted", f"the class {old!r} is written as {new!r}") for old, new in names.items() if old != new]
    return labels.replace(classes=tuple(names.values())), notes


def _with_names_of_files(labels: RotatedInstances) -> tuple[RotatedInstances, list[tuple[str, str, str]]]:
    """Leave out images after which no file can be called."""
    notes = []
    for image_id in labels.image_ids:
        try:
            path_for_image(Path(), image_id, ".txt")
        except ValueError as error:
            notes.append((str(image_id), "left out", str(error)))
    left_out = {image_id for image_id, *_ in notes}
    return labels.subset([image_id for image_id in labels.image_ids if image_id not in left_out]), notes


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
