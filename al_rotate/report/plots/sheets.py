"""Sheets of many images: the top of a ranking, and labels in doubt."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...boxes import to_corners
from ...data import SHOWN_SCORE, RotatedInstances
from ...data import images as image_files
from ...sampling.explanations import explain
from .axes import grid
from .boxes import class_legend, outline, show_boxes, show_image

Images = str | Path | Iterable[str | Path] | Mapping[str, str | Path]

_DETECTED, _LABELLED = "#3db8ff", "#ffb000"
_KINDS = {
    "overlooked": "overlooked?",
    "swapped": "wrong class?",
    "badly_located": "badly located?",
    "spurious": "nothing there?",
}


def contact_sheet(
    ranking: pd.DataFrame,
    images: Images,
    detections: RotatedInstances | None = None,
    n: int = 8,
    columns: int = 4,
    axes: Any = None,
    least_score: float = SHOWN_SCORE,
) -> NDArray[Any]:
    """Draw the first images of a ranking, with predicted boxes, their scores, and the sentence why.

    Args:
        ranking: of :func:`al_rotate.rank`, :meth:`al_rotate.ActiveLoop.query` or ``review``: image_id, best first.
            Without a column ``why``, the sentence is that of :func:`al_rotate.sampling.explain`.
        images: the pool: a folder, files, or image id -> file.
        detections: on the pool; images that it lacks are drawn without boxes.
        n: images at most.
        columns: of the sheet.
        axes: an array of as many Axes as images are drawn, in rows of `columns`; new ones if None.
        least_score: detections below it are left out.

    Returns:
        The Axes, (rows, columns); those that stay empty are invisible.

    Raises:
        ValueError: for a ranking without images, or an image that is not among `images`.
    """
    top = ranking.head(n)
    if "image_id" not in top or not len(top):
        raise ValueError(f"expected a ranking with a column image_id and a row, got {[*ranking.columns]}")
    files = find_files(images, top["image_id"])
    sentences = reasons(ranking, top["image_id"].tolist())
    photos = [read_or_grey(files[image_id]) for image_id in top["image_id"]]
    columns = min(columns, len(top))
    aspect = max(photo.shape[0] / photo.shape[1] for photo in photos)
    captions = [textwrap.wrap(why, 48) for why in sentences]
    text = 0.35 + 0.13 * max(map(len, captions))
    sheet = grid(axes, -(-len(top) // columns), columns, 2.8, aspect, text)
    drawn = []
    for ax, image_id, photo, lines in zip(sheet.flat, top["image_id"], photos, captions, strict=False):
        image = detections[image_id] if detections is not None and image_id in detections else None
        show_boxes(photo, image, ax=ax, title=shorten(image_id, 34), least_score=least_score)
        ax.set_xlabel("\n".join(lines), fontsize=6.5, loc="left", parse_math=False)
        if image is not None:
            drawn.append(image if image.scores is None else image.where(image.scores >= least_score))
    for ax in sheet.flat[: len(top)]:
        ax.set_anchor("N")  # pictures of one row begin at one height
    for ax in sheet.flat[len(top) :]:
        ax.set_visible(False)
    if axes is None:
        class_legend(sheet.flat[0].figure, *drawn)
    return sheet


def label_error_sheet(
    errors: pd.DataFrame,
    images: Images,
    detections: RotatedInstances,
    labels: RotatedInstances,
    n: int = 6,
    axes: Any = None,
    margin: float = 1.5,
) -> NDArray[Any]:
    """Draw labels in doubt side by side: the label as it is, and what the detector saw there.

    Args:
        errors: of :func:`al_rotate.evaluation.label_errors.find_label_errors`, the most suspicious first.
        images: a folder, files, or image id -> file.
        detections, labels: what the errors were found in.
        n: rows at most.
        axes: an array of two Axes per error; new ones if None.
        margin: of the part of the image that is drawn around the box, in the box's longer side.

    Returns:
        The Axes, (errors, 2): labels on the left, detections on the right.

    Raises:
        ValueError: without an error, or for an image that is not among `images`.
    """
    top = errors.head(n)
    if not len(top):
        raise ValueError("expected an error at least, got an empty table: no label is in doubt")
    files = find_files(images, top["image_id"])
    sheet = grid(axes, len(top), 2, 2.6, 1.0)
    for (left, right), row in zip(sheet, top.to_dict("records"), strict=True):
        image_id = row["image_id"]
        photo, label, found = read_or_grey(files[image_id]), labels[image_id], detections[image_id]
        box = label.boxes[row["label"]] if row["label"] >= 0 else found.boxes[row["detection"]]
        kind = _KINDS.get(row["kind"], row["kind"].replace("_", " "))
        was = f"label: {row['was']}" if row["was"] else "no label"
        seen = f"detector: {row['found']} {row['probability']:.2f}" if row["found"] else "detector: nothing"
        for ax, title, instances, at, strong in (
            (left, f"{shorten(image_id, 26)}\n{was}", label, row["label"], _LABELLED),
            (right, f"{kind} {row['suspicion']:.2f}\n{seen}", found, row["detection"], _DETECTED),
        ):
            show_image(photo, ax, title)
            others = np.arange(instances.n_boxes) != at
            if instances.scores is not None:
                others &= instances.scores >= SHOWN_SCORE
            outline(ax, instances.boxes[others], ["#ffffff"] * int(others.sum()), "-", 0.6)
            if at >= 0:
                outline(ax, instances.boxes[[at]], [strong], "-", 2.0)
            elif instances is found or row["label"] < 0:  # where the other one has its box
                outline(ax, box[None], [strong], "--", 1.0)
            _look_at(ax, box, photo, margin)
    return sheet


def reasons(ranking: pd.DataFrame, image_ids: list[str]) -> list[str]:
    """Return the sentence why of each image: the table's own, or as its columns explain it; empty where none does."""
    if "why" in ranking:
        why = dict(zip(ranking["image_id"], ranking["why"], strict=True))
        return [str(why[image_id] or "") for image_id in image_ids]
    needed = {"rank", "n_boxes", "n_shown"}
    return explain(ranking, image_ids) if needed <= {*ranking.columns} else [""] * len(image_ids)


def find_files(images: Images, image_ids: Iterable[str]) -> dict[str, Path]:
    """Return image id -> file; ValueError for an image that is not among them."""
    files = image_files.resolve(images)
    if missing := [image_id for image_id in image_ids if image_id not in files]:
        raise ValueError(f"expected the file of each image, got none of {missing[0]!r} among {len(files)} images")
    return files


def read_or_grey(path: Path) -> NDArray[np.uint8]:
    """Read an image; a grey square stands for one that cannot be read."""
    try:
        with image_files.allow_large_images():
            return image_files.read(path)
    except image_files.UnreadableImage:
        return np.full((64, 64, 3), 200, np.uint8)


def shorten(image_id: str, most: int = 24) -> str:
    """Return the end of an image id that is too long for a title."""
    return image_id if len(image_id) <= most else f"…{image_id[1 - most :]}"


def _look_at(ax: Any, box: NDArray, photo: NDArray, margin: float) -> None:
    """Show a square around a box, within the image."""
    corners = to_corners(box[None])[0]
    side = max(np.ptp(corners, axis=0).max(), 12) * (1 + margin)
    height, width = photo.shape[:2]
    side = min(side, max(height, width))
    x, y = (
        float(np.clip(centre - side / 2, 0, max(0, limit - side)))
        for centre, limit in zip(box[:2], (width, height), strict=True)
    )
    ax.set(xlim=(x, x + side), ylim=(y + side, y))
