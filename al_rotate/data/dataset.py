"""Labels on disk together with the paths of their images: a training or test set."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..storage.files import atomic_write
from . import images
from .columns import as_classes
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
        ValueError: for labels of other classes, an image without a file, or an image of another size than the one that
            was labelled.
        UnreadableImage: for a file that is no image, where the labels know its size.
    """
    path, labels = Path(path), labels.as_labels(as_classes(classes))
    missing = [image_id for image_id in labels.image_ids if image_id not in files]
    if missing:
        raise ValueError(f"expected an image file for every label, got none for {len(missing)}, e.g. {missing[0]!r}")
    if labels.image_sizes is not None:
        with images.allow_large_images():
            require_same_sizes(labels.subset(labels.image_ids[(labels.image_sizes > 0).all(axis=1)]), files)
    with atomic_write(_listing(path)) as listing:
        json.dump({image_id: str(Path(files[image_id]).absolute()) for image_id in labels.image_ids}, listing, indent=0)
    return labels.save(path)


def require_same_sizes(labels: RotatedInstances, files: Mapping[str, str | Path]) -> dict[str, tuple[int, int]]:
    """Compare the sizes of the images that were labelled with those of their files, of which only headers are read.

    Returns:
        image id -> width and height of its file in pixels.

    Raises:
        ValueError: for labels drawn on an image of another size, whose boxes would be in the wrong places; names it.
        UnreadableImage: for a file that is no image.
    """
    sizes = {image_id: images.size(files[image_id]) for image_id in labels.image_ids}
    recorded = (
        {} if labels.image_sizes is None else dict(zip(labels.image_ids, labels.image_sizes.tolist(), strict=True))
    )
    others = [image_id for image_id, size in recorded.items() if all(size) and tuple(size) != sizes[image_id]]
    if others:
        first, n_others = others[0], f" (and {len(others) - 1} others)" if len(others) > 1 else ""
        then, now = ("{} x {}".format(*size) for size in (recorded[first], sizes[first]))
        raise ValueError(
            f"expected the image {first!r}{n_others} to be of {then} pixels, as when it was labelled, got {now}: "
            f"{files[first]}; give the image that was labelled, or scale its boxes and image_sizes"
        )
    return sizes


def read(path: str | Path) -> tuple[RotatedInstances, dict[str, Path]]:
    """Read the labels and image files that :func:`write` wrote.

    Raises:
        FileNotFoundError: when one of the two files is missing.
        ValueError: for other content; names the file.
    """
    listing = _listing(Path(path))
    try:
        files = json.loads(listing.read_text(encoding="utf-8"))
        paths = {image_id: Path(file) for image_id, file in files.items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"{listing}: expected a JSON object of image ids and files, got: {error}") from None
    return RotatedInstances.load(path).as_labels(), paths  # older files may have scores


def _listing(path: Path) -> Path:
    return path.with_suffix(".files.json")
