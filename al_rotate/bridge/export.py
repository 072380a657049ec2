"""The labelled set for use elsewhere: a Label Studio export, or a workspace's labels -> DOTA, COCO or YOLO-OBB.

What is written into a folder, beside ``account.csv``:

========= =================================================================================
dota      ``labelTxt/ID.txt``; see :mod:`al_rotate.dota`
coco      ``annotations.json``; see :mod:`al_rotate.coco`
yolo-obb  ``labels/ID.txt``, ``classes.txt``, ``data.yaml``; see :mod:`al_rotate.yolo_obb`
========= =================================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from ..data import images
from ..data.formats import coco, dota, yolo_obb
from ..data.instances import RotatedInstances
from ..storage import files as _files
from ..workspace import Workspace
from .conversion import export_file as _export_file
from .conversion import tasks
from .conversion.annotations import ACCOUNT, read
from .conversion.label_config import read_xml

FORMATS = ("dota", "coco", "yolo-obb")


@dataclass(frozen=True, eq=False)
class Exported:
    """What has been written.

    Args:
        folder: where.
        labels: what is in it.
        account: what is not, and what is odd; the columns of :data:`~al_rotate.bridge.annotations.ACCOUNT`.
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
    policy: str = "latest",
    polygons: bool = False,
    rename: Mapping[str, str] | None = None,
) -> Exported:
    """Convert Label Studio's JSON export, task by task; what is kept in memory are the boxes.

    Args:
        export_json: the file.
        to: one of FORMATS.
        out: a folder, made if need be.
        classes: class names in order; None takes those of `label_config`, or without one the labels of the file in
            the order in which they come first.
        label_config: a file with the project's labelling configuration (XML).
        image_files: the folder of the images, or image id -> file, to check the sizes of what was drawn on, for the
            sizes of images without a box (which COCO needs), and for YOLO-OBB to link.
        policy, polygons, rename: see :func:`~al_rotate.bridge.annotations.read`.

    Raises:
        ValueError: for a file that is no JSON export, an unknown format, a folder with other labels in it, or labels
            that the format cannot hold.
        UnreadableImage: for one of `image_files` that is no image.
    """
    path = Path(export_json)
    _check(to)
    config = None if label_config is None else read_xml(Path(label_config).read_text(encoding="utf-8"))
    seen = _survey(path, config.image_key if config else None, ("rectanglelabels", "polygonlabels")[: 1 + polygons])
    names = classes or (config.classes if config else dict.fromkeys((rename or {}).get(n, n) for n in seen.labels))
    files = None if image_files is None else _matched(seen.suffixes, images.resolve(image_files))
    sizes = {image_id: images.size(file) for image_id, file in (files or {}).items()}
    reading = read(
        _export_file.tasks(path),
        tuple(names),
        policy=policy,
        polygons=polygons,
        rename=rename,
        sizes=sizes,
        image_key=seen.image_key,
    )
    silent = [(i, "left out", "no answer that counts") for i in reading.unanswered if i not in reading.quarantined]
    labels = _sized(reading.labels, sizes)
    assert labels.image_sizes is not None
    if to == "coco" and (labels.image_sizes == 0).any():
        lacking = labels.image_ids[(labels.image_sizes == 0).any(axis=1)]
        raise ValueError(
            f"{path}: expected the size of every image, for COCO, got none of {len(lacking)} without a box, e.g. "
            f"{lacking[0]!r}: give image_files"
        )
    return _write(labels, to, Path(out), _tell(reading.account, silent), files, seen.suffixes)


def export_workspace(workspace: Workspace, to: str, out: str | Path) -> Exported:
    """Write the current labels of a workspace.

    Args:
        workspace: open, for reading at least.
        to: one of FORMATS.
        out: a folder, made if need be.

    Raises:
        ValueError: for an unknown format, no labels, a folder with other labels in it, or labels that the format
            cannot hold.
        UnreadableImage: for an image whose size is not known and cannot be read.
    """
    _check(to)
    labels = workspace.labels()
    if not len(labels):
        raise ValueError(f"expected labelled images in {workspace.folder}, got none yet")
    files = workspace.paths(labels.image_ids)
    if to != "dota":
        known = np.zeros((len(labels), 2)) if labels.image_sizes is None else labels.image_sizes
        unknown = labels.image_ids[(known == 0).any(axis=1)]
        labels = _sized(labels, {image_id: images.size(files[image_id]) for image_id in unknown})
    nothing = pd.DataFrame(columns=list(ACCOUNT))
    return _write(labels, to, Path(out), nothing, files, {image_id: file.suffix for image_id, file in files.items()})


def _check(to: str) -> None:
    if to not in FORMATS:
        raise ValueError(f"expected a format of {', '.join(FORMATS)}, got {to!r}")


