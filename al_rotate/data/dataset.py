"""Labels on disk together with the paths of their images: a training or test set."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..storage.files import atomic_write
from .instances import RotatedInstances


def write(path: str | Path, files: Mapping[str, str | Path], labels: RotatedInstances, classes: Sequence[str]) -> Path:
    """Write labels to a Parquet file, and the absolute paths of their images to ``.files.json`` next to it.

    Args:
        path: the Parquet file.
        files: image id -> file; further images are ignored.
        labels: written as :meth:`RotatedInstances.as_labels` has them.
        classes: the class names.

    Returns:
        The path.

    Raises:
        ValueError: for labels of other classes, or an image without a file.
    """
    path, labels = Path(path), labels.as_labels(classes)
    missing = [image_id for image_id in labels.image_ids if image_id not in files]
    if missing:
        raise ValueError(f"expected an image file for every label, got none for {len(missing)}, e.g. {missing[0]!r}")
    with atomic_write(_listing(path)) as listing:
        json.dump({image_id: str(Path(files[image_id]).absolute()) for image_id in labels.image_ids}, listing, indent=0)
    return labels.save(path)


def read(path: str | Path) -> tuple[RotatedInstances, dict[str, Path]]:
    """Read the labels and image files that :func:`write` wrote."""
    files = json.loads(_listing(Path(path)).read_text(encoding="utf-8"))
    labels = RotatedInstances.load(path).as_labels()  # older files may have scores
    return labels, {image_id: Path(file) for image_id, file in files.items()}


def _listing(path: Path) -> Path:
    return path.with_suffix(".files.json")
