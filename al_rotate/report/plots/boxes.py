"""Images with rotated boxes on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

from ...boxes import to_corners
from ...boxes.drawing import colour
from ...data import RotatedInstances
from ...sampling.deprecated import renamed_argument
from .axes import new_axes, without_mathtext

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SCORED_BOXES = 15  # of an image up to which scores are written: more would cover it


@renamed_argument("found", "detections")
@renamed_argument("truth", "labels")
def show_boxes(
    image: NDArray[np.uint8],
    detections: RotatedInstances | None = None,
    labels: RotatedInstances | None = None,
    ax: Axes | None = None,
    title: str | None = None,
    least_score: float = 0.0,
) -> Axes:
    """Draw an image with rotated boxes, one colour per class: detections solid with scores, labels dashed.

    Args:
        image: (H, W, 3) uint8 RGB.
        detections: on this one image.
        labels: of this one image.
        ax: where to draw; new Axes if None.
        title: above the image.
        least_score: detections below it are left out.
    """
    ax = show_image(image, ax, title)
    for boxes, style in ((labels, "--"), (detections, "-")):
        if boxes is None:
            continue
        if boxes.scores is not None:
            boxes = boxes.where(boxes.scores >= least_score)
        outline(ax, boxes.boxes, [colour(int(label)) for label in boxes.labels], style)
        if style == "-" and boxes.scores is not None and boxes.n_boxes <= SCORED_BOXES:
            _write_scores(ax, boxes)
    return ax


def show_image(image: NDArray[np.uint8], ax: Axes | None = None, title: str | None = None) -> Axes:
    """Draw an image (H, W, 3), with a title that may be any text."""
    ax = ax or new_axes()
    ax.imshow(image, interpolation="antialiased")
    ax.set(xticks=[], yticks=[], xlim=(0, image.shape[1]), ylim=(image.shape[0], 0))
    if title:
        ax.set_title(title, fontsize=8, loc="left", parse_math=False)  # ids may hold a $
    return ax


def outline(ax: Axes, boxes: NDArray, colours: Sequence[str], style: str = "-", width: float | None = None) -> None:
    """Draw the outlines of boxes (N, 5), each in its colour, on dark lines that keep them visible on bright ground.

    Args:
        ax: of an image.
        boxes: in its pixels.
        colours: one per box.
        style: ``-`` or ``--``.
        width: of the lines in points; None: thin where there are many.
    """
    width = width or (1.2 if len(boxes) <= 40 else 0.8)
    corners = to_corners(boxes)
    closed = list(np.concatenate([corners, corners[:, :1]], axis=1))
    line = "-" if style == "-" else (0, (2.2, 1.1))  # short dashes: vehicles are small
    ax.add_collection(LineCollection(closed, colors="black", linewidths=width + 0.9, alpha=0.45))
    ax.add_collection(LineCollection(closed, colors=list(colours), linewidths=width, linestyles=line))


def class_legend(figure: Figure, *shown: RotatedInstances) -> Figure:
    """Add a legend below a figure's pictures: the classes that appear in any of `shown`, with their colours."""
    names = {int(k): part.classes[k] if part.classes else str(k) for part in shown for k in np.unique(part.labels)}
    return colour_legend(figure, {names[k]: colour(k) for k in sorted(names)})


def colour_legend(figure: Figure, colours: dict[str, str]) -> Figure:
    """Add a legend of names and their colours below a figure's pictures; none without names."""
    from matplotlib.patches import Patch

    handles = [Patch(facecolor=value, edgecolor="#555", label=name) for name, value in colours.items()]
    if handles:
        columns = min(8, len(handles))
        without_mathtext(
            figure.legend(handles=handles, loc="outside lower left", ncols=columns, fontsize=7, frameon=False)
        )
    return figure


def _write_scores(ax: Axes, detections: RotatedInstances) -> None:
    assert detections.scores is not None
    rows = zip(to_corners(detections.boxes), detections.labels, detections.scores, strict=True)
    for corners, label, score in rows:
        x, y = corners[corners[:, 1].argmin()]
        box = {"facecolor": "black", "alpha": 0.45, "pad": 0.6, "lw": 0}
        ax.text(x, y, f"{score:.2f}", color=colour(int(label)), fontsize=5, va="bottom", clip_on=True, bbox=box)
