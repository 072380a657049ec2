"""Who answers a query: the protocol, and a simulated annotator that answers from held-back labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pandas as pd

from . import corrections
from .instances import RotatedInstances
from .workspace import COST_COLUMNS

__all__ = ["Annotator", "Answer", "CostModel", "Query", "SimulatedAnnotator"]


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


@dataclass(frozen=True)
class CostModel:
    """Seconds of a person's time, for comparing strategies by what they cost.

    These are **assumptions**, to be replaced by lead times measured in your own project. Published times are for
    upright boxes: about 35 s to draw one carefully (Su, Deng and Fei-Fei 2012), about 7 s by its four extreme
    points (Papadopoulos et al. 2017). A rotated box drawn with a mouse is put between them; changes of a box that
    is there already are put below.
    """

    image: float = 5.0  # to open an image and look it over
    added: float = 12.0
    moved: float = 5.0
    relabelled: float = 3.0
    deleted: float = 2.0
    kept: float = 0.0

    def seconds(self, counts: pd.DataFrame) -> pd.Series:
        """What each image of :func:`al_rotate.corrections.counts` costs."""
        return self.image + sum(getattr(self, name) * counts[f"n_{name}"] for name in corrections.COUNTS)


class SimulatedAnnotator:
    """Answers at once, from labels that were held back, and charges for each correction.

    Args:
        held_back: the true labels of every image that may be asked for.
        cost: seconds for each kind of correction.
        shown: the least score of a predicted box that the annotator sees, and has to correct.

    Raises:
        ValueError: when `held_back` are detections.
    """

    def __init__(self, held_back: RotatedInstances, cost: CostModel | None = None, shown: float = 0.3) -> None:
        if held_back.scores is not None:
            raise ValueError("expected held-back labels, which have no scores, got detections")
        self.held_back, self.cost, self.shown = held_back, cost or CostModel(), shown
        self._costs = pd.DataFrame(columns=["image_id", *COST_COLUMNS])
        self._corrections: list[pd.DataFrame] = []

    def push(self, query: Query) -> None:
        """See :meth:`Annotator.push`; `paths` are not looked at.

        Raises:
            ValueError: for detections without scores or of other classes.
            KeyError: for an image whose labels are not held back.
        """
        seen = query.detections
        if seen.scores is None and seen.n_boxes:
            raise ValueError("expected detections with scores, got boxes without")
        if seen.scores is not None:
            seen = seen.where(seen.scores >= self.shown)
        known = {*self._costs["image_id"]}
        new = [image_id for image_id in query.image_ids if image_id not in known]
        if new:
            table = corrections.compare(seen, self.held_back.subset(new))
            made = corrections.counts(table, new)
            costs = made.assign(annotator="simulated", seconds=self.cost.seconds(made))
            parts = [self._costs] * bool(known) + [costs[["image_id", *COST_COLUMNS]]]
            self._costs = pd.concat(parts, ignore_index=True)
            self._corrections.append(table)

    def pull(self, since: str | None = None) -> Answer:
        """The held-back labels of all pushed images, in the order in which they were pushed."""
        table = pd.concat(self._corrections, ignore_index=True) if self._corrections else None
        return Answer(self.held_back.subset(self._costs["image_id"]), {}, self._costs, corrections=table)
