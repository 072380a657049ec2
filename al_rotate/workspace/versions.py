"""Which weights a workspace holds and which of them are current; its test and validation sets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..data import RotatedInstances, dataset
from .workspace import Workspace

SetName = Literal["test", "val"]


@dataclass(frozen=True)
class Weights:
    """A checkpoint and the name of its version."""

    path: Path
    version: str  # "initial", "round-002" for what round 2 trained, or "detector-001" for one that was set later
    is_trained: bool = True  # False: they are random, and predict nothing


def all_weights(workspace: Workspace, before_round: int | None = None) -> list[Weights]:
    """List the weights of a workspace, oldest first: those that it was made with, then one per trained round.

    A detector that was set later follows the rounds that were trained before it. Rounds that were undone have none.

    Args:
        workspace: to look at.
        before_round: leave out what this round and later ones trained; None: leave out nothing.
    """
    weights = _starts(workspace)
    for past in workspace.rounds()[:before_round]:
        if past.checkpoint is not None and past.stage == "trained":
            weights.append((past.number, Weights(past.checkpoint, f"round-{past.number:03d}")))
    last = math.inf if before_round is None else before_round
    # Set before round r queries, a detector comes before what round r trains.
    return [entry for number, entry in sorted(weights, key=lambda pair: pair[0]) if number <= last]


def initial_weights(workspace: Workspace) -> Weights | None:
    """Return the weights that the workspace was made with, or the detector that was set last; None without one."""
    starts = _starts(workspace)
    return starts[-1][1] if starts else None


def _starts(workspace: Workspace) -> list[tuple[float, Weights]]:
    """Return (number of the next round less a half, weights) of each detector that the workspace was given."""
    set_later = workspace.changes()
    set_later = set_later[set_later["what"] == "set_detector"]
    settings = [change["before"] for change in set_later["detail"]][:1] or [workspace.settings]
    settings += [change["after"] for change in set_later["detail"]]
    numbers = [0, *set_later["round"]]
    return [
        (number - 0.5, Weights(workspace.folder / checkpoint, _version(checkpoint), not each.get("cold", True)))
        for number, each in zip(numbers, settings, strict=True)
        if (checkpoint := each.get("checkpoint"))
    ]


def _version(checkpoint: str) -> str:
    return Path(checkpoint).stem  # initial, or detector-002 for what was set later


def current_weights(workspace: Workspace, before_round: int | None = None) -> Weights | None:
    """Return the newest weights, or those that were the newest when a round began.

    Args:
        workspace: to look at.
        before_round: the round whose starting weights are wanted; 0 gives the initial ones, None the newest of all.

    Returns:
        None for a workspace that was made without a detector, until its first training.
    """
    return next(reversed(all_weights(workspace, before_round)), None)


def labelled_set(workspace: Workspace, name: SetName) -> tuple[RotatedInstances, dict[str, Path]] | None:
    """Load the test or the validation set: its labels, and image id -> file.

    Returns:
        None if the workspace has no such set.

    Raises:
        FileNotFoundError, ValueError: if a file of the set is gone or damaged; says which, and what to do.
    """
    file = labelled_set_file(workspace, name)
    if file is None:
        return None
    try:
        labels, files = dataset.read(file)
        return workspace.in_current_classes(labels), files
    except (FileNotFoundError, ValueError) as error:
        kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
        raise kind(
            f"the {name} set of {workspace.folder} is gone or damaged: {error}. Restore {file} and "
            f"{file.with_suffix('.files.json').name} from a copy, or give the set again: set_{name}(images, labels)"
        ) from None


def labelled_set_file(workspace: Workspace, name: SetName) -> Path | None:
    """Return the file with the labels of the test or the validation set; None if the workspace has no such set."""
    if kept := workspace.settings.get(name):
        return workspace.folder / kept
    # al_rotate 0.2 did not record whether there was a test set.
    file = workspace.folder / "test.parquet"
    measured = any((past.folder / "test_detections").exists() for past in workspace.rounds())
    return file if name == "test" and (file.exists() or file.with_suffix(".files.json").exists() or measured) else None


def labelled_set_files(workspace: Workspace, name: SetName) -> dict[str, Path]:
    """Return image id -> file of the test or the validation set; empty if there is none."""
    kept = labelled_set(workspace, name)
    return {} if kept is None else kept[1]
