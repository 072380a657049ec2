"""What a strategy may use besides the pool's detections, built from a workspace and only as far as it needs it."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from ..data import RotatedInstances
from ..data.views import View
from ..sampling import CostModel, QueryContext, ShowingRule, costs, showing
from ..sampling.costs import ExpectedCost
from ..workspace import IMPORTED, Round, Weights, Workspace
from ..workspace.artefacts import discard_damaged
from ..workspace.held_out import held_out
from .learners import Learner


def decide_showing(
    workspace: Workspace, weights: Weights | None, annotator: object, cost: CostModel | None = None
) -> ShowingRule:
    """Decide which boxes people are shown of those that these weights predict.

    An annotator that has a ``shown`` of its own, such as ``al-rotate connect --shown 0.5``, decides by that score. Else
    the rule is learnt from the answers so far, see :func:`al_rotate.sampling.showing.learn`.

    Args:
        workspace: of the loop.
        weights: None: nothing is trained yet.
        annotator: see :class:`~al_rotate.loop.Annotator`, or another holder of these attributes; its ``cost``, if it
            has one, holds where no other times are given. None: there is none.
        cost: seconds for each kind of correction; None: the annotator's, or else the assumed ones.
    """
    cost = cost or getattr(annotator, "cost", None) or CostModel()
    if weights is None:
        return ShowingRule(cost=cost, why="no box is shown, because nothing is trained yet")
    if (own := getattr(annotator, "shown", None)) is not None:
        return ShowingRule(own, cost=cost, why=f"boxes are shown from a score of {own:g}, as the annotator is set")
    labels = workspace.labels()
    return showing.learn(held_out(workspace, labels), labels, cost)


def build_context(
    workspace: Workspace,
    learner: Learner,
    current: Round,
    weights: Weights | None,
    needs: frozenset[str],
    assumed_cost: ExpectedCost | None = None,
    rule: ShowingRule | None = None,
) -> QueryContext:
    """Build what a strategy with these needs is given in the current round.

    Args:
        workspace: of the loop.
        learner: predicts on labelled images and on views.
        current: the round that is about to query.
        weights: those that detected on the candidates; None: the round queries without a trained detector.
        needs: see :data:`al_rotate.sampling.strategies.base.NEEDS`.
        assumed_cost: of labelling an image, until there are enough answers to learn it from; None: as the times of
            the rule make one expect.
        rule: which boxes people are shown.
    """
    rule = rule or ShowingRule()
    labels = workspace.labels() if needs & {"labels", "labelled_features"} else RotatedInstances.empty()

    def detect_on_labelled() -> RotatedInstances | None:
        if weights is None or not len(labels) or "labelled_features" not in needs:
            return None
        folder = current.folder / "labelled_detections"
        discard_damaged(folder)
        found = learner.predict(weights.path, workspace.paths(labels.image_ids), folder, features=True)
        return workspace.in_current_classes(found)

    def predict_views(image_ids: Sequence[str], views: Sequence[View]) -> Sequence[RotatedInstances]:
        assert weights is not None
        # One folder per request: a killed query that resumes with other images must not find the first one's results.
        request = zlib.crc32("\n".join([*image_ids, *(view.name for view in views)]).encode())
        folder = current.folder / f"views-{request:08x}"
        discard_damaged(folder)
        detections = learner.predict_views(weights.path, workspace.paths(image_ids), views, folder)
        return [workspace.in_current_classes(part) for part in detections]

    ledger, on_labelled = workspace.ledger(), detect_on_labelled()
    return QueryContext(
        labels=labels,
        detections=held_out(workspace, labels) if "labels" in needs else RotatedInstances.empty(),
        features=None if on_labelled is None else on_labelled.image_features,
        labelled_detections=on_labelled,
        views=predict_views if weights is not None else None,
        # Imported labels took no time.
        cost=costs.fit(ledger[ledger["annotator"] != IMPORTED], assumed_cost or ExpectedCost.assumed(rule.cost)).cost,
        showing=rule,
    )
