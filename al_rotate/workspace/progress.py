"""How far a workspace has come, what comes next, and whether another round is worth it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from ..data import RotatedInstances
from ..sampling.stopping import Advice, advise, agreement
from ..storage.user_warnings import warn_user
from .held_out import boxes_and_scores
from .versions import current_weights
from .workspace import Workspace

_COMPARED_IMAGES = 2000  # per round, where there is no test set
_COMPARED_ROUNDS = 4


def advise_on(workspace: Workspace) -> Advice:
    """Advise on a workspace by its history and by how far the detections of its last rounds agree.

    Detections are compared on the test images. Without a test set, on up to 2,000 images that were in the pool in both
    rounds. See :func:`al_rotate.sampling.stopping.advise`.
    """
    folders = [r.folder / "test_detections" for r in workspace.rounds() if r.stage == "trained"]
    if not any(folder.exists() for folder in folders):
        folders = [r.folder / "detections" for r in workspace.rounds() if r.stage not in ("new", "undone")]
    loaded = [_load(workspace, folder) for folder in folders[-_COMPARED_ROUNDS:] if folder.exists()]
    detections = [part for part in loaded if part is not None]
    agreements = []
    for before, after in pairwise(detections):
        if shared := [image_id for image_id in before.image_ids if image_id in after]:
            agreements.append(agreement(before.subset(shared), after.subset(shared)))
    return advise(workspace.history(), agreements)


def trains_next(workspace: Workspace) -> bool:
    """Return whether a training comes before the next query.

    It does once a query is collected; and where labels were imported, if nothing is trained yet that a query could go
    by, or no image is left to query.
    """
    rounds = workspace.rounds()
    if rounds and rounds[-1].stage in ("queried", "collected"):
        return rounds[-1].stage == "collected"
    number = len(rounds) if not rounds or rounds[-1].is_over else rounds[-1].number
    if not workspace.waits_to_be_trained_on(number):
        return False
    weights = current_weights(workspace)
    return weights is None or not weights.is_trained or not workspace.ids("unlabelled")


def _load(workspace: Workspace, folder: Path) -> RotatedInstances | None:
    """Load detections to compare; None, with a warning, if they are damaged."""
    parts: list[RotatedInstances] = []
    try:
        for shard in RotatedInstances.stream(folder):
            parts.append(workspace.in_current_classes(boxes_and_scores(shard)))
            if sum(map(len, parts)) >= _COMPARED_IMAGES:
                break
    except (ValueError, FileNotFoundError) as error:
        warn_user(f"{error}; the advice does without these detections: delete {folder}")
        return None
    return RotatedInstances.concat(parts)
