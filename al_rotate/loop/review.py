"""Which labelled images to look at again: those whose labels are in doubt."""

from __future__ import annotations

import math

import pandas as pd

from ..data import RotatedInstances
from ..evaluation import calibration, label_errors
from ..sampling import Budget
from ..workspace import Workspace
from ..workspace.held_out import held_out


def rank_label_errors(workspace: Workspace) -> tuple[pd.DataFrame, RotatedInstances]:
    """Rank the labelled images by how much their labels are in doubt, the most doubtful first.

    Only images that some round detected on before the detector was trained on them. Scores are calibrated by
    cross-fitting: each image's on the others.

    Returns:
        The columns of :func:`al_rotate.evaluation.label_errors.rank_images` and ``n_boxes``, the labels of each image;
        and the detections that the doubts come from.
    """
    labels = workspace.labels()
    detections = held_out(workspace, labels, enough=math.inf)
    judged = labels.subset(detections.image_ids)
    errors = label_errors.find_label_errors(detections, judged, calibration.cross_fit(detections, judged))
    ranking = label_errors.rank_images(errors, judged.image_ids.tolist())
    counts = pd.Series(judged.counts, judged.image_ids)
    return ranking.assign(n_boxes=ranking["image_id"].map(counts)), detections


def choose_doubtful(ranking: pd.DataFrame, budget: Budget) -> pd.DataFrame:
    """Take the images with a doubt that the budget covers, as rows of the ranking.

    Raises:
        ValueError: if that is none.
    """
    doubtful = ranking[ranking["score"] > 0]
    chosen = budget.take(doubtful["image_id"], doubtful["n_boxes"])
    if not chosen:
        why = "" if len(ranking) else ": that takes detections from before a detector was trained on the labels"
        raise ValueError(f"no label of {len(ranking)} images that can be judged is in doubt, within {budget}{why}")
    return doubtful.set_index("image_id").loc[chosen].reset_index()
