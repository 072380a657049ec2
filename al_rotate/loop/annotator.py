"""Who answers a query: the protocol, and a simulated annotator that answers from held-back labels."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import pandas as pd

from ..data.instances import RotatedInstances
from ..workspace import COST_COLUMNS

__all__ = ["Annotator", "Answer", "Query"]


@dataclass(frozen=True, eq=False)
class Answer:
    """What has been answered so far; the arguments of :meth:`Workspace.record_answers`.

    Args:
        labels: the labelled images, without scores; an image without a box is confirmed empty.
        skipped: image id -> reason, for images that shall not be labelled.
        costs: ``image_id`` and :data:`~al_rotate.workspace.COST_COLUMNS`, one row an answered image.
        unanswered: images looked at that have no answer now; one that was taken over earlier is withdrawn.
        corrections: what became of each predicted box of the answered images, see :mod:`al_rotate.corrections`.
        account: ``image_id``, ``action``, ``detail`` (and more): everything dropped, held back, kept or odd.
        cursor: what the next pull may start from; None where an annotator always tells all.
    """

    labels: RotatedInstances
    skipped: dict[str, str] = field(default_factory=dict)
    costs: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["image_id", *COST_COLUMNS]))
    unanswered: Sequence[str] = ()
    corrections: pd.DataFrame | None = None
    account: pd.DataFrame | None = None
    cursor: str | None = None

    @property
    def told(self) -> set[str]:
        """Ids of all images that this tells something of."""
        return {*self.labels.image_ids, *self.skipped, *self.unanswered}

    def only(self, asked: Collection[str]) -> Answer:
        """Answers for images that were asked for; the account names the others, which people may have added."""
        others = sorted({*self.labels.image_ids, *self.skipped} - {*asked})
        account = self.account
        if others:
            detail = "answered, but this loop has not asked for it (yet): its labels are not taken over"
            rows = pd.DataFrame({"image_id": others, "action": "left out", "detail": detail})
            account = rows if account is None else pd.concat([account, rows], ignore_index=True)
        table = self.corrections
        return replace(
            self,
            labels=self.labels.subset(i for i in self.labels.image_ids if i in asked),
            skipped={i: reason for i, reason in self.skipped.items() if i in asked},
            costs=self.costs[self.costs["image_id"].isin(asked)],
            unanswered=[i for i in self.unanswered if i in asked],
            corrections=None if table is None else table[table["image_id"].isin(asked)],
            account=account,
        )


@dataclass(frozen=True, eq=False)
class Query:
    """What a round asks for.

    Args:
        image_ids: the most wanted first.
        paths: image id -> file, for each of them.
        detections: boxes to correct, with scores; images without a detection may be missing here.
        scores: how much each image is wanted, higher is more; None where nothing is known of it.
        ranks: the place of each among all that the round asks for, from 1; None: these are all.
        whys: a sentence each on why this image.
        round: the number of the round that asks.
        model_version: names the weights that detected, like ``initial`` or ``round-002``; None where none did.
        again: whether the images are labelled and their labels in doubt; only what is answered after this is an answer.
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


class Annotator(Protocol):
    """Whoever answers queries: people in Label Studio over days, or a simulation at once.

    The loop pushes a query, and pulls as often as it likes. It may be killed in between, so before it pulls it
    pushes the open query again: `push` must do nothing for images that were pushed before, by whichever process.
    An annotator then needs no memory of its own beside what it keeps elsewhere (Label Studio's server does).
    """

    def push(self, query: Query) -> None:
        """Ask for labels."""

    def pull(self, since: str | None = None) -> Answer:
        """All answers there are to what was pushed, old ones included; it neither waits nor forgets.

        Args:
            since: the cursor of an answer that has been recorded: what has not changed after it may be left out.
        """
