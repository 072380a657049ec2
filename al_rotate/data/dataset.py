"""Labels together with the files of their images, on disk: what a training or a test set is made of."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..storage.files import atomic_write
from .instances import RotatedInstances


def write(path: str | Path, files: Mapping[str, str | Path], labels: RotatedInstances, classes: Sequence[str]) -> Path:
    """Write ``path`` (Parquet) and beside it ``.files.json`` with the absolute path of each image.

    Raises:
        ValueError: for labels of other classes, or without an image file.
    """
    path, labels = Path(path), labels.as_labels(classes)
    missing = [image_id for image_id in labels.image_ids if image_id not in files]
    if missing:
        raise ValueError(f"expected an image file for every label, got none for {len(missing)}, e.g. {missing[0]!r}")
    with atomic_write(_listing(path)) as listing:
        json.dump({image_id: str(Path(files[image_id]).absolute()) for image_id in labels.image_ids}, listing, indent=0)
    return labels.save(path)


def read(path: str | Path) -> tuple[RotatedInstances, dict[str, Path]]:
    """The labels and the image files of :func:`write`."""
    files = json.loads(_listing(Path(path)).read_text(encoding="utf-8"))
    return RotatedInstances.load(path), {image_id: Path(file) for image_id, file in files.items()}


def plain(labels: RotatedInstances, classes: Sequence[str]) -> RotatedInstances:
    """Labels as :func:`write` keeps them.

    Raises:
        ValueError: for labels of other classes.
    """
    if labels.classes not in (None, tuple(classes)):
        raise ValueError(f"expected labels of the classes {tuple(classes)}, got {labels.classes}")
    return labels.replace(classes=tuple(classes), class_scores=None, box_features=None, image_features=None)


def _listing(path: Path) -> Path:
    return path.with_suffix(".files.json")
