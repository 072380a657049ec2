"""Which weights a workspace holds, and which of them are current."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .workspace import Workspace


@dataclass(frozen=True)
class Weights:
    """A checkpoint and the name of its version."""

    path: Path
    version: str  # "initial", or "round-002" for what round 2 trained


def all_weights(workspace: Workspace, before_round: int | None = None) -> list[Weights]:
    """List the weights of a workspace, oldest first: those that it was made with, then one per trained round.

    Args:
        workspace: to look at.
        before_round: leave out what this round and later ones trained; None: leave out nothing.
    """
    initial = workspace.settings.get("checkpoint")
    weights = [Weights(workspace.folder / initial, "initial")] if initial else []
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