@dataclass
class _Survey:
    """What has to be known of an export before its boxes are read."""

    image_key: str
    labels: dict[str, None] = field(default_factory=dict)  # in the order in which they come first
    suffixes: dict[str, str] = field(default_factory=dict)  # image id -> its file's


def _survey(path: Path, image_key: str | None, kinds: Sequence[str]) -> _Survey:
    found = _Survey(image_key or "")
    for task in _export_file.tasks(path):
        found.image_key = found.image_key or _export_file.image_key(task["data"])
        try:
            image_id = tasks.image_id_of(task["data"], found.image_key)
        except ValueError:
            continue  # annotations.read gives the account
        found.suffixes[image_id] = _export_file.suffix(str(task["data"].get(found.image_key) or ""))
        for one in task["annotations"]:
            if one.get("was_cancelled"):
                continue  # what was drawn before Skip is no label, and its names need be no classes
            for region in one.get("result") or ():
                found.labels.update(dict.fromkeys(_names(region, kinds)))
    return found


def _names(region: Any, kinds: Sequence[str]) -> list[str]:
    """A region's labels, if it is one of these kinds."""
    kind = region.get("type") if isinstance(region, Mapping) else None
    value = region.get("value") if kind in kinds else None
    names = value.get(kind) if isinstance(value, Mapping) else None
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _matched(image_ids: Iterable[str], files: Mapping[str, Path]) -> dict[str, Path]:
    """image id -> file. Of tasks that others made, the id is the name of the file alone."""
    by_name: dict[str, list[Path]] = {}
    for image_id, file in files.items():
        by_name.setdefault(PurePosixPath(image_id).name, []).append(file)
    found = {}
    for image_id in image_ids:
        like = [files[image_id]] if image_id in files else by_name.get(image_id, [])
        if len(like) != 1:
            got = " and ".join(map(str, like[:2])) or "none"
            raise ValueError(f"expected one file of the image {image_id!r} in image_files, got {got}")
        found[image_id] = like[0]
    return found


def _sized(labels: RotatedInstances, sizes: Mapping[str, tuple[int, int]]) -> RotatedInstances:
    """With the sizes of images that had none, where they are known now."""
    known = np.zeros((len(labels), 2), int) if labels.image_sizes is None else labels.image_sizes
    both = [sizes.get(i, (0, 0)) if 0 in size else size for i, size in zip(labels.image_ids, known, strict=True)]
    return labels.replace(image_sizes=np.array(both, int).reshape(-1, 2))


def _write(
    labels: RotatedInstances,
    to: str,
    out: Path,
    account: pd.DataFrame,
    files: Mapping[str, Path] | None,
    suffixes: Mapping[str, str],
) -> Exported:
    if to == "dota":
        labels, told = _one_word(labels)
        _refuse_others(out / "labelTxt", labels)
        dota.write(labels, out / "labelTxt")
    elif to == "coco":
        told = []
        coco.write(labels, out / "annotations.json", {i: f"_{suffix}" for i, suffix in suffixes.items()})
    else:
        fits = yolo_obb.readable(labels)
        detail = "a box reaches so far out of the image that Ultralytics would pass over the whole image; left out"
        told = [(i, "dropped", detail) for i in labels.image_ids[labels.image_index[~fits]]]
        labels = labels.where(fits)
        _refuse_others(out / "labels", labels)
        yolo_obb.write(labels, out, files)
    account = _tell(account, told)
    with _files.atomic_write(out / "account.csv") as file:
        account.to_csv(file, index=False)
    return Exported(out, labels, account)


def _one_word(labels: RotatedInstances) -> tuple[RotatedInstances, list[tuple[str, str, str]]]:
    """Classes without spaces, at which MMRotate and other readers of DOTA's lines would cut them."""
    names = {name: "-".join(name.split()) for name in labels.classes or ()}
    if len({*names.values()}) < len(names):
        raise ValueError(f"expected classes that differ by more than spaces and hyphens, got {', '.join(names)}")
    told = [("", "noted", f"the class {old!r} is written as {new!r}") for old, new in names.items() if old != new]
    return labels.replace(classes=tuple(names.values())), told


def _refuse_others(folder: Path, labels: RotatedInstances) -> None:
    """A label that this export does not write would be taken for a part of it."""
    ours = {folder / f"{image_id}.txt" for image_id in labels.image_ids}
    others = sorted({*folder.rglob("*.txt")} - ours)
    if others:
        raise ValueError(f"expected no other labels in {folder}, got {others[0]}: delete them, or export elsewhere")


def _tell(account: pd.DataFrame, rows: Sequence[tuple[str, str, str]]) -> pd.DataFrame:
    """An account with more rows of image, action and detail."""
    more = pd.DataFrame(rows, columns=["image_id", "action", "detail"])
    parts = [part for part in (account, more) if len(part)]
    return pd.concat(parts, ignore_index=True).reindex(columns=list(ACCOUNT)) if parts else account
