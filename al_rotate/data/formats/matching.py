"""Labels matched with the images that they belong to, and compared with them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from .. import images
from ..dataset import require_same_sizes
from ..instances import RotatedInstances
from .reading import Notes


def match_images(labels: RotatedInstances, files: Mapping[str, Path], notes: Notes) -> RotatedInstances:
    """Give labels the ids and sizes of the images that they belong to.

    An image's labels are those of its id; else the only ones whose id ends in it, or in which it ends (``P1`` and
    ``train/P1``).

    Args:
        labels: as a reader made them.
        files: image id -> file.
        notes: collects what is odd.

    Returns:
        The labels of images in `files`, with their `image_sizes`. Others are in `skipped`, with the reason.

    Raises:
        ValueError: when no image has labels, two images could have the same labels, or labels were drawn on an image
            of another size; names the images.
        UnreadableImage: for a labelled image whose size cannot be read.
    """
    of_label = _matches([*labels.image_ids, *labels.skipped], files)
    known = [label_id for label_id in labels.image_ids if label_id in of_label]
    if len(labels) and not known:
        raise ValueError(
            f"expected labels of the images {', '.join(list(files)[:3])}..., got labels of "
            f"{', '.join(labels.image_ids[:3])}...: no id is the same"
        )
    unknown = {label_id: "not among the images" for label_id in labels.image_ids if label_id not in of_label}
    notes.add("labelled images that are not among the images: left out", next(iter(unknown), ""), len(unknown))
    renamed = {of_label.get(label_id, label_id): reason for label_id, reason in {**labels.skipped, **unknown}.items()}
    kept = labels.subset(known).replace(image_ids=[of_label[label_id] for label_id in known], skipped=renamed)
    with images.allow_large_images():
        sizes = require_same_sizes(kept, files)
    return kept.replace(image_sizes=np.array([sizes[image_id] for image_id in kept.image_ids]).reshape(-1, 2))


def _matches(label_ids: Iterable[str], files: Mapping[str, Path]) -> dict[str, str]:
    """Return label id -> image id, for those that match."""
    by_name: defaultdict[str, list[str]] = defaultdict(list)
    for image_id in files:
        by_name[image_id.rpartition("/")[2]].append(image_id)
    matches: dict[str, str] = {}
    taken: dict[str, str] = {}
    for label_id in label_ids:
        if label_id in files:
            candidates = [label_id]
        else:
            same_name = by_name.get(label_id.rpartition("/")[2], [])
            candidates = [i for i in same_name if f"/{label_id}".endswith(f"/{i}") or f"/{i}".endswith(f"/{label_id}")]
        if len(candidates) > 1:
            raise ValueError(f"expected one image for the labels of {label_id!r}, got {', '.join(candidates)}")
        for image_id in candidates:
            if image_id in taken:
                raise ValueError(
                    f"expected one set of labels for the image {image_id!r}, got {taken[image_id]!r} and {label_id!r}"
                )
            matches[label_id] = taken[image_id] = image_id
            taken[image_id] = label_id
    return matches


def note_oddities(labels: RotatedInstances, notes: Notes) -> None:
    """Note boxes without an area, and boxes whose centre is outside the image."""
    of_box = labels.image_index
    flat = np.flatnonzero((labels.boxes[:, 2:4] <= 0).any(axis=1))
    if len(flat):
        notes.add("boxes without an area", labels.image_ids[of_box[flat[0]]], len(flat))
    if labels.image_sizes is not None:
        sizes = labels.image_sizes[of_box]
        centres = labels.boxes[:, :2]
        outside = np.flatnonzero((sizes > 0).all(axis=1) & ((centres < 0) | (centres > sizes)).any(axis=1))
        if len(outside):
            notes.add("boxes whose centre is outside their image", labels.image_ids[of_box[outside[0]]], len(outside))
    empty = np.flatnonzero(labels.counts == 0)
    if len(empty):
        notes.add("labelled images without an object, taken as empty", labels.image_ids[empty[0]], len(empty))
