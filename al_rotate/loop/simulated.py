"""A simulated annotator, which answers from labels that were held back."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ..data import SHOWN_SCORE, RotatedInstances
from ..evaluation import corrections
from ..sampling import CostModel
from ..workspace import COST_COLUMNS
from .annotator import Answer, Query

HELD_BACK = "held_back.parquet"  # in a workspace


class SimulatedAnnotator:
    """An annotator that answers at once from held-back labels, and charges for each correction.

    Args:
        held_back: the true labels of every image that may be queried.
        cost: seconds for each kind of correction.
        shown: the lowest score of a predicted box that the annotator sees, and has to correct.

    Raises:
        ValueError: if `held_back` are detections.
    """

    def __init__(self, held_back: RotatedInstances, cost: CostModel | None = None, shown: float = SHOWN_SCORE) -> None:
        if held_back.scores is not None:
            raise ValueError("expected held-back labels, which have no scores, got detections")
        self.held_back, self.cost, self.shown = held_back, cost or CostModel(), shown
        self._costs = pd.DataFrame(columns=["image_id", *COST_COLUMNS])
        self._corrections: list[pd.DataFrame] = []

    def remember(self, folder: Path) -> None:
        """Save the held-back labels in a workspace's folder, where :func:`restore` finds them."""
        self.held_back.save(folder / HELD_BACK)

    def push(self, query: Query) -> None:
        """See :meth:`Annotator.push`; the image files are not opened.

        Raises:
            ValueError: for detections without scores or of other classes.
            KeyError: for an image whose labels are not held back.
        """
        shown = query.detections
        if shown.scores is None and shown.n_boxes:
            raise ValueError("expected detections with scores, got boxes without")
        if shown.scores is not None:
            shown = shown.where(shown.scores >= self.shown)
        pushed_before = {*self._costs["image_id"]}
        new = [image_id for image_id in query.image_ids if image_id not in pushed_before]
        if new:
            table = corrections.compare(shown, self.held_back.subset(new))
            counts = corrections.counts(table, new)
            costs = counts.assign(annotator="simulated", seconds=self.cost.seconds(counts))
            earlier = [self._costs] if pushed_before else []
            self._costs = pd.concat([*earlier, costs[["image_id", *COST_COLUMNS]]], ignore_index=True)
            self._corrections.append(table)

    def pull(self, since: str | None = None) -> Answer:
        """Return the held-back labels of all pushed images, in the order in which they were pushed."""
        table = pd.concat(self._corrections, ignore_index=True) if self._corrections else None
        return Answer(self.held_back.subset(self._costs["image_id"]), {}, self._costs, corrections=table)


def restore(folder: Path) -> SimulatedAnnotator | None:
    """Restore the simulated annotator that a workspace was made with: an ``al_rotate.annotators`` entry point.

    Returns:
        None if the workspace was made without one.
    """
    file = folder / HELD_BACK
    return SimulatedAnnotator(RotatedInstances.load(file)) if file.exists() else None
