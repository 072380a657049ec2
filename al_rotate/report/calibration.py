"""The report's section on whether the detector's scores can be believed: reliability before and after calibration."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..evaluation import calibration
from ..evaluation.mean_ap import true_positives
from ..workspace import Workspace
from ..workspace.held_out import held_out
from . import plots

Judged = tuple[NDArray, NDArray, NDArray]


def judged(workspace: Workspace) -> Judged | None:
    """Scores, cross-fitted probabilities and hits of the detections that the newest queries showed; None without."""
    labels = workspace.labels()
    found = held_out(workspace, labels)
    if not found.n_boxes:
        return None
    truth = labels.subset(found.image_ids)
    return np.asarray(found.scores), calibration.cross_fit(found, truth), true_positives(found, truth)


def sentence(known: Judged | None) -> str | None:
    """What these say of the scores."""
    if known is None:
        return None
    scores, probabilities, hits = known
    before, after = (calibration.detection_ece(values, hits) for values in (scores, probabilities))
    found = f"Of {len(hits)} detections in queried images {hits.mean():.0%} lie on an object"
    if np.array_equal(scores, probabilities):
        return f"{found}; too few to calibrate the scores. They are off by {before:.3f} on average (D-ECE)."
    return f"{found}. Scores are off by {before:.3f} on average (D-ECE), calibrated on other images by {after:.3f}."


def figure(known: Judged | None) -> Figure | None:
    """Reliability diagrams of the scores and of what they are calibrated to; None of too few to tell."""
    if known is None or len(known[2]) < calibration.LEAST_BOXES:
        return None
    scores, probabilities, hits = known
    drawn = Figure(figsize=(7.2, 3.1), layout="constrained")
    for ax, values, title in zip(drawn.subplots(1, 2), (scores, probabilities), ("scores", "calibrated"), strict=True):
        plots.reliability_diagram(calibration.reliability(values, hits), ax)
        ax.set_title(title, fontsize=9)
    return drawn
