"""What of a labelled set can be trained on: images that can be decoded, boxes that lie in them.

MMRotate drops a box without an area, or outside of its image, without a word, and trains its image as background.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ... import boxes
from ...data import RotatedInstances, dataset, images
from ...evaluation.pseudo_labels import PseudoLabelled
from ...storage.user_warnings import warn_user
from ..inference.processes import cores, this_process

_LEAST_SIDE = 0.01  # pixels
_MOST_SIDES = 20  # sides of its image; a tile may hold a part of a long bridge, but no box of another unit
_MOST_LEFT_OUT = 0.5  # of the boxes; more of them are no slips, but boxes of other images or in another unit


@dataclass(frozen=True)
class Usable:
    """What can be trained on, and an account of the rest.

    Attributes:
        labels: the images that can be decoded, with the boxes that lie in them. An image of which no box is left is
            left out: it is no negative.
        left_out: image id -> why the image, or some of its boxes, is not there.
        n_boxes: left out of images that are kept.
    """

    labels: RotatedInstances
    left_out: dict[str, str]
    n_boxes: int

    @property
    def metrics(self) -> dict[str, float]:
        """How many images and boxes were left out; empty if none was."""
        n_images = sum(image_id not in self.labels for image_id in self.left_out)
        counts = {"images_left_out": float(n_images), "boxes_left_out": float(self.n_boxes)}
        return {name: count for name, count in counts.items() if count}


def usable(files: Mapping[str, Path], labels: RotatedInstances, use: str = "trained") -> Usable:
    """Decode all labelled images and compare their boxes with them. It warns of what it leaves out.

    Args:
        files: image id -> file; images without one are kept, for others to refuse.
        labels: of the images.
        use: of them, in messages: "trained" or "evaluated".

    Raises:
        ValueError: when no image is left; for an image of another size than the one that was labelled; when more than
            half of the boxes are outside of their images or without an area. Names the first image.
    """
    sizes, left_out = _decode({image_id: files[image_id] for image_id in labels.image_ids if image_id in files})
    readable = labels.subset([image_id for image_id in labels.image_ids if image_id not in left_out])
    if left_out and not len(readable):
        raise ValueError(f"expected images that can be {use} on, got none: {next(iter(left_out.values()))}")
    dataset.require_same_sizes(readable.subset(sizes), files)
    faults = _faults(readable, sizes)
    wrong = np.logical_or.reduce([*faults.values()])
    n_faults = {kind: _per_image(readable, rows) for kind, rows in faults.items()}
    n_wrong = _per_image(readable, wrong)
    emptied = (n_wrong > 0) & (n_wrong == readable.counts)
    for position in np.flatnonzero(n_wrong):
        image_id = readable.image_ids[position]
        width, height = sizes.get(image_id, (0, 0))
        kinds = [
            f"{n[position]} {kind.format(width=width, height=height)}" for kind, n in n_faults.items() if n[position]
        ]
        whole = ", and so the image" if emptied[position] else ""
        left_out[image_id] = f"boxes left out{whole}: {' and '.join(kinds)}"
    if wrong.sum() > _MOST_LEFT_OUT * len(wrong):
        first = readable.image_ids[np.flatnonzero(n_wrong)[0]]
        raise ValueError(
            f"expected boxes in their images, got {wrong.sum()} of {len(wrong)} outside, too large or without an area, "
            f"the first in {first}: {left_out[first]}. Are they in pixels, and of these images rather than of whole "
            "scenes?"
        )
    kept = readable.where(~wrong).subset(readable.image_ids[~emptied])
    n_images, n_boxes = len(labels) - len(kept), int(n_wrong[~emptied].sum())
    if left_out and this_process().number == 0:
        first, reason = next(iter(left_out.items()))
        more = f"; and {len(left_out) - 1} more images" if len(left_out) > 1 else ""
        counts = f"{n_images} images and {int(wrong.sum())} boxes"
        warn_user(f"{counts} cannot be {use} on and are left out: {first}: {reason}{more}")
    return Usable(kept, left_out, n_boxes)


def readable(files: Mapping[str, Path], pseudo: PseudoLabelled) -> PseudoLabelled | None:
    """Leave out pseudo-labelled images that have gone, changed their size or cannot be decoded; None if none is left.

    Nobody has labelled them: nothing is lost that needs an account.
    """
    labels = pseudo.labels
    sizes, _ = _decode({i: files[i] for i in labels.image_ids.tolist() if i in files and files[i].is_file()})
    expected = {i: sizes.get(i) for i in labels.image_ids.tolist()}
    if labels.image_sizes is not None:
        expected = dict(zip(expected, map(tuple, labels.image_sizes.tolist()), strict=True))
    kept = [image_id for image_id, size in expected.items() if size is not None and sizes.get(image_id) == size]
    return PseudoLabelled(labels.subset(kept), pseudo.ignored.subset(kept)) if kept else None


def _decode(files: Mapping[str, Path]) -> tuple[dict[str, tuple[int, int]], dict[str, str]]:
    """Return width and height of every image, or why it cannot be decoded: a header says nothing of a cut file."""

    def size(path: Path) -> tuple[int, int] | str:
        try:
            height, width = images.read(path).shape[:2]
            return width, height
        except images.UnreadableImage as error:
            return str(error)

    with ThreadPoolExecutor(min(8, cores())) as pool:
        sizes = dict(zip(files, pool.map(size, files.values()), strict=True))
    unreadable = {image_id: reason for image_id, reason in sizes.items() if isinstance(reason, str)}
    return {image_id: size for image_id, size in sizes.items() if not isinstance(size, str)}, unreadable


def _faults(labels: RotatedInstances, sizes: Mapping[str, tuple[int, int]]) -> dict[str, NDArray[np.bool_]]:
    """What is wrong with boxes -> which ones, (N,): no area, far too large, no pixel in common with their image."""
    known = np.array([sizes.get(image_id, (np.inf, np.inf)) for image_id in labels.image_ids], float).reshape(-1, 2)
    size = known[labels.image_index]
    small = labels.boxes[:, 2:4].min(axis=1) < _LEAST_SIDE
    large = ~small & (labels.boxes[:, 2:4].max(axis=1) > _MOST_SIDES * size.max(axis=1))
    centres = labels.boxes[:, :2]
    outside = ~small & ~large & ((centres < 0).any(axis=1) | (centres > size).any(axis=1))
    rows = np.flatnonzero(outside)
    whole = np.column_stack([size[rows] / 2, size[rows], np.zeros(len(rows))])
    outside[rows] = boxes.iou(labels.boxes[rows], whole, paired=True) == 0
    return {
        "without an area": small,
        "outside of its {width} x {height} pixels": outside,
        f"more than {_MOST_SIDES} times as long as its {{width}} x {{height}} pixels": large,
    }


def _per_image(labels: RotatedInstances, rows: NDArray[np.bool_]) -> NDArray[np.intp]:
    return np.bincount(labels.image_index[rows], minlength=len(labels))
