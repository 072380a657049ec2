"""What a gallery knows of an image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...boxes import to_corners
from ...data import SHOWN_SCORE, RotatedInstances
from ..plots import differences
from ..plots.sheets import reasons

LEAST_SCORE = 0.1  # of detections in the file: the reader chooses from where they are drawn
MOST_BOXES = 100  # of an image, those of the highest scores


@dataclass
class Card:
    """One image.

    Attributes:
        image_id, file: of the image.
        status: in the workspace; empty outside of one.
        round: that queried it; None: none.
        ranked_by: the round whose ranking is told; None: none.
        rank, score, why: by the ranking; None and empty where it has none.
        doubt: what is odd about its labels, in words; empty: nothing.
        detections: on the image; None: nothing detected on it.
        labels: of the image; None: it is not labelled.
        shown: (N,) which of the detections people were shown; None: those with a score of at least SHOWN_SCORE.
    """

    image_id: str
    file: Path
    status: str = ""
    round: int | None = None
    ranked_by: int | None = None
    rank: float | None = None
    score: float | None = None
    why: str = ""
    doubt: str = ""
    detections: RotatedInstances | None = None
    labels: RotatedInstances | None = None
    shown: NDArray[np.bool_] | None = None
    left_out: int = field(default=0, init=False)  # detections that the file does not hold

    def to_json(self) -> dict[str, Any]:
        """Return what the page needs, but the picture: boxes as corners x1, y1 to x4, y4, class, score and kind."""
        order = self._strongest()
        found = None if self.detections is None else _taken(self.detections, order)
        kinds = None
        if found is not None and self.labels is not None:
            is_shown = found.scores >= SHOWN_SCORE if found.scores is not None else np.ones(found.n_boxes, bool)
            is_shown = is_shown if self.shown is None else self.shown[order]
            compared = differences(found.where(is_shown), self.labels)
            remaining = iter(compared.predicted)
            kinds = [next(remaining) if shown else "" for shown in is_shown], compared.labels
        return {
            "id": self.image_id,
            "status": self.status,
            "round": self.round,
            "rankedBy": self.ranked_by,
            "rank": _number(self.rank),
            "score": _number(self.score),
            "why": self.why,
            "doubt": self.doubt,
            "leftOut": self.left_out,
            "detections": None if found is None else _rows(found, kinds and kinds[0]),
            "labels": None if self.labels is None else _rows(self.labels, kinds and kinds[1]),
        }

    def _strongest(self) -> NDArray[np.intp]:
        """The rows of the detections that the file holds: those that people were shown, and the strongest others."""
        if self.detections is None or self.detections.scores is None:
            return np.arange(0 if self.detections is None else self.detections.n_boxes)
        scores = self.detections.scores
        shown = scores >= SHOWN_SCORE if self.shown is None else self.shown
        order = np.lexsort((-scores, ~shown))
        order = order[shown[order] | (scores[order] >= LEAST_SCORE)][:MOST_BOXES]
        self.left_out = len(scores) - len(order)
        return order


def make_cards(
    files: Mapping[str, Path],
    ranking: pd.DataFrame | None = None,
    detections: RotatedInstances | None = None,
    labels: RotatedInstances | None = None,
) -> list[Card]:
    """Make a card of each image, in the order of the ranking; images that it lacks come after, by their ids."""
    ranked = [] if ranking is None else [i for i in ranking["image_id"] if i in files]
    rows = {} if ranking is None else rows_by_id(ranking)
    why = dict(zip(ranked, reasons(ranking, ranked), strict=True)) if ranking is not None else {}
    return [
        Card(
            image_id,
            files[image_id],
            str(rows.get(image_id, {}).get("status") or ""),
            rank=rows.get(image_id, {}).get("rank"),
            score=rows.get(image_id, {}).get("score"),
            why=why.get(image_id, ""),
            detections=image_of(detections, image_id),
            labels=image_of(labels, image_id),
        )
        for image_id in [*ranked, *sorted({*files} - {*ranked})]
    ]


def image_of(instances: RotatedInstances | None, image_id: str) -> RotatedInstances | None:
    """Return the boxes of one image; None where there is nothing on it."""
    return instances[image_id] if instances is not None and image_id in instances else None


def _taken(image: RotatedInstances, rows: NDArray[np.intp]) -> RotatedInstances:
    """Return the image with these boxes only, in this order."""
    scores = None if image.scores is None else image.scores[rows]
    boxes, labels = image.boxes[rows], image.labels[rows]
    return RotatedInstances(image.image_ids, [0, len(rows)], boxes, labels, scores, classes=image.classes)


def rows_by_id(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return image id -> the row of the table."""
    return {str(row["image_id"]): {str(name): value for name, value in row.items()} for row in table.to_dict("records")}


def _rows(image: RotatedInstances, kinds: list[str] | None) -> list[list[Any]]:
    corners = to_corners(image.boxes).reshape(-1, 8).astype(float).round(1).tolist()
    scores = [None] * image.n_boxes if image.scores is None else image.scores.astype(float).round(3).tolist()
    rows = zip(corners, image.labels.tolist(), scores, kinds or [""] * image.n_boxes, strict=True)
    return [[*box, label, score, kind] for box, label, score, kind in rows]


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(float(value), 4)
