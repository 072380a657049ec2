"""Who answers a query: the protocol, and a simulated annotator that answers from held-back labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from . import boxes as rboxes
from .instances import RotatedInstances
from .workspace import COST_COLUMNS

__all__ = ["Annotator", "Answer", "Corrections", "CostModel", "Query", "SimulatedAnnotator", "corrections"]


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
        round: the number of the round that asks.
        model_version: names the weights that detected, like ``initial`` or ``round-002``; None where none did.
    """

    image_ids: Sequence[str]
    paths: Mapping[str, Path]
    detections: RotatedInstances
    scores: Sequence[float | None] | None = None
    round: int = 0
    model_version: str | None = None


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
class Corrections:
    """What turns predicted boxes into the true ones, in numbers of boxes.

    A box can be both moved and relabelled. ``kept + deleted`` + those changed are all predicted boxes.
    """

    kept: int
    added: int
    moved: int
    relabelled: int
    deleted: int


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

    def seconds(self, made: Corrections) -> float:
        """What one image with these corrections costs."""
        boxes = ("added", "moved", "relabelled", "deleted", "kept")
        return self.image + sum(getattr(self, name) * getattr(made, name) for name in boxes)


def corrections(
    predicted_boxes: ArrayLike,
    predicted_labels: ArrayLike,
    true_boxes: ArrayLike,
    true_labels: ArrayLike,
    same_object: float = 0.5,
    good_enough: float = 0.9,
) -> Corrections:
    """What a person changes to make the predicted boxes of one image the true ones.

    A predicted and a true box show the same object when their rotated IoU is at least `same_object`; pairs are made
    greedily in descending IoU, whatever the class (a wrong class is cheaper to change than a box to draw), each
    box in one pair at most. At equal IoU a pair of one class comes first, then the earlier boxes.

    Args:
        predicted_boxes: (N, 5) pixels and radians.
        predicted_labels: (N,) class indices.
        true_boxes: (M, 5).
        true_labels: (M,).
        same_object: least IoU of a pair; other predictions are deleted, other true boxes added.
        good_enough: least IoU at which a pair's box is left where it is.
    """
    found, wanted = np.asarray(predicted_labels), np.asarray(true_labels)
    boxes, truth = np.asarray(predicted_boxes, float).reshape(-1, 5), np.asarray(true_boxes, float).reshape(-1, 5)
    if len(boxes) != len(found) or len(truth) != len(wanted):
        raise ValueError(
            f"expected a label for each box, got {len(found)} labels of {len(boxes)} predicted boxes and "
            f"{len(wanted)} of {len(truth)} true ones"
        )
    rows, columns = rboxes.near_pairs(boxes, truth)
    # Rounded, so that what is equal but for the order of additions ties.
    overlap = rboxes.iou(boxes[rows], truth[columns], paired=True).round(9)
    near = overlap >= same_object
    rows, columns, overlap = rows[near], columns[near], overlap[near]
    wrong = found[rows] != wanted[columns]
    used, met = np.zeros(len(boxes), bool), np.zeros(len(truth), bool)
    kept = moved = relabelled = 0
    for k in np.lexsort((columns, rows, wrong, -overlap)):
        if used[rows[k]] or met[columns[k]]:
            continue
        used[rows[k]] = met[columns[k]] = True
        off = overlap[k] < good_enough
        moved += int(off)
        relabelled += int(wrong[k])
        kept += int(not off and not wrong[k])
    return Corrections(kept, int((~met).sum()), moved, relabelled, int((~used).sum()))


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
        self._costs: dict[str, tuple[str | int | float, ...]] = {}

    def push(self, query: Query) -> None:
        """See :meth:`Annotator.push`; `paths` are not looked at.

        Raises:
            ValueError: for detections without scores or of other classes.
            KeyError: for an image whose labels are not held back.
        """
        detections = query.detections
        if detections.scores is None and detections.n_boxes:
            raise ValueError("expected detections with scores, got boxes without")
        if None not in (detections.classes, self.held_back.classes) and detections.classes != self.held_back.classes:
            raise ValueError(f"expected detections of the classes {self.held_back.classes}, got {detections.classes}")
        new = {
            image_id: self._answer(image_id, detections) for image_id in query.image_ids if image_id not in self._costs
        }
        self._costs |= new

    def pull(self, since: str | None = None) -> Answer:
        """The held-back labels of all pushed images, in the order in which they were pushed."""
        costs = pd.DataFrame([(i, *row) for i, row in self._costs.items()], columns=["image_id", *COST_COLUMNS])
        return Answer(self.held_back.subset(self._costs), {}, costs)

    def _answer(self, image_id: str, detections: RotatedInstances) -> tuple[str | int | float, ...]:
        """The values of COST_COLUMNS."""
        truth = self.held_back[image_id]
        seen = detections[image_id] if image_id in detections else RotatedInstances.empty()
        if seen.scores is not None:
            seen = seen.where(seen.scores >= self.shown)
        made = corrections(seen.boxes, seen.labels, truth.boxes, truth.labels)
        return "simulated", self.cost.seconds(made), made.added, made.moved, made.relabelled, made.deleted
