"""The report's pictures: learning curves, queried images and test images, as data URLs in the page."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..data import SHOWN_SCORE, RotatedInstances, images
from ..workspace import Workspace
from ..workspace.versions import labelled_set
from . import plots

QUERIED_IMAGES = 6  # shown per round
TEST_IMAGES = 4  # followed through the rounds
TEST_ROUNDS = 4  # shown at most
CROWDED = 25  # boxes above which an image makes a poor picture


def curves_figure(history: pd.DataFrame, classes: tuple[str, ...]) -> Figure | None:
    """Draw mAP against images and boxes, and each class's AP; None before a round was evaluated."""
    if "mAP" not in history or history["mAP"].isna().all():
        return None
    figure = Figure(figsize=(11, 3.1), layout="constrained")
    axes = figure.subplots(1, 3)
    plots.learning_curve(history, "n_labelled", ax=axes[0], color="#0a6cff")
    plots.learning_curve(history, "n_boxes", ax=axes[1], color="#0a6cff")
    plots.class_curves(history, classes, ax=axes[2])
    return figure


def query_figure(workspace: Workspace, query: pd.DataFrame, detections: RotatedInstances | None) -> Figure:
    """Draw what the detector saw in queried images, above the labels that came back."""
    labels = workspace.labels()
    ids = query["image_id"].tolist()
    photos = [_read_or_grey(path) for path in workspace.paths(ids).values()]
    figure, axes = _grid(photos, 2, QUERIED_IMAGES, 1.9)
    for ax in axes[:, len(ids) :].flat:
        ax.set_axis_off()
    drawn = []
    for column, image_id, photo, status in zip(axes.T, ids, photos, query["status"], strict=False):
        before, after = _image_of(detections, image_id), _image_of(labels, image_id)
        plots.show_boxes(photo, before, ax=column[0], title=_short(image_id), least_score=SHOWN_SCORE)
        empty = after is not None and not after.n_boxes
        state = "labelled: no object" if empty else {"queried": "not labelled yet"}.get(status, status)
        plots.show_boxes(photo, after, ax=column[1], title=state)
        drawn += [_shown(before), after]
    return plots.class_legend(figure, *(part for part in drawn if part is not None))


def evaluation_figure(workspace: Workspace) -> Figure | None:
    """Draw the detections on the same test images round by round; None without a test set, or before it was used."""
    test = labelled_set(workspace, "test")
    if test is None:
        return None
    labels, files = test
    chosen = _representative(labels, TEST_IMAGES)
    detected = {
        past.number: detections
        for past in workspace.rounds()
        if past.stage == "trained" and (detections := load_detections(workspace, past.folder / "test_detections"))
    }
    # Before the test set was changed, other images were detected on.
    rounds = [number for number, detections in detected.items() if any(i in detections for i in chosen)]
    if not rounds:
        return None
    if len(rounds) > TEST_ROUNDS:
        positions = np.linspace(0, len(rounds) - 1, TEST_ROUNDS).round().astype(int)
        rounds = [rounds[position] for position in positions]
    photos = [_read_or_grey(files[image_id]) for image_id in chosen]
    figure, axes = _grid(photos, len(rounds), len(chosen), 2.6)
    drawn: list[RotatedInstances | None] = [labels.subset(chosen)]
    for row, number in zip(axes, rounds, strict=True):
        for ax, image_id, photo in zip(row, chosen, photos, strict=True):
            image = _image_of(detected[number], image_id)
            title = f"round {number}: {_short(image_id)}"
            plots.show_boxes(photo, image, labels[image_id], ax, title, least_score=SHOWN_SCORE)
            drawn.append(_shown(image))
    return plots.class_legend(figure, *(part for part in drawn if part is not None))


def load_detections(workspace: Workspace, folder: Path) -> RotatedInstances | None:
    """Load a folder (or file) of detections, with the workspace's classes of now; None if it does not exist."""
    return workspace.in_current_classes(RotatedInstances.load(folder)) if folder.exists() else None


def data_url(figure: Figure | None, kind: Literal["png", "webp"]) -> str | None:
    """Render a figure as a data URL; photographs are smaller as webp."""
    if figure is None:
        return None
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=130, pil_kwargs={"quality": 88} if kind == "webp" else {})
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _representative(labels: RotatedInstances, n: int) -> list[str]:
    """Choose up to n images that show as many classes as possible, rare ones first, and are not crowded."""
    frequency = np.bincount(labels.labels, minlength=1)
    candidates = {image_id: image for image_id, image in labels if image.n_boxes <= CROWDED} or dict(labels)
    chosen: list[str] = []
    covered: set[int] = set()
    while candidates and len(chosen) < n:
        worth = {
            image_id: (sum(1 / frequency[k] for k in {*image.labels.tolist()} - covered), -abs(image.n_boxes - 8))
            for image_id, image in candidates.items()
        }
        chosen.append(max(worth, key=worth.__getitem__))
        covered |= {*candidates.pop(chosen[-1]).labels.tolist()}
    return chosen


def _grid(photos: list[NDArray[np.uint8]], rows: int, columns: int, width: float) -> tuple[Figure, NDArray]:
    """Make axes for rows of photos, each `width` inches wide, with titles above and a legend below."""
    aspect = min(2.0, max(photo.shape[0] / photo.shape[1] for photo in photos))
    figure = Figure(figsize=(width * columns, rows * (width * aspect + 0.25) + 0.3), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _read_or_grey(path: Path) -> NDArray[np.uint8]:
    """Read an image; a grey square stands for one that cannot be read."""
    try:
        return images.read(path)
    except images.UnreadableImage:
        return np.full((64, 64, 3), 200, np.uint8)


def _image_of(instances: RotatedInstances | None, image_id: str) -> RotatedInstances | None:
    return instances[image_id] if instances is not None and image_id in instances else None


def _shown(image: RotatedInstances | None) -> RotatedInstances | None:
    """Keep the detections that the picture shows."""
    return None if image is None or image.scores is None else image.where(image.scores >= SHOWN_SCORE)


def _short(image_id: str) -> str:
    return image_id if len(image_id) <= 24 else f"…{image_id[-23:]}"
