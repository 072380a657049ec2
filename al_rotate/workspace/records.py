"""What a workspace holds: images and their states, labels, rounds, and what happened, as tables."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ..data.instances import RotatedInstances
from . import answers, history

STATUSES = ("unlabelled", "queried", "labelled", "skipped")
ANSWERED = ("labelled", "skipped")
STAGES = ("new", "queried", "collected", "trained")
REVIEW = "review"  # the strategy of a round that asks about labels again


@dataclass(frozen=True)
class Round:
    """One round as it stood when asked for."""

    number: int
    stage: str  # one of STAGES
    folder: Path  # for this round's artefacts; exists
    strategy: str | None  # of the query
    checkpoint: Path | None  # of the training
    metrics: dict[str, Any]  # of the training


class Records:
    """The reading half of a :class:`~al_rotate.workspace.Workspace`."""

    folder: Path
    settings: dict[str, Any]
    classes: tuple[str, ...]
    _db: sqlite3.Connection

    # The images.

    def counts(self) -> dict[str, int]:
        """How many images are in each of STATUSES."""
        found = dict(self._db.execute("SELECT status, count(*) FROM images GROUP BY status"))
        return {status: found.get(status, 0) for status in STATUSES}

    def ids(self, status: str) -> list[str]:
        """The sorted ids of the images in one of STATUSES."""
        if status not in STATUSES:
            raise ValueError(f"expected a status of {', '.join(STATUSES)}, got {status!r}")
        rows = self._db.execute("SELECT image_id FROM images WHERE status = ? ORDER BY image_id", (status,))
        return [image_id for (image_id,) in rows]

    def paths(self, image_ids: Iterable[str]) -> dict[str, Path]:
        """image id -> file, in the given order; KeyError for an image that is not here."""
        return {image_id: Path(path) for image_id, (path,) in self._images(image_ids, "images.path").items()}

    @property
    def cursor(self) -> str | None:
        """How far answers have been recorded since the last query, in the annotator's own terms; None: not at all."""
        row = self._db.execute("SELECT value FROM meta WHERE key = 'cursor'").fetchone()
        return row and row[0]

    def labels(self) -> RotatedInstances:
        """The current labels, sorted by id; images confirmed empty have no box.

        Of all labelled images, and of those that are asked for again: these keep theirs until the answer comes.
        """
        files: dict[str, list[str]] = {}
        for image_id, file in self._db.execute(
            "SELECT image_id, file FROM images JOIN answers USING (answer, image_id) WHERE answers.status = 'labelled'"
        ):
            files.setdefault(file, []).append(image_id)
        parts = [RotatedInstances.load(self.folder / file).subset(ids) for file, ids in sorted(files.items())]
        return answers.join(parts, self.classes)

    # The rounds.

    def rounds(self) -> list[Round]:
        """All rounds, the first first."""
        rows = self._db.execute("SELECT round, stage, strategy, checkpoint, metrics FROM rounds ORDER BY round")
        return [
            Round(n, stage, self._folder(n), strategy, checkpoint and self.folder / checkpoint, json.loads(metrics))
            for n, stage, strategy, checkpoint, metrics in rows
        ]

    def query(self, number: int) -> pd.DataFrame:
        """What a round asked for, in that order: image_id, score, and the status of the image now."""
        rows = self._db.execute(
            "SELECT image_id, score, status FROM queries JOIN images USING (image_id) "
            "WHERE queries.round = ? ORDER BY position",
            (number,),
        )
        return pd.DataFrame(rows.fetchall(), columns=["image_id", "score", "status"])

    # What happened.

    def history(self) -> pd.DataFrame:
        """One row a round, the axes of learning curves.

        Columns: round, stage, strategy; n_queried, n_labelled, n_skipped, n_boxes, cost (seconds), each the
        **total** as it stood at the end of the round; the metrics; started, finished (UTC, ISO).
        """
        return history.history(self._db)

    def ledger(self) -> pd.DataFrame:
        """One row an answered image, by id: its current answer, the round it came in, and what it took.

        Columns: image_id, round, status, reason (of skipping), n_boxes, annotator, seconds, n_added, n_moved,
        n_relabelled, n_deleted; missing where not known.
        """
        return history.ledger(self._db)

    # Inside.

    def _folder(self, number: int) -> Path:
        return self.folder / "rounds" / f"{number:03d}"

    def _at(self, number: int) -> Round:
        """A round by its number."""
        rounds = self.rounds()
        if not 0 <= number < len(rounds):
            raise ValueError(
                f"expected one of the {len(rounds)} rounds of {self.folder}, got {number}; see begin_round"
            )
        return rounds[number]

    def _images(self, image_ids: Iterable[str], *columns: str) -> dict[str, tuple[Any, ...]]:
        """image id -> these columns of its row and its current answer's, in the given order."""
        ids = list(image_ids)
        rows = self._db.execute(
            f"SELECT images.image_id, {', '.join(columns)} FROM json_each(?) AS wanted "
            "JOIN images ON images.image_id = wanted.value LEFT JOIN answers ON answers.answer = images.answer",
            (json.dumps(ids),),
        )
        found = {row[0]: row[1:] for row in rows}
        for image_id in ids:
            if image_id not in found:
                raise KeyError(f"no image {image_id!r} in the workspace {self.folder}")
        return {image_id: found[image_id] for image_id in ids}
