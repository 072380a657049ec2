"""Pictures: rotated boxes on images, learning curves. Every function draws on Axes and returns them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

from ..boxes.convert import to_corners
from ..data.instances import RotatedInstances

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

# Distinct on land and on water, and apart for the colour-blind (after Okabe and Ito 2008, brightened).
COLOURS = ("#ffb000", "#3db8ff", "#ff5d8f", "#4ade80", "#ffffff", "#c084fc", "#ff7a1a", "#f5f749", "#00e0c6", "#b08968")


def colour(label: int) -> str:
    """The colour of a class, the same in every picture."""
    return COLOURS[label % len(COLOURS)]


def show_boxes(
    image: NDArray[np.uint8],
    found: RotatedInstances | None = None,
    truth: RotatedInstances | None = None,
    ax: Axes | None = None,
    title: str | None = None,
    least_score: float = 0.0,
) -> Axes:
    """An image with rotated boxes, one colour a class: `found` in full lines with scores, `truth` dashed.

    Args:
        image: (H, W, 3) uint8 RGB.
        found: detections of this one image.
        truth: labels of this one image.
        ax: where to draw; new Axes if None.
        title: above the image.
        least_score: detections below it are left out.
    """
    ax = ax or _new_axes()
    ax.imshow(image, interpolation="antialiased")
    ax.set(xticks=[], yticks=[], xlim=(0, image.shape[1]), ylim=(image.shape[0], 0))
    for one, style in ((truth, "--"), (found, "-")):
        if one is None:
            continue
        if one.scores is not None:
            one = one.where(one.scores >= least_score)
        _outlines(ax, one, style, 1.2 if one.n_boxes <= 40 else 0.8)
        if style == "-" and one.scores is not None and one.n_boxes <= 15:
            _write_scores(ax, one)
    if title:
        ax.set_title(title, fontsize=8, loc="left", parse_math=False)  # ids may hold a $
    return ax


def class_legend(figure: Figure, *shown: RotatedInstances) -> Figure:
    """Name the classes that appear in any of `shown`, with their colours, below a figure's pictures."""
    from matplotlib.patches import Patch

    names = {int(k): one.classes[k] if one.classes else str(k) for one in shown for k in np.unique(one.labels)}
    handles = [Patch(facecolor=colour(k), edgecolor="#555", label=names[k]) for k in sorted(names)]
    if handles:
        columns = min(8, len(handles))
        _plain(figure.legend(handles=handles, loc="outside lower left", ncols=columns, fontsize=7, frameon=False))
    return figure


def learning_curve(
    history: pd.DataFrame, x: str = "n_labelled", y: str = "mAP", ax: Axes | None = None, **line: Any
) -> Axes:
    """A metric against what it cost, one point a trained round.

    Args:
        history: :meth:`al_rotate.workspace.Workspace.history`.
        x: ``n_labelled`` images, ``n_boxes`` or ``cost`` (seconds, drawn in hours).
        y: a metric's column.
        ax: where to draw; new Axes if None.
        **line: for ``Axes.plot``, e.g. ``label="entropy"``.
    """
    ax = ax or _new_axes()
    known = history.dropna(subset=[y]) if y in history else history.iloc[:0]
    along = known[x].astype(float) / (3600 if x == "cost" else 1)
    ax.plot(along, known[y] if len(known) else [], **{"marker": "o", "lw": 1.8, **line})
    names = {"n_labelled": "labelled images", "n_boxes": "labelled boxes", "cost": "labelling time, hours (estimated)"}
    ax.set(xlabel=names.get(x, x), ylabel=y)
    ax.set_ylim(0, max(0.05, ax.dataLim.y1 * 1.08))
    ax.grid(alpha=0.25)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    return ax


def class_curves(history: pd.DataFrame, classes: Sequence[str], x: str = "n_labelled", ax: Axes | None = None) -> Axes:
    """Each class's average precision against `x`, from the history's ``AP/class`` columns."""
    ax = ax or _new_axes()
    for label, name in enumerate(classes):
        if f"AP/{name}" in history:
            dark = "#888888" if colour(label) == "#ffffff" else colour(label)
            learning_curve(history, x, f"AP/{name}", ax, label=name, color=dark, marker=".", lw=1.3)
    ax.set_ylabel("AP")
    if ax.lines:
        _plain(ax.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1, 1)))
    return ax


def reliability_diagram(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """How often detections of a confidence are right; on the diagonal they are as often right as they say.

    Args:
        table: of :func:`al_rotate.sampling.calibration.reliability`.
        ax: where to draw; new Axes if None.
    """
    ax = ax or _new_axes()
    known = table[table["n"] > 0]
    width = (known["upper"] - known["lower"]) * 0.9
    shade = 0.25 + 0.75 * np.sqrt(known["n"] / max(known["n"].max(), 1))  # a bar of few boxes is pale
    colours = [(0.04, 0.42, 1.0, alpha) for alpha in shade]
    ax.bar((known["lower"] + known["upper"]) / 2, known["precision"], width, color=colours)
    ax.plot([0, 1], [0, 1], color="#5a6877", lw=1, ls="--")
    ax.plot(known["confidence"], known["precision"], "o", color="#1d2733", ms=3)
    ax.set(xlabel="confidence", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1))
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    return ax


def _outlines(ax: Axes, one: RotatedInstances, style: str, width: float) -> None:
    corners = to_corners(one.boxes)
    closed = np.concatenate([corners, corners[:, :1]], axis=1)
    colours = [colour(int(label)) for label in one.labels]
    line = "-" if style == "-" else (0, (2.2, 1.1))  # short dashes: vehicles are small
    # A dark line below keeps the box visible on bright ground.
    ax.add_collection(LineCollection(list(closed), colors="black", linewidths=width + 0.9, alpha=0.45))
    ax.add_collection(LineCollection(list(closed), colors=colours, linewidths=width, linestyles=line))


def _write_scores(ax: Axes, one: RotatedInstances) -> None:
    assert one.scores is not None
    for corners, label, score in zip(to_corners(one.boxes), one.labels, one.scores, strict=True):
        x, y = corners[corners[:, 1].argmin()]
        box = {"facecolor": "black", "alpha": 0.45, "pad": 0.6, "lw": 0}
        ax.text(x, y, f"{score:.2f}", color=colour(int(label)), fontsize=5, va="bottom", clip_on=True, bbox=box)


def _plain(legend: Legend) -> None:
    for text in legend.get_texts():
        text.set_parse_math(False)  # class names may hold a $


def _new_axes() -> Axes:
    from matplotlib import pyplot

    return pyplot.subplots(layout="constrained")[1]
