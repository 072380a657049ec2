"""What a loop can tell a strategy beside its detections on the pool: gathered, and only what the strategy asks for."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..data.instances import RotatedInstances
from ..data.views import View
from ..sampling import QueryContext
from ..sampling.costs import ExpectedCost
from ..workspace import Round, Workspace
from ..workspace.held_out import held_out
from .learner import Learner


def build_context(
    workspace: Workspace,
    learner: Learner,
    current: Round,
    checkpoint: Path | None,
    needs: frozenset[str],
    cost: ExpectedCost | None = None,
) -> QueryContext:
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

    return QueryContext(
        labels,
        held,
        features() if "labelled_features" in needs else None,
        views if checkpoint is not None else None,
        cost or ExpectedCost(),
    )
