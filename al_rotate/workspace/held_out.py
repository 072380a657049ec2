"""Detections on labelled images from before the detector was trained on their labels."""

from __future__ import annotations

from ..data import RotatedInstances
from ..storage.user_warnings import warn_user
from .workspace import Workspace

ENOUGH = 5000  # boxes to calibrate on; those of older rounds come from weaker weights


def held_out(workspace: Workspace, labels: RotatedInstances, enough: float = ENOUGH) -> RotatedInstances:
    """Collect the detections that queried images were chosen by, which no training on their labels has touched.

    Newest rounds first, until there are `enough` boxes. Rounds that queried without a trained detector have none.

    Args:
        workspace: to look in.
        labels: of the images that count.
        enough: boxes after which older rounds are left out.
    """
    parts: list[RotatedInstances] = []
    for past in reversed(workspace.rounds()):
        folder = past.folder / "detections"
        if sum(part.n_boxes for part in parts) >= enough:
            break
        if not folder.exists():
            continue
        collected = {image_id for part in parts for image_id in part.image_ids}
        queried = {i for i in workspace.query(past.number)["image_id"] if i in labels and i not in collected}
        if queried:
            try:
                parts.append(boxes_and_scores(RotatedInstances.load(folder, queried)))
            except ValueError as error:
                warn_user(f"{error}; nothing is learnt from the detections of round {past.number}: delete {folder}")
    return RotatedInstances.concat(parts) if parts else RotatedInstances.empty(classes=labels.classes)


def boxes_and_scores(detections: RotatedInstances) -> RotatedInstances:
    """Drop what only some rounds keep of their detections, so that those of several rounds can be joined."""
    return detections.replace(class_scores=None, box_features=None, image_features=None, skipped=None)
