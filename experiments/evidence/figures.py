"""The figures of a comparison's report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

import al_rotate as al
from al_rotate.data import images
from al_rotate.report import plots

from . import analysis, asked
from .analysis import AXES, REFERENCE
from .prices import costs_of
from .savings import BY_PHOTOGRAPHS, BY_TILES, mean_curve, steps_to
from .savings import curves as curves_of

matplotlib.use("Agg")
N_PICKED = 8  # pictures per strategy
_LABELS = {"images": "images", "boxes": "boxes", "seconds": "minutes of labelling (estimated)"}
_LABELS |= {"mAP": "mAP (rotated, IoU 0.5), %", "iterations": "iterations of a training"}


def draw_all(table: pd.DataFrame, rows: pd.DataFrame, work: Path | None) -> Iterator[tuple[str, Figure]]:
    """Names and figures, in the order of the report.

    Args:
        table: complete, see :func:`experiments.evidence.analysis.complete`.
        rows: its summary.
        work: where the comparison keeps its data, for pictures of what was selected.
    """
    own = analysis.budget_axis(table)
    yield "curves", curves(table)
    yield "seeds", seeds(table)
    yield "differences", differences(rows)
    if table["seed"].nunique() > 1:
        beaten = analysis.penalties(table, own)
        yield "penalties", heat_map(beaten, "share of the way on which the row beats the column", "Greens", 1)
    yield "classes", heat_map(asked.class_gains(table), "AP at the end less random's", "RdBu", None)
    by_cost = asked.gains_by_cost(table)
    yield "costs", heat_map(by_cost, "AULC over time less random's, by what answers cost", "RdBu", None)
    yield "likeness", heat_map(asked.likeness(table), "Jaccard index of the images asked for", "Blues", 1)
    if work and (montage := picked(table, work)):
        yield "picked", montage


def curves(table: pd.DataFrame) -> Figure:
    """Mean curves over images, boxes and time, and each seed as a thin line; beside them how long was trained."""
    panels = [(axis, "mAP") for axis in AXES] + [("images", "iterations")] * ("iterations" in table)
    figure, axes = plt.subplots(1, len(panels), figsize=(5.3 * len(panels), 5.4), layout="constrained")
    colours = _colours(table)
    for ax, (axis, column) in zip(axes, panels, strict=True):
        across, up = 60 if axis == "seconds" else 1, 100 if column == "mAP" else 1
        for strategy, of_seeds in analysis.curves_by_seed(table, axis, column).items():
            for x, y in of_seeds:
                ax.plot(x / across, up * y, color=colours[strategy], lw=0.5, alpha=0.35)
            x, y = analysis.mean_curve(of_seeds)
            width = 2.6 if strategy == REFERENCE else 1.5
            ax.plot(x / across, up * y, color=colours[strategy], lw=width, label=strategy)
        ax.set(xlabel=_LABELS[axis], ylabel=_LABELS[column])
        ax.grid(alpha=0.3)
        if column == "mAP":
            ax.sharey(axes[0])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    return figure


def seeds(table: pd.DataFrame) -> Figure:
    """One panel per strategy: its seeds over random's, on the budget's axis."""
    own = analysis.budget_axis(table)
    of_strategy = analysis.curves_by_seed(table, own)
    others = [name for name in of_strategy if name != REFERENCE]
    columns = min(5, len(others))
    lines = -(-len(others) // columns)
    size = (3.1 * columns, 2.4 * lines)
    figure, axes = plt.subplots(
        lines, columns, figsize=size, sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    for ax in axes.flat[len(others) :]:
        ax.set_axis_off()
    for ax, name in zip(axes.flat, others, strict=False):
        for x, y in of_strategy[REFERENCE]:
            ax.plot(x, 100 * y, color="0.55", lw=1)
        for k, (x, y) in enumerate(of_strategy[name]):
            ax.plot(x, 100 * y, color=plt.get_cmap("Dark2")(k % 8), lw=1.4)
        ax.set_title(name, fontsize=9)
        ax.grid(alpha=0.3)
    figure.supxlabel(f"{_LABELS[own]}; random in grey, a line a seed", fontsize=9)
    figure.supylabel("mAP, %", fontsize=9)
    return figure


def differences(rows: pd.DataFrame) -> Figure:
    """AULC minus random's with 95 % intervals, on each axis, from a summary."""
    figure, axes = plt.subplots(1, 3, figsize=(14, 0.32 * len(rows) + 1.2), sharey=True, layout="constrained")
    order = list(rows.index.drop(REFERENCE))[::-1]
    for ax, axis in zip(axes, AXES, strict=True):
        points = 100 * rows.loc[order, [f"{axis}: {part}" for part in ("difference", "low", "high")]]
        points.columns = ["difference", "low", "high"]
        colours = np.select([points["low"] > 0, points["high"] < 0], ["#1a7f37", "#b42318"], "0.45")
        at = np.arange(len(order))
        ax.hlines(at, points["low"], points["high"], color=colours, lw=2)
        ax.scatter(points["difference"], at, color=colours, zorder=3, s=22)
        ax.axvline(0, color="black", lw=0.8)
        ax.set(yticks=at, yticklabels=order, xlabel="points of mAP", title=f"AULC over {_LABELS[axis]}, less random's")
        ax.title.set_size(9)
        ax.grid(axis="x", alpha=0.3)
    return figure


