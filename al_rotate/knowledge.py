"""What a loop can tell a strategy beside its detections on the pool: gathered, and only what the strategy asks for."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .instances import RotatedInstances
from .learner import Learner
from .sampling import Known, calibration, suspicion
from .sampling.costs import ExpectedCost
from .views import View
from .workspace import Round, Workspace

ENOUGH = 5000  # detections to calibrate on: those of older rounds come from weaker weights


def gather(
    workspace: Workspace,
    learner: Learner,
    current: Round,
    checkpoint: Path | None,
    needs: frozenset[str],
    cost: ExpectedCost | None = None,
) -> Known:
    """What a strategy with these needs is told in the current round.

    Args:
        workspace: of the loop.
        learner: predicts on labelled images and on views.
        current: the round that is about to ask.
        checkpoint: the weights that detected on the candidates; None: nothing has detected.
        needs: see :data:`al_rotate.sampling.ranking.NEEDS`.
        cost: of images.
    """
    labels = workspace.labels() if needs & {"labels", "labelled_features"} else RotatedInstances.empty()
    held = held_out(workspace, labels) if "labels" in needs else RotatedInstances.empty()

    def views(image_ids: Sequence[str], wanted: Sequence[View]) -> Sequence[RotatedInstances]:
        assert checkpoint is not None
        # A folder of its own for each question: a killed query that is asked again, of other images, starts afresh.
        asked = zlib.crc32("\n".join([*image_ids, *(view.name for view in wanted)]).encode())
        return learner.predict_views(
            checkpoint, workspace.paths(image_ids), wanted, current.folder / f"views-{asked:08x}"
        )

    def features() -> NDArray[np.float32] | None:
        if checkpoint is None or not len(labels):
            return None
        out = current.folder / "labelled_detections"
        return learner.predict(checkpoint, workspace.paths(labels.image_ids), out, features=True).image_features

    return Known(
        labels,
        held,
        features() if "labelled_features" in needs else None,
        views if checkpoint is not None else None,
        cost or ExpectedCost(),
    )


def doubts(workspace: Workspace) -> tuple[pd.DataFrame, RotatedInstances]:
    """The labelled images, the one whose labels are most in doubt first, and the detections that say so.

    Only images that were detected on before the detector was trained on them, by all rounds; their scores are
    calibrated on each other. The columns are those of :func:`al_rotate.sampling.suspicion.by_image`, and ``n_boxes``,
    the labels of each.
    """
    labels = workspace.labels()
    found = held_out(workspace, labels, enough=math.inf)
    judged = labels.subset(found.image_ids)
    table = suspicion.suspicions(found, judged, calibration.cross_fit(found, judged))
    ranking = suspicion.by_image(table, judged.image_ids.tolist())
    counts = pd.Series(judged.counts, judged.image_ids)
    return ranking.assign(n_boxes=ranking["image_id"].map(counts)), found


def held_out(workspace: Workspace, labels: RotatedInstances, enough: float = ENOUGH) -> RotatedInstances:
    """Detections on labelled images by the weights that asked for them, which had not been trained on their labels.

    The newest rounds first, until there are `enough` boxes; rounds that asked blindly have none.
    """
    parts: list[RotatedInstances] = []
    for one in reversed(workspace.rounds()):
        folder = one.folder / "detections"
        if sum(part.n_boxes for part in parts) >= enough:
            break
        if not folder.exists():
            continue
        known = {image_id for part in parts for image_id in part.image_ids}
        asked = {i for i in workspace.query(one.number)["image_id"] if i in labels and i not in known}
        if asked:
            found = RotatedInstances.load(folder, asked)
            parts.append(found.replace(class_scores=None, box_features=None, image_features=None, skipped=None))
    return RotatedInstances.concat(parts) if parts else RotatedInstances.empty(classes=labels.classes)
