"""A simulated annotator, which answers from labels that were held back."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ..data.instances import SHOWN_SCORE, RotatedInstances
from ..evaluation import corrections
from ..sampling.costs import CostModel
from ..workspace import COST_COLUMNS
from .annotator import Answer, Query

HELD_BACK = "held_back.parquet"  # in a workspace


class SimulatedAnnotator:
    """Answers at once, from labels that were held back, and charges for each correction.

    Args:
        held_back: the true labels of every image that may be asked for.
        cost: seconds for each kind of correction.
        shown: the least score of a predicted box that the annotator sees, and has to correct.

    Raises:
        ValueError: when `held_back` are detections.
    """

    def __init__(self, held_back: RotatedInstances, cost: CostModel | None = None, shown: float = SHOWN_SCORE) -> None:
        if held_back.scores is not None:
            raise ValueError("expected held-back labels, which have no scores, got detections")
        self.held_back, self.cost, self.shown = held_back, cost or CostModel(), shown
        self._costs = pd.DataFrame(columns=["image_id", *COST_COLUMNS])
        self._corrections: list[pd.DataFrame] = []

    def remember(self, folder: Path) -> None:
        """Keep the held-back labels in a workspace's folder, where :func:`restore` finds them."""
        self.held_back.save(folder / HELD_BACK)

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


def restore(folder: Path) -> SimulatedAnnotator | None:
    """The simulated annotator that a workspace was made with, or None: an ``al_rotate.annotators`` entry point."""
    file = folder / HELD_BACK
    return SimulatedAnnotator(RotatedInstances.load(file)) if file.exists() else None
