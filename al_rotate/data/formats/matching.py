"""Labels matched with the images that they belong to, and compared with them."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from .. import images
from ..dataset import require_same_sizes
from ..instances import RotatedInstances
from .reading import Notes
from .values import image_id_of


def match_images(labels: RotatedInstances, files: Mapping[str, Path], notes: Notes, source: object) -> RotatedInstances:
    """Give labels the ids and sizes of the images that they belong to (:func:`pair`).

    Args:
        labels: as a reader made them.
        files: image id -> file.
        notes: collects what is odd.
        source: of the labels, for errors.

    Returns:
        The labels of images in `files`, with their `image_sizes`. Others are in `skipped` with the reason: labels of
        no image or of several, of an image of another size than the one that was labelled, and of an image whose size
        cannot be read.

    Raises:
        ValueError: when there are labels, and none of an image in `files`.
    """
    image_of, left_out = pair([*labels.image_ids, *labels.skipped], files)
    known = [label_id for label_id in labels.image_ids if label_id in image_of]
    if len(labels) and not known:
        reasons = {left_out[label_id] for label_id in labels.image_ids}
        raise ValueError(
            f"{source}: expected labels of the images {', '.join(list(files)[:3])}..., got labels of "
            f"{', '.join(labels.image_ids[:3])}...: {min(reasons)}"
        )
    skipped = {image_of.get(label_id, label_id): reason for label_id, reason in labels.skipped.items()}
    for label_id in labels.image_ids:
        if label_id in left_out:
            skipped[label_id] = left_out[label_id]
            notes.add(f"labelled images left out: {_kind(left_out[label_id])}", label_id)
    kept = labels.subset(known).replace(image_ids=[image_of[label_id] for label_id in known])
    sizes: dict[str, tuple[int, int]] = {}
    for image_id, image in kept:
        try:
            with images.allow_large_images():
                sizes |= require_same_sizes(image, files)
        except (ValueError, images.UnreadableImage) as error:
            skipped[image_id] = str(error)
            notes.add("labelled images left out: of another size than when they were labelled, or damaged", image_id)
    fitting = kept.subset(sizes)
    return fitting.replace(image_sizes=np.array([*sizes.values()], int).reshape(-1, 2), skipped=skipped)


def pair(label_ids: Iterable[str], image_ids: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Find the image that labels belong to: the one of their id, else the only one whose id ends in theirs.

    Or whose id is the end of theirs: ``P1`` and ``train/P1`` belong together, either way round. An image's suffix in a
    label's id, and the way in which Unicode composes its letters, do not count.

    Returns:
        Label id -> image id for those that have one, and label id -> reason for the others: no such image, several, or
        one that other labels claim too.
    """
    known = set(image_ids)
    by_name: defaultdict[str, list[str]] = defaultdict(list)
    for image_id in sorted(known):
        by_name[_plain(image_id).rpartition("/")[2]].append(image_id)
    wanted = {}
    left_out = {}
    for label_id in label_ids:
        candidates = [label_id] if label_id in known else _candidates(label_id, by_name)
        if len(candidates) == 1:
            wanted[label_id] = candidates[0]
        elif candidates:
            left_out[label_id] = f"expected one image of these labels, got {', '.join(candidates[:3])}"
        else:
            left_out[label_id] = "not among the images"
    claims = Counter(wanted.values())
    matches = {}
    for label_id, image_id in wanted.items():
        if label_id == image_id or claims[image_id] == 1:
            matches[label_id] = image_id
        else:
            others = [other for other, of in wanted.items() if of == image_id and other != label_id]
            left_out[label_id] = f"expected one set of labels of the image {image_id!r}, got also {others[0]!r}"
    return matches, left_out


def _candidates(label_id: str, by_name: Mapping[str, list[str]]) -> list[str]:
    label = f"/{_plain(label_id)}"
    found = []
    for image_id in by_name.get(label.rpartition("/")[2], []):
        image = f"/{_plain(image_id)}"
        if label.endswith(image) or image.endswith(label):
            found.append(image_id)
    return found


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", image_id_of(name))


def _kind(reason: str) -> str:
    """Return what many reasons have in common, for the notes."""
    for start, kind in (
        ("expected one image", "several images could be meant"),
        ("expected one set", "labelled twice"),
    ):
        if reason.startswith(start):
            return kind
    return reason


def without_empty(labels: RotatedInstances, notes: Notes) -> RotatedInstances:
    """Return the images that have an object; the others are noted as not labelled yet."""
    blank = labels.image_ids[labels.counts == 0]
    notes.add("images without an object, taken as not labelled yet", "".join(blank[:1]), len(blank))
    return labels.subset(labels.image_ids[labels.counts > 0]).replace(skipped=labels.skipped)


def require_pixels(labels: RotatedInstances, source: object) -> None:
    """Refuse labels whose coordinates are all fractions of the image; formats in pixels would make specks of them.

    Raises:
        ValueError: names source and image.
    """
    if labels.n_boxes and 0 < labels.boxes[:, :4].max() <= 1 and labels.boxes[:, :2].min() >= 0:
        raise ValueError(
            f"{source}: expected coordinates in pixels, got none above 1, e.g. {labels.boxes[0, :4].tolist()} of "
            f"{labels.image_ids[labels.image_index[0]]!r}: are these fractions of the image's width and height?"
        )


def note_oddities(labels: RotatedInstances, notes: Notes) -> None:
    """Note boxes without an area, outside the image or drawn twice, and images without an object."""
    of_box = labels.image_index
    _, first = np.unique(np.column_stack([of_box, labels.labels, labels.boxes]), axis=0, return_index=True)
    copies = np.setdiff1d(np.arange(labels.n_boxes), first)
    if len(copies):
        notes.add("boxes that are exact copies of another", labels.image_ids[of_box[copies[0]]], len(copies))
    flat = np.flatnonzero((labels.boxes[:, 2:4] <= 0).any(axis=1))
    if len(flat):
        notes.add("boxes without an area", labels.image_ids[of_box[flat[0]]], len(flat))
    if labels.image_sizes is not None:
        sizes = labels.image_sizes[of_box]
        centres = labels.boxes[:, :2]
        outside = np.flatnonzero((sizes > 0).all(axis=1) & ((centres < 0) | (centres > sizes)).any(axis=1))
        if len(outside):
            notes.add("boxes whose centre is outside their image", labels.image_ids[of_box[outside[0]]], len(outside))
    blank = labels.image_ids[labels.counts == 0]
    notes.add("labelled images without an object, taken as empty", "".join(blank[:1]), len(blank))
