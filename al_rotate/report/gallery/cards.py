"""What a gallery knows of an image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
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
ENOUGH_DETECTIONS = 100  # of an image: faint ones, which people were not shown, do not go beyond
_Rows = list[list[Any]]  # of boxes, as in the page


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

    @property
    def n_boxes(self) -> int:
        """How many boxes the page holds without a limit: labels, detections that people were shown, and faint ones."""
        return len(self._faint()) + int(self._is_shown().sum()) + (self.labels.n_boxes if self.labels else 0)

    def to_json(self, most: int | None = None) -> dict[str, Any]:
        """Return what the page needs, but the picture: boxes as corners x1, y1 to x4, y4, class, score and kind.

        ``changes`` counts the kinds over all boxes, also those that the page does not hold; ``leftOut`` counts these,
        and names the classes of those that are not faint.

        Args:
            most: boxes, labels and detections together; changed ones come first, faint ones last. None: no limit.
        """
        compared, is_shown = None, self._is_shown()
        if self.detections is not None and self.labels is not None:
            compared = differences(self.detections.where(is_shown), self.labels)
        shown = _rows(self.detections, np.flatnonzero(is_shown), compared and compared.predicted)
        labels = _rows(self.labels, np.arange(self.labels.n_boxes if self.labels else 0), compared and compared.labels)
        (drawn, drawn_labels), (left, left_labels) = _split(shown, labels, most)
        room = None if most is None else max(0, most - len(drawn) - len(drawn_labels))
        faint = _rows(self.detections, self._faint()[:room])
        return {
            "id": self.image_id,
            "status": self.status,
            "round": self.round,
            "rankedBy": self.ranked_by,
            "rank": _number(self.rank),
            "score": _number(self.score),
            "why": self.why,
            "doubt": self.doubt,
            "changes": compared and compared.counts(),
            "leftOut": {
                "predicted": len(left),
                "labels": len(left_labels),
                "faint": int((~is_shown).sum()) - len(faint),
                "classes": sorted({row[8] for row in [*left, *left_labels]}),
            },
            "detections": None if self.detections is None else [*drawn, *faint],
            "labels": None if self.labels is None else drawn_labels,
        }

    def _is_shown(self) -> NDArray[np.bool_]:
        """Which detections people were shown, (N,)."""
        if self.detections is None:
            return np.zeros(0, bool)
        if self.shown is not None:
            return self.shown
        scores = self.detections.scores
        return np.ones(self.detections.n_boxes, bool) if scores is None else scores >= SHOWN_SCORE

    def _faint(self) -> NDArray[np.intp]:
        """The strongest of the detections that people were not shown."""
        if self.detections is None or self.detections.scores is None:
            return np.zeros(0, np.intp)
        is_shown, scores = self._is_shown(), self.detections.scores
        rows = np.flatnonzero(~is_shown & (scores >= LEAST_SCORE))
        room = max(0, ENOUGH_DETECTIONS - int(is_shown.sum()))
        return rows[np.argsort(-scores[rows], kind="stable")][:room]


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


def rows_by_id(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return image id -> the row of the table."""
    return {str(row["image_id"]): {str(name): value for name, value in row.items()} for row in table.to_dict("records")}


def _rows(image: RotatedInstances | None, rows: NDArray[np.intp], kinds: list[str] | None = None) -> _Rows:
    if image is None:
        return []
    corners = to_corners(image.boxes[rows]).reshape(-1, 8).astype(float).round(1).tolist()
    scores = [None] * len(rows) if image.scores is None else image.scores[rows].astype(float).round(3).tolist()
    columns = zip(corners, image.labels[rows].tolist(), scores, kinds or [""] * len(rows), strict=True)
    return [[*box, label, score, kind] for box, label, score, kind in columns]


def _split(shown: _Rows, labels: _Rows, most: int | None) -> tuple[tuple[_Rows, _Rows], tuple[_Rows, _Rows]]:
    """Return the rows that the page holds, and those that it leaves out: of both parts the changed ones come first.

    Within a part the order decides, since detectors give the strongest boxes first.
    """
    parts = (shown, labels)
    places = sorted((row[10] in ("", "kept"), k, part) for part in (0, 1) for k, row in enumerate(parts[part]))
    held = {(part, k) for _, k, part in places[:most]}

    def rows_where(is_held: bool) -> tuple[_Rows, _Rows]:
        ours = [[row for k, row in enumerate(parts[part]) if ((part, k) in held) is is_held] for part in (0, 1)]
        return ours[0], ours[1]

    return rows_where(True), rows_where(False)


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(float(value), 4)
