"""Learning curves, and how reliable scores are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.ticker import PercentFormatter

from ...boxes.drawing import ink
from .axes import GREY, INK, OKABE_ITO, new_axes, without_frame, without_mathtext

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKERS = "osD^vPX"  # beside the colour, for who cannot tell colours apart


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
    ax = ax or new_axes()
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


def learning_curves(
    histories: Mapping[str, pd.DataFrame], x: str = "cost", y: str = "mAP", ax: Axes | None = None
) -> Axes:
    """Draw the curves of several loops over each other, with a legend: see :func:`learning_curve`.

    Args:
        histories: name of a loop, such as its strategy -> its history.
        x, y, ax: as for :func:`learning_curve`.
    """
    ax = ax or new_axes()
    for k, (name, history) in enumerate(histories.items()):
        looks = {"color": OKABE_ITO[k % len(OKABE_ITO)], "marker": _MARKERS[k % len(_MARKERS)]}
        learning_curve(history, x, y, ax, label=name, **looks)
    if histories:
        without_mathtext(ax.legend(fontsize=8, frameon=False))
    return ax


def class_curves(history: pd.DataFrame, classes: Sequence[str], x: str = "n_labelled", ax: Axes | None = None) -> Axes:
    """Draw each class's average precision against `x`, from the history's ``AP/class`` columns."""
    ax = ax or new_axes()
    for label, name in enumerate(classes):
        if f"AP/{name}" in history:
            marker = _MARKERS[label % len(_MARKERS)]
            learning_curve(history, x, f"AP/{name}", ax, label=name, color=ink(label), marker=marker, ms=3.5, lw=1.3)
    ax.set_ylabel("AP")
    if ax.lines:
        without_mathtext(ax.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1, 1)))
    return ax


def reliability_diagram(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw how often detections of a confidence are correct; on the diagonal they are calibrated.

    Args:
        table: of :func:`al_rotate.evaluation.calibration.reliability`.
        ax: where to draw; new Axes if None.
    """
    ax = ax or new_axes()
    bins = table[table["n"] > 0]
    width = (bins["upper"] - bins["lower"]) * 0.9
    shade = 0.25 + 0.75 * np.sqrt(bins["n"] / max(bins["n"].max(), 1))  # a bar of few boxes is pale
    colours = [(0.0, 0.447, 0.698, alpha) for alpha in shade]
    ax.bar((bins["lower"] + bins["upper"]) / 2, bins["precision"], width, color=colours)
    ax.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--")
    ax.plot(bins["confidence"], bins["precision"], "o", color=INK, ms=3)
    ax.set(xlabel="confidence", ylabel="share that is correct", xlim=(0, 1), ylim=(0, 1))
    without_frame(ax)
    return ax
