"""Who answers queries: the protocol of an annotator, the query it is given and the answer it returns."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import pandas as pd

from ..data import SHOWN_SCORE, RotatedInstances
from ..sampling import ShowingRule
from ..workspace import COST_COLUMNS

__all__ = ["Annotator", "Answer", "Query"]


@dataclass(frozen=True, eq=False)
class Query:
    """The images that a round wants labelled.

    Args:
        image_ids: best first.
        paths: image id -> file, for each of them.
        detections: all predicted boxes, with scores; images without a detection may be missing here. Where labels are
            in doubt, these are they, with a score of 1. Which of them to show, :meth:`boxes_to_show` says.
        scores: of each image, higher first; of strategies that pick images together only the order of picking. None
            where it has no score.
        ranks: the place of each image in the round's whole query, from 1; None: this is the whole query.
        whys: a sentence per image on why it was chosen.
        round: the number of the round.
        model_version: names the weights that detected, such as ``initial`` or ``round-002``; None if none did.
        again: whether the images are labelled already and their labels in doubt, or were skipped and shall not be. Then
            only what people submit after this query is an answer.
        costs: with `again`, what the images took before this query: ``image_id`` and
            :data:`~al_rotate.workspace.COST_COLUMNS`.
        figures: the strategy's own figure of each image, such as its uncertainty; None where it has none. None: the
            scores are.
        shown: those of the detections that are worth showing, as was decided when the round queried; None: those of a
            score of at least 0.3.
    """

    image_ids: Sequence[str]
    paths: Mapping[str, Path]
    detections: RotatedInstances
    scores: Sequence[float | None] | None = None
    ranks: Sequence[int] | None = None
    whys: Sequence[str] | None = None
    round: int = 0
    model_version: str | None = None
    again: bool = False
    costs: pd.DataFrame | None = None
    figures: Sequence[float | None] | None = None
    shown: RotatedInstances | None = None

    def boxes_to_show(self, least_score: float | None = None) -> RotatedInstances:
        """Return the predicted boxes that people have before them.

        Args:
            least_score: of an annotator that is set to one; it holds whatever was decided.

        Raises:
            ValueError: for boxes without scores.
        """
        if self.detections.scores is None and self.detections.n_boxes:
            raise ValueError("expected detections with scores, got boxes without")
        if least_score is None and self.shown is not None:
            return self.shown
        return ShowingRule(SHOWN_SCORE if least_score is None else least_score).shown(self.detections)


@dataclass(frozen=True, eq=False)
class Answer:
    """All answers so far, as :meth:`al_rotate.Workspace.record_answers` takes them, and how they came about.

    Args:
        labels: the labelled images, without scores; an image without a box is confirmed empty.
        skipped: image id -> reason, for images that shall not be labelled.
        costs: ``image_id`` and :data:`~al_rotate.workspace.COST_COLUMNS`, one row per answered image.
        unanswered: images that were looked up and have no answer now. An earlier answer to one is withdrawn.
        corrections: what became of each predicted box of the answered images, see
            :mod:`al_rotate.evaluation.corrections`.
        account: ``image_id``, ``action``, ``detail`` (and more): everything dropped, held back, kept or odd.
        cursor: what the next pull may start from; None for an annotator that always returns everything.
    """

    labels: RotatedInstances
    skipped: dict[str, str] = field(default_factory=dict)
    costs: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["image_id", *COST_COLUMNS]))
    unanswered: Sequence[str] = ()
    corrections: pd.DataFrame | None = None
    account: pd.DataFrame | None = None
    cursor: str | None = None

    @property
    def reported(self) -> set[str]:
        """Ids of all images that this says something about."""
        return {*self.labels.image_ids, *self.skipped, *self.unanswered}

    def only(self, image_ids: Collection[str]) -> Answer:
        """Return the answers to queried images; the account names the others, which people may have added."""
        others = sorted({*self.labels.image_ids, *self.skipped} - {*image_ids})
        account = self.account
        if others:
            detail = "answered, but this loop has not asked for it (yet): its labels are not taken over"
            rows = pd.DataFrame({"image_id": others, "action": "left out", "detail": detail})
            account = rows if account is None else pd.concat([account, rows], ignore_index=True)
        corrections = self.corrections
        return replace(
            self,
            labels=self.labels.subset(i for i in self.labels.image_ids if i in image_ids),
            skipped={i: reason for i, reason in self.skipped.items() if i in image_ids},
            costs=self.costs[self.costs["image_id"].isin(image_ids)],
            unanswered=[i for i in self.unanswered if i in image_ids],
            corrections=None if corrections is None else corrections[corrections["image_id"].isin(image_ids)],
            account=account,
        )


class Annotator(Protocol):
    """Answers queries: people in Label Studio over days, or a simulation at once.

    The loop pushes a query, and pulls as often as it likes. It may be killed in between, so before it pulls it pushes
    the open query again: `push` must ignore images that were pushed before, by whichever process. An annotator needs
    no memory of its own besides what it keeps elsewhere, such as on Label Studio's server.

    It may have two attributes: ``shown``, the least score of a box that it shows, if it does not leave that to the loop
    (None: it does), and ``cost``, the :class:`~al_rotate.CostModel` by which the loop then decides.
    """

    def push(self, query: Query) -> None:
        """Request labels."""

    def pull(self, since: str | None = None) -> Answer:
        """Return all answers to what was pushed, old ones included, without waiting.

        Args:
            since: the cursor of an answer that has been recorded. What has not changed since may be left out.
        """
