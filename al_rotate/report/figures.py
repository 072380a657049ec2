"""The report's figures, made of a workspace with :mod:`al_rotate.report.plots`, and figures as data URLs."""

from __future__ import annotations

import base64
import io
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..data import SHOWN_SCORE, RotatedInstances
from ..workspace import IMPORTED, LATE, REVIEW, Workspace
from ..workspace.versions import labelled_set
from . import plots
from .gallery.collecting import load_detections
from .plots.sheets import read_or_grey, shorten

TEST_IMAGES = 4  # followed through the rounds
TEST_ROUNDS = 4  # shown at most
CROWDED = 25  # boxes above which an image makes a poor picture


def curves_figure(history: pd.DataFrame, classes: tuple[str, ...]) -> Figure | None:
    """Draw mAP against images and hours, and each class's AP; None before a round was evaluated."""
    if "mAP" not in history or history["mAP"].isna().all():
        return None
    figure = Figure(figsize=(11, 3.1), layout="constrained")
    axes = figure.subplots(1, 3)
    for ax, x in zip(axes, ("n_labelled", "cost"), strict=False):
        plots.learning_curve(history, x, ax=ax, color=plots.OKABE_ITO[0])
    plots.class_curves(history, classes, ax=axes[2])
    return figure


def pool_figure(workspace: Workspace) -> Figure | None:
    """Draw the classes and sizes of labels and of detections on the pool, and the newest query among the features.

    None before anything is labelled or detected.
    """
    parts = {}
    if (labels := workspace.labels()).n_boxes:
        parts["labels"] = labels
    rounds = [r for r in workspace.rounds() if r.stage not in ("new", "undone")]
    newest = next((r for r in reversed(rounds) if r.strategy not in (IMPORTED, LATE, REVIEW)), None)
    detections = None if newest is None else load_detections(workspace, newest.folder / "detections")
    if detections is not None and detections.n_boxes:
        parts["detections on the pool"] = detections
    if not parts:
        return None
    has_map = detections is not None and detections.image_features is not None and len(detections) > 1
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    axes = figure.subplots(1, 2 + has_map)
    plots.class_histogram(parts, axes[0])
    plots.size_histogram(parts, axes[1])
    if has_map and detections is not None and newest is not None:
        asked = [i for i in workspace.query(newest.number)["image_id"] if i in detections]
        plots.feature_map(detections, {f"queried in round {newest.number}": asked}, ax=axes[2])
        axes[2].legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(0, 1.16))
    return figure


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
    photos = [read_or_grey(files[image_id]) for image_id in chosen]
    aspect = min(2.0, max(photo.shape[0] / photo.shape[1] for photo in photos))
    figure = Figure(figsize=(2.6 * len(chosen), len(rounds) * (2.6 * aspect + 0.25) + 0.3), layout="constrained")
    drawn: list[RotatedInstances] = [labels.subset(chosen)]
    for row, number in zip(figure.subplots(len(rounds), len(chosen), squeeze=False), rounds, strict=True):
        for ax, image_id, photo in zip(row, chosen, photos, strict=True):
            image = detected[number][image_id] if image_id in detected[number] else None
            title = f"round {number}: {shorten(image_id)}"
            plots.show_boxes(photo, image, labels[image_id], ax, title, least_score=SHOWN_SCORE)
            if image is not None and image.scores is not None:
                drawn.append(image.where(image.scores >= SHOWN_SCORE))
    return plots.class_legend(figure, *drawn)


def data_url(figure: Figure | None, kind: Literal["png", "webp"]) -> str | None:
    """Render a figure as a data URL; photographs are smaller as webp."""
    if figure is None:
        return None
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=130, pil_kwargs={"quality": 85} if kind == "webp" else {})
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
