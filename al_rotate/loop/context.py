"""What a strategy may use besides the pool's detections, built from a workspace and only as far as it needs it."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..data import RotatedInstances
from ..data.views import View
from ..sampling import QueryContext, costs
from ..sampling.costs import ExpectedCost
from ..workspace import IMPORTED, Round, Weights, Workspace
from ..workspace.artefacts import discard_damaged
from ..workspace.held_out import held_out
from .learners import Learner


def build_context(
    workspace: Workspace,
    learner: Learner,
    current: Round,
    weights: Weights | None,
    needs: frozenset[str],
    assumed_cost: ExpectedCost | None = None,
) -> QueryContext:
    """Build what a strategy with these needs is given in the current round.

    Args:
        workspace: of the loop.
        learner: predicts on labelled images and on views.
        current: the round that is about to query.
        weights: those that detected on the candidates; None: the round queries without a trained detector.
        needs: see :data:`al_rotate.sampling.strategies.base.NEEDS`.
        assumed_cost: of labelling an image, until there are enough answers to learn it from.
    """
    labels = workspace.labels() if needs & {"labels", "labelled_features"} else RotatedInstances.empty()

    def features() -> NDArray[np.float32] | None:
        if weights is None or not len(labels):
            return None
        folder = current.folder / "labelled_detections"
        discard_damaged(folder)
        return learner.predict(weights.path, workspace.paths(labels.image_ids), folder, features=True).image_features

    def predict_views(image_ids: Sequence[str], views: Sequence[View]) -> Sequence[RotatedInstances]:
        assert weights is not None
        # One folder per request: a killed query that resumes with other images must not find the first one's results.
        request = zlib.crc32("\n".join([*image_ids, *(view.name for view in views)]).encode())
        folder = current.folder / f"views-{request:08x}"
        discard_damaged(folder)
        detections = learner.predict_views(weights.path, workspace.paths(image_ids), views, folder)
        return [workspace.in_current_classes(part) for part in detections]

    ledger = workspace.ledger()
    return QueryContext(
        labels=labels,
        detections=held_out(workspace, labels) if "labels" in needs else RotatedInstances.empty(),
        features=features() if "labelled_features" in needs else None,
        views=predict_views if weights is not None else None,
        cost=costs.fit(ledger[ledger["annotator"] != IMPORTED], assumed_cost).cost,  # imported labels took no time
    )
