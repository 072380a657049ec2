"""The report's section on the detector's scores: how reliable they are before and after calibration."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..data import RotatedInstances
from ..evaluation import calibration, true_positives
from ..workspace import Workspace
from ..workspace.held_out import held_out
from . import plots


class JudgedScores(NamedTuple):
    """Detections on images that were labelled afterwards, one entry per box."""

    scores: NDArray
    probabilities: NDArray  # the scores, calibrated by cross-fitting
    hits: NDArray  # whether the box matches a label
    detections: RotatedInstances | None = None  # that these are


def judge_scores(workspace: Workspace) -> JudgedScores | None:
    """Match the detections of the newest queries with the labels that came back; None without any."""
    labels = workspace.labels()
    detections = held_out(workspace, labels)
    if not detections.n_boxes:
        return None
    labels = labels.subset(detections.image_ids)
    return JudgedScores(
        np.asarray(detections.scores),
        calibration.cross_fit(detections, labels),
        true_positives(detections, labels),
        detections,
    )


def describe_scores(judged: JudgedScores) -> str:
    """Say in words how far the scores are off."""
    before, after = (calibration.detection_ece(values, judged.hits) for values in judged[:2])
    matched = f"Of {len(judged.hits)} detections in queried images {judged.hits.mean():.0%} lie on an object"
    if np.array_equal(judged.scores, judged.probabilities):
        return f"{matched}; too few to calibrate the scores. They are off by {before:.3f} on average (D-ECE)."
    return f"{matched}. Scores are off by {before:.3f} on average (D-ECE), calibrated on other images by {after:.3f}."


def reliability_figure(judged: JudgedScores) -> Figure | None:
    """Draw reliability diagrams of the scores and of the calibrated ones; None if there are too few boxes."""
    if len(judged.hits) < calibration.LEAST_BOXES:
        return None
    figure = Figure(figsize=(7.2, 3.1), layout="constrained")
    for ax, values, title in zip(figure.subplots(1, 2), judged[:2], ("scores", "calibrated"), strict=True):
        plots.reliability_diagram(calibration.reliability(values, judged.hits), ax)
        ax.set_title(title, fontsize=9)
    return figure
