"""TODO workspace.progress."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from ..data.instances import RotatedInstances
from ..sampling.stopping import Advice, advise, agreement
from .workspace import Workspace

_COMPARED = 2000  # images whose detections are compared where there is no test set


def advise_on(workspace: Workspace) -> Advice:
    """:func:`advise` on a workspace: its history, and how far the detections of its last rounds agree.

    Detections are compared on the test images; without a test set on up to 2,000 images that were in the pool in both
    rounds.
    """
    folders = [r.folder / "test_detections" for r in workspace.rounds() if r.stage == "trained"]
    if not any(folder.exists() for folder in folders):
        folders = [r.folder / "detections" for r in workspace.rounds() if r.stage != "new"]
    found = [_some(folder) for folder in folders[-4:] if folder.exists()]
    values = []
    for before, after in pairwise(found):
        if common := [image_id for image_id in before.image_ids if image_id in after]:
            values.append(agreement(before.subset(common), after.subset(common)))
    return advise(workspace.history(), values)


def _some(folder: Path) -> RotatedInstances:
    parts: list[RotatedInstances] = []
    for part in RotatedInstances.stream(folder):
        parts.append(part.replace(class_scores=None, box_features=None, image_features=None))
        if sum(map(len, parts)) >= _COMPARED:
            break
    return RotatedInstances.concat(parts)
