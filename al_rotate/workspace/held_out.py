"""TODO workspace.held_out."""

from __future__ import annotations

from ..data.instances import RotatedInstances
from .workspace import Workspace

ENOUGH = 5000  # detections to calibrate on: those of older rounds come from weaker weights


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
