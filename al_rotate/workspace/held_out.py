"""Detections on labelled images from before the detector was trained on their labels."""

from __future__ import annotations

from ..data import RotatedInstances
from ..storage.user_warnings import warn_user
from .records import IMPORTED
from .workspace import Workspace

ENOUGH = 5000  # boxes to calibrate on; those of older rounds come from weaker weights


def held_out(workspace: Workspace, labels: RotatedInstances, enough: float = ENOUGH) -> RotatedInstances:
    """Collect the detections that labelled images were chosen by, which no training on their labels has touched.

    Of an image that was queried these are the detections of its query. Labels that were imported have such detections
    only if the image was still without labels when some round detected on the pool, as happens to labels that are added
    later. Labels that were there from the start have none: whether they are right is not judged, and nothing is
    calibrated on them. Until queries bring labels with detections, scores stay as the detector gives them.

    Newest rounds first, until there are `enough` boxes. Rounds that queried without a trained detector have none.

    Args:
        workspace: to look in.
        labels: of the images that count.
        enough: boxes after which older rounds are left out.
    """
    ledger = workspace.ledger()
    imported = ledger[ledger["annotator"] == IMPORTED]
    parts: list[RotatedInstances] = []
    for past in reversed(workspace.rounds()):
        folder = past.folder / "detections"
        if sum(part.n_boxes for part in parts) >= enough:
            break
        if not folder.exists():
            continue
        collected = {image_id for part in parts for image_id in part.image_ids}
        # What was imported since then was among the candidates.
        candidates = {
            *workspace.query(past.number)["image_id"],
            *imported.loc[imported["round"] >= past.number, "image_id"],
        }
        wanted = {image_id for image_id in candidates if image_id in labels and image_id not in collected}
        if wanted:
            try:
                found = boxes_and_scores(RotatedInstances.load(folder, wanted))
                parts.append(workspace.in_current_classes(found))
            except (ValueError, FileNotFoundError) as error:
                if past.stage == "new":  # its query was killed: it will be resumed, or these are deleted
                    continue
                warn_user(f"{error}; nothing is learnt from the detections of round {past.number}: delete {folder}")
    return RotatedInstances.concat(parts) if parts else RotatedInstances.empty(classes=labels.classes)


def boxes_and_scores(detections: RotatedInstances) -> RotatedInstances:
    """Drop what only some rounds keep of their detections, so that those of several rounds can be joined."""
    return detections.replace(class_scores=None, box_features=None, image_features=None, skipped=None)
