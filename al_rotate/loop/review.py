"""TODO loop.review."""

from __future__ import annotations

import math

import pandas as pd

from ..data.instances import RotatedInstances
from ..evaluation import calibration
from ..evaluation import label_errors as suspicion
from ..workspace import Workspace
from ..workspace.held_out import held_out


def rank_label_errors(workspace: Workspace) -> tuple[pd.DataFrame, RotatedInstances]:
    """The labelled images, the one whose labels are most in doubt first, and the detections that say so.

    Only images that were detected on before the detector was trained on them, by all rounds; their scores are
    calibrated on each other. The columns are those of :func:`al_rotate.sampling.suspicion.by_image`, and ``n_boxes``,
    the labels of each.
    """
    labels = workspace.labels()
    found = held_out(workspace, labels, enough=math.inf)
    judged = labels.subset(found.image_ids)
    table = suspicion.find_label_errors(found, judged, calibration.cross_fit(found, judged))
    ranking = suspicion.rank_images(table, judged.image_ids.tolist())
    counts = pd.Series(judged.counts, judged.image_ids)
    return ranking.assign(n_boxes=ranking["image_id"].map(counts)), found
