"""TODO report.figures."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..data import dataset as labelled
from ..data import images
from ..data.instances import SHOWN_SCORE, RotatedInstances
from ..workspace import Workspace
from . import plots

PICKED = 6  # images shown a round

TESTED = 4  # test images followed through the rounds


def curves_figure(history: pd.DataFrame, classes: tuple[str, ...]) -> Figure | None:
    """mAP against images and boxes, and each class's; None before a round was measured."""
    if "mAP" not in history or history["mAP"].isna().all():
        return None
    figure = Figure(figsize=(11, 3.1), layout="constrained")
    axes = figure.subplots(1, 3)
    plots.learning_curve(history, "n_labelled", ax=axes[0], color="#0a6cff")
    plots.learning_curve(history, "n_boxes", ax=axes[1], color="#0a6cff")
    plots.class_curves(history, classes, ax=axes[2])
    return figure


def _picked_figure(workspace: Workspace, asked: pd.DataFrame, found: RotatedInstances | None) -> Figure:
    """What the detector saw in picked images, above the labels that came back."""
    labels = workspace.labels()
    ids = asked["image_id"].tolist()
    before = [found[image_id] if found is not None and image_id in found else None for image_id in ids]
    after = [labels[image_id] if image_id in labels else None for image_id in ids]
    pictures = [_picture(path) for path in workspace.paths(ids).values()]
    figure, axes = _grid(pictures, 2, PICKED, 1.9)
    for ax in axes[:, len(ids) :].flat:
        ax.set_axis_off()
    for column, image_id, picture, seen, truth, status in zip(
        axes.T, ids, pictures, before, after, asked["status"], strict=False
    ):
        plots.show_boxes(picture, seen, ax=column[0], title=_short(image_id), least_score=SHOWN_SCORE)
        empty = truth is not None and not truth.n_boxes
        state = "labelled: no object" if empty else {"queried": "not labelled yet"}.get(status, status)
        plots.show_boxes(picture, truth, ax=column[1], title=state)
    seen_there = [one.where(one.scores >= SHOWN_SCORE) for one in before if one is not None and one.scores is not None]
    return plots.class_legend(figure, *seen_there, *(one for one in after if one is not None))


def tested_figure(workspace: Workspace) -> Figure | None:
    """The same test images after every round: what the rounds have taught. None without a test set."""
    file = workspace.folder / "test.parquet"
    rounds = [r for r in workspace.rounds() if (r.folder / "test_detections").exists() and r.stage == "trained"]
    if not file.exists() or not rounds:
        return None
    labels, files = labelled.read(file)
    chosen = _telling(labels, TESTED)
    if len(rounds) > 4:
        rounds = [rounds[i] for i in np.linspace(0, len(rounds) - 1, 4).round().astype(int)]
    pictures = [_picture(files[image_id]) for image_id in chosen]
    figure, axes = _grid(pictures, len(rounds), len(chosen), 2.6)
    shown = [labels.subset(chosen)]
    for row, current in zip(axes, rounds, strict=True):
        found = _detections(current.folder / "test_detections")
        for ax, image_id, picture in zip(row, chosen, pictures, strict=True):
            one = found[image_id] if found is not None and image_id in found else None
            title = f"round {current.number}: {_short(image_id)}"
            plots.show_boxes(picture, one, labels[image_id], ax, title, least_score=SHOWN_SCORE)
            if one is not None and one.scores is not None:
                shown.append(one.where(one.scores >= SHOWN_SCORE))
    return plots.class_legend(figure, *shown)


def _telling(labels: RotatedInstances, n: int) -> list[str]:
    """Up to n images that show as many classes as possible, the rarest first, none of them crowded."""
    frequency = np.bincount(labels.labels, minlength=1)
    left = {image_id: one for image_id, one in labels if one.n_boxes <= 25} or dict(labels)
    chosen: list[str] = []
    seen: set[int] = set()
    while left and len(chosen) < n:
        worth = {
            image_id: (sum(1 / frequency[k] for k in {*one.labels.tolist()} - seen), -abs(one.n_boxes - 8))
            for image_id, one in left.items()
        }
        chosen.append(max(worth, key=worth.__getitem__))
        seen |= {*left.pop(chosen[-1]).labels.tolist()}
    return chosen


def _grid(pictures: list[NDArray[np.uint8]], rows: int, columns: int, width: float) -> tuple[Figure, NDArray]:
    """Axes for rows of pictures, so many inches wide each, with titles above and a legend below."""
    aspect = min(2.0, max(picture.shape[0] / picture.shape[1] for picture in pictures))
    figure = Figure(figsize=(width * columns, rows * (width * aspect + 0.25) + 0.3), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _picture(path: Path) -> NDArray[np.uint8]:
    """An image, or a grey square in the place of one that cannot be read."""
    try:
        return images.read(path)
    except images.UnreadableImage:
        return np.full((64, 64, 3), 200, np.uint8)


def _short(image_id: str) -> str:
    return image_id if len(image_id) <= 24 else f"…{image_id[-23:]}"


def _detections(folder: Path) -> RotatedInstances | None:
    return RotatedInstances.load(folder) if folder.exists() else None


def _address(figure: Figure | None, kind: Literal["png", "webp"]) -> str | None:
    """The figure as the address of an image inside the page; photographs are smaller as webp."""
    if figure is None:
        return None
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=130, pil_kwargs={"quality": 88} if kind == "webp" else {})
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
