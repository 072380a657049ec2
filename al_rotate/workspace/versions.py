"""Which weights a workspace holds and which of them are current; its test and validation sets."""

from __future__ import annotations

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
    version: str  # "initial", or "round-002" for what round 2 trained
    is_trained: bool = True  # False: they are random, and predict nothing


def all_weights(workspace: Workspace, before_round: int | None = None) -> list[Weights]:
    """List the weights of a workspace, oldest first: those that it was made with, then one per trained round.

    Args:
        workspace: to look at.
        before_round: leave out what this round and later ones trained; None: leave out nothing.
    """
    initial = workspace.settings.get("checkpoint")
    is_trained = not workspace.settings.get("cold", True)  # LoopSettings.untrained_start
    weights = [Weights(workspace.folder / initial, "initial", is_trained)] if initial else []
    for past in workspace.rounds()[:before_round]:
        if past.checkpoint is not None:
            weights.append(Weights(past.checkpoint, f"round-{past.number:03d}"))
    return weights


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
        return dataset.read(file)
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
