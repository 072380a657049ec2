"""A simulated annotator, which answers from labels that were held back."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..data import SHOWN_SCORE, RotatedInstances
from ..evaluation import corrections
from ..evaluation.tolerance import Tolerance
from ..sampling import CostModel
from ..storage.files import atomic_write
from ..workspace import COST_COLUMNS
from .annotator import Answer, Query

HELD_BACK, COSTS = "held_back.parquet", "held_back.json"  # in a workspace
_SUMMED = COST_COLUMNS[1:]  # numbers, which add up over all work on an image
_UNTOLD: dict[str, Any] = {"shown": SHOWN_SCORE, "cost": {"kept": 0.0}}  # of a workspace by al_rotate 0.1


@dataclass(frozen=True, eq=False)
class _Answered:
    round: int  # that asked
    boxes: NDArray[np.float32]  # one per held-back label of the image; the labels' classes may be changed later
    costs: pd.DataFrame  # one row
    corrections: pd.DataFrame


class SimulatedAnnotator:
    """An annotator that answers at once from held-back labels, and charges for each correction.

    A predicted box that is as good as what a person would draw stays as it is: it costs a look, and it is what the
    answer holds. All other boxes of the answer are the held-back ones.

    Args:
        held_back: the true labels of every image that may be queried.
        cost: seconds for each kind of correction.
        shown: the least score of a predicted box that the annotator sees, and has to correct; None: the loop decides
            which boxes are worth showing at these costs.
        tolerance: how far off a predicted box is left alone; None: as careful people do.

    Raises:
        ValueError: if `held_back` are detections.
    """

    def __init__(
        self,
        held_back: RotatedInstances,
        cost: CostModel | None = None,
        shown: float | None = None,
        tolerance: Tolerance | None = None,
    ) -> None:
        if held_back.scores is not None:
            raise ValueError("expected held-back labels, which have no scores, got detections")
        self.held_back, self.cost, self.shown = held_back, cost or CostModel(), shown
        self.tolerance = tolerance or Tolerance()
        self._answers: dict[str, _Answered] = {}

    def remember(self, folder: Path) -> None:
        """Save labels and settings in a workspace's folder, where :func:`restore` finds them."""
        self.held_back.save(folder / HELD_BACK)
        settings = {"cost": asdict(self.cost), "shown": self.shown, "tolerance": asdict(self.tolerance)}
        with atomic_write(folder / COSTS) as file:
            json.dump(settings, file)

    def push(self, query: Query) -> None:
        """See :meth:`al_rotate.loop.Annotator.push`; the image files are not opened.

        What an image costs depends on the query alone, so that it is the same in a process that starts in between. With
        ``query.again`` it is the cost of turning the image's labels into the held-back ones, on top of what was spent
        before.

        Raises:
            ValueError: for detections without scores or of other classes.
            KeyError: for an image whose labels are not held back.
        """
        asked = [i for i in query.image_ids if i not in self._answers or self._answers[i].round < query.round]
        if not asked:
            return
        shown, truth = query.boxes_to_show(self.shown), self.held_back.subset(asked)
        table = corrections.compare(shown, truth, tolerance=self.tolerance)
        answers = corrections.left_alone(shown, truth, tolerance=self.tolerance)
        counts = corrections.counts(table, asked)
        costs = counts.assign(seconds=self.cost.seconds(counts))[["image_id", *_SUMMED]]
        if query.again and query.costs is not None:
            before = query.costs.set_index("image_id")[[*_SUMMED]].reindex(asked).astype(float).fillna(0)
            costs[[*_SUMMED]] += before.to_numpy()
        whole = {name: int for name in _SUMMED if name != "seconds"}
        rows = costs.assign(annotator="simulated").astype(whole)[["image_id", *COST_COLUMNS]]
        for position, image_id in enumerate(asked):
            self._answers.pop(image_id, None)  # the latest query comes last
            made = table[table["image_id"] == image_id]
            self._answers[image_id] = _Answered(query.round, answers[image_id].boxes, rows.iloc[[position]], made)

    def pull(self, since: str | None = None) -> Answer:
        """Return the answers to all pushed images, in the order in which they were pushed last."""
        answered = self._answers.values()
        if not answered:
            return Answer(self.held_back.subset([]))
        costs = pd.concat([answer.costs for answer in answered], ignore_index=True)
        made = [answer.corrections for answer in answered]
        table = pd.concat([part for part in made if len(part)] or made[:1], ignore_index=True)
        labels = self.held_back.subset(self._answers)
        labels = labels.replace(boxes=np.concatenate([answer.boxes for answer in answered]))
        return Answer(labels, {}, costs, corrections=table)


def restore(folder: Path) -> SimulatedAnnotator | None:
    """Restore the simulated annotator that a workspace was made with: an ``al_rotate.annotators`` entry point.

    Returns:
        None if the workspace was made without one.
    """
    file, costs = folder / HELD_BACK, folder / COSTS
    if not file.exists() and not costs.exists():
        return None
    try:
        held_back = RotatedInstances.load(file)
        told = json.loads(costs.read_text(encoding="utf-8")) if costs.exists() else _UNTOLD
        parts = {"cost": CostModel(**told.get("cost", {})), "tolerance": Tolerance(**told.get("tolerance", {}))}
        return SimulatedAnnotator(held_back, **{**told, **parts})
    except (FileNotFoundError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"the labels that {folder} holds back are gone or damaged: {error}. Restore {file} and {costs.name} from a "
            "copy, or give an annotator: ActiveLoop(..., annotator=SimulatedAnnotator(labels))"
        ) from error