def heat_map(values: pd.DataFrame, title: str, palette: str, top: float | None) -> Figure:
    """A matrix with its numbers in percent; `top` is the end of the colour scale, None for a symmetric one."""
    n_rows, n_columns = values.shape
    figure, ax = plt.subplots(figsize=(1.9 + 0.62 * n_columns, 1.2 + 0.34 * n_rows), layout="constrained")
    limit = top or max(float(np.nanmax(np.abs(values.to_numpy()))), 1e-9)
    ax.imshow(values, cmap=palette, vmin=0 if top else -limit, vmax=limit, aspect="auto")
    for (i, j), value in np.ndenumerate(values.to_numpy()):
        dark = abs(value) > 0.6 * limit
        ax.text(j, i, f"{100 * value:.0f}", ha="center", va="center", fontsize=7, color="white" if dark else "black")
    ax.set_xticks(range(n_columns), values.columns, rotation=40, ha="right", fontsize=8)
    ax.set_yticks(range(n_rows), values.index, fontsize=8)
    ax.set_title(f"{title}, in %", fontsize=9, loc="left")
    return figure


def picked(table: pd.DataFrame, work: Path) -> Figure | None:
    """The second query of each strategy in one seed, with the labels that it brought; None without the data."""
    data = work / f"{table['dataset'].iloc[0]}-{table['size'].iloc[0]}"
    if not (data / "pool.parquet").exists():
        return None
    labels, files = al.RotatedInstances.load(data / "pool.parquet"), images.find(data / "images")
    names = analysis.strategy_names(table)
    figure, axes = plt.subplots(len(names), N_PICKED, figsize=(1.6 * N_PICKED, 1.72 * len(names)), layout="constrained")
    second = table[(table["seed"] == table["seed"].min()) & (table["round"] == 2)].set_index("name")
    for line, name in zip(axes, names, strict=True):
        for ax in line:
            ax.set_axis_off()
        for ax, image_id in zip(line, second.loc[name, "asked"], strict=False):
            plots.show_boxes(images.read(files[image_id]), labels=labels[image_id], ax=ax)
        line[0].set_title(name, fontsize=9, loc="left")
    return figure


def saved(tables: Mapping[str, pd.DataFrame], candidate: str, control: str, price: str) -> Figure:
    """The mean curves of the claim's steps over the hours that they take at one of the prices, a panel a comparison."""
    figure, axes = plt.subplots(1, len(tables), figsize=(5.6 * len(tables), 4.6), squeeze=False, layout="constrained")
    for ax, (name, table) in zip(axes.flat, tables.items(), strict=True):
        cost = costs_of(table)[price]
        steps = steps_to(table, candidate, control, BY_TILES)
        colours = ["0.55", "0.55", "black", *[f"C{k}" for k in range(len(steps) - 3)], "C3"]
        for k, (step, colour) in enumerate(zip([BY_PHOTOGRAPHS, *steps], colours, strict=True)):
            seconds, mean = mean_curve(curves_of(table, step, cost), to_last=True)
            line = {"ls": ("--", ":")[k], "label": step.title} if k < 2 else {"label": step.arm}
            ax.plot(seconds / 3600, 100 * mean, color=colour, lw=2.4 if step == steps[-1] else 1.6, **line)
        ax.set(xscale="log", xlabel=f"hours of labelling, {price} a drawn box", title=name)
        ax.set_ylabel(_LABELS["mAP"])
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.grid(alpha=0.3)
        ax.legend(fontsize=8)
    return figure


def _colours(table: pd.DataFrame) -> dict[str, Any]:
    palette = plt.get_cmap("tab20")
    others = [name for name in analysis.strategy_names(table) if name != REFERENCE]
    return {REFERENCE: "black", **{name: palette(k % 20) for k, name in enumerate(others)}}
