"""Pictures: rotated boxes on images, learning curves, reliability. Every function draws on Axes and returns them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from ..boxes import to_corners
from ..data import RotatedInstances
from ..sampling.deprecated import renamed_argument

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

# Distinct on land and on water, also for the colour-blind (after Okabe and Ito 2008, brightened).
COLOURS = ("#ffb000", "#3db8ff", "#ff5d8f", "#4ade80", "#ffffff", "#c084fc", "#ff7a1a", "#f5f749", "#00e0c6", "#b08968")


def colour(label: int) -> str:
    """Return the colour of a class, the same in every picture."""
    return COLOURS[label % len(COLOURS)]


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
    ax = ax or _new_axes()
    ax.imshow(image, interpolation="antialiased")
    ax.set(xticks=[], yticks=[], xlim=(0, image.shape[1]), ylim=(image.shape[0], 0))
    for boxes, style in ((labels, "--"), (detections, "-")):
        if boxes is None:
            continue
        if boxes.scores is not None:
            boxes = boxes.where(boxes.scores >= least_score)
        _outlines(ax, boxes, style, 1.2 if boxes.n_boxes <= 40 else 0.8)
        if style == "-" and boxes.scores is not None and boxes.n_boxes <= 15:
            _write_scores(ax, boxes)
    if title:
        ax.set_title(title, fontsize=8, loc="left", parse_math=False)  # ids may hold a $
    return ax


def class_legend(figure: Figure, *shown: RotatedInstances) -> Figure:
    """Add a legend below a figure's pictures: the classes that appear in any of `shown`, with their colours."""
    from matplotlib.patches import Patch

    names = {int(k): part.classes[k] if part.classes else str(k) for part in shown for k in np.unique(part.labels)}
    handles = [Patch(facecolor=colour(k), edgecolor="#555", label=names[k]) for k in sorted(names)]
    if handles:
        columns = min(8, len(handles))
        _without_mathtext(
            figure.legend(handles=handles, loc="outside lower left", ncols=columns, fontsize=7, frameon=False)
        )
    return figure


def learning_curve(
    history: pd.DataFrame, x: str = "n_labelled", y: str = "mAP", ax: Axes | None = None, **line: Any
) -> Axes:
    """Draw a metric against what it cost, one point per trained round.

    Args:
        history: of :meth:`al_rotate.Workspace.history`.
        x: ``n_labelled`` images, ``n_boxes`` or ``cost`` (seconds, drawn in hours).
        y: a metric's column; the axis of an average precision is in percent, as everywhere else.
        ax: where to draw; new Axes if None.
        **line: for ``Axes.plot``, e.g. ``label="entropy"``.
    """
    ax = ax or _new_axes()
    measured = history.dropna(subset=[y]) if y in history else history.iloc[:0]
    costs = measured[x].astype(float) / (3600 if x == "cost" else 1)
    ax.plot(costs, measured[y] if len(measured) else [], **{"marker": "o", "lw": 1.8, **line})
    names = {"n_labelled": "labelled images", "n_boxes": "labelled boxes", "cost": "labelling time, hours (estimated)"}
    ax.set(xlabel=names.get(x, x), ylabel=y)
    if "AP" in y:
        ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.set_ylim(0, max(0.05, ax.dataLim.y1 * 1.08))
    ax.grid(alpha=0.25)
    without_frame(ax)
    return ax


def class_curves(history: pd.DataFrame, classes: Sequence[str], x: str = "n_labelled", ax: Axes | None = None) -> Axes:
    """Draw each class's average precision against `x`, from the history's ``AP/class`` columns."""
    ax = ax or _new_axes()
    for label, name in enumerate(classes):
        if f"AP/{name}" in history:
            visible = "#888888" if colour(label) == "#ffffff" else colour(label)
            learning_curve(history, x, f"AP/{name}", ax, label=name, color=visible, marker=".", lw=1.3)
    ax.set_ylabel("AP")
    if ax.lines:
        _without_mathtext(ax.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1, 1)))
    return ax


def reliability_diagram(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw how often detections of a confidence are correct; on the diagonal they are calibrated.

    Args:
        table: of :func:`al_rotate.evaluation.calibration.reliability`.
        ax: where to draw; new Axes if None.
    """
    ax = ax or _new_axes()
    bins = table[table["n"] > 0]
    width = (bins["upper"] - bins["lower"]) * 0.9
    shade = 0.25 + 0.75 * np.sqrt(bins["n"] / max(bins["n"].max(), 1))  # a bar of few boxes is pale
    colours = [(0.04, 0.42, 1.0, alpha) for alpha in shade]
    ax.bar((bins["lower"] + bins["upper"]) / 2, bins["precision"], width, color=colours)
    ax.plot([0, 1], [0, 1], color="#5a6877", lw=1, ls="--")
    ax.plot(bins["confidence"], bins["precision"], "o", color="#1d2733", ms=3)
    ax.set(xlabel="confidence", ylabel="share that is correct", xlim=(0, 1), ylim=(0, 1))
    without_frame(ax)
    return ax


def without_frame(ax: Axes) -> None:
    """Hide the upper and the right border."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def _outlines(ax: Axes, instances: RotatedInstances, style: str, width: float) -> None:
    corners = to_corners(instances.boxes)
    closed = np.concatenate([corners, corners[:, :1]], axis=1)
    colours = [colour(int(label)) for label in instances.labels]
    line = "-" if style == "-" else (0, (2.2, 1.1))  # short dashes: vehicles are small
    # A dark line below keeps the box visible on bright ground.
    ax.add_collection(LineCollection(list(closed), colors="black", linewidths=width + 0.9, alpha=0.45))
    ax.add_collection(LineCollection(list(closed), colors=colours, linewidths=width, linestyles=line))


def _write_scores(ax: Axes, detections: RotatedInstances) -> None:
    assert detections.scores is not None
    rows = zip(to_corners(detections.boxes), detections.labels, detections.scores, strict=True)
    for corners, label, score in rows:
        x, y = corners[corners[:, 1].argmin()]
        box = {"facecolor": "black", "alpha": 0.45, "pad": 0.6, "lw": 0}
        ax.text(x, y, f"{score:.2f}", color=colour(int(label)), fontsize=5, va="bottom", clip_on=True, bbox=box)


def _without_mathtext(legend: Legend) -> None:
    for text in legend.get_texts():
        text.set_parse_math(False)  # class names may hold a $


def _new_axes() -> Axes:
    from matplotlib import pyplot

    return pyplot.subplots(layout="constrained")[1]
