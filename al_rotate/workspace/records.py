"""What a workspace holds: images and their states, labels, rounds, and what happened, as tables."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ..data import RotatedInstances
from . import answers, database, history

STATUSES = ("unlabelled", "queried", "labelled", "skipped")  # of images
REMOVED = "removed"  # the status of an image that is no longer one of the workspace
ANSWERED = ("labelled", "skipped")
STAGES = ("new", "queried", "collected", "trained", "undone")  # of rounds; at the last two they are over
REVIEW = "review"  # the strategy of a round that queries labels in doubt
IMPORTED = "imported"  # who "answered" with labels that existed already; the strategy of a round that trains on these
LATE = "late"  # the strategy of a round that queried nothing, and trains on late answers to earlier rounds


@dataclass(frozen=True)
class Round:
    """One round, as it stood when it was read."""

    number: int
    stage: str  # one of STAGES
    folder: Path  # for this round's artefacts; exists
    strategy: str | None  # that chose the query
    checkpoint: Path | None  # that the training left
    metrics: dict[str, Any]  # of the training

    @property
    def is_over(self) -> bool:
        return self.stage in ("trained", "undone")


class Records:
    """The reading half of a :class:`~al_rotate.Workspace`."""

    folder: Path
    settings: dict[str, Any]
    classes: tuple[str, ...]
    _db: sqlite3.Connection

    # Images.

    def counts(self) -> dict[str, int]:
        """Return how many images are in each of STATUSES."""
        counts = dict(self._db.execute("SELECT status, count(*) FROM images GROUP BY status"))
        return {status: counts.get(status, 0) for status in STATUSES}

    def statuses(self, image_ids: Iterable[str]) -> list[str]:
        """Return the status of each of these images; KeyError for one that is not in the workspace."""
        rows = self._image_rows(ids := list(image_ids), "images.status")
        return [rows[image_id][0] for image_id in ids]

    def ids(self, status: str) -> list[str]:
        """Return the sorted ids of the images in one of STATUSES."""
        if status not in STATUSES:
            raise ValueError(f"expected a status of {', '.join(STATUSES)}, got {status!r}")
        rows = self._db.execute("SELECT image_id FROM images WHERE status = ? ORDER BY image_id", (status,))
        return [image_id for (image_id,) in rows]

    def paths(self, image_ids: Iterable[str]) -> dict[str, Path]:
        """Return image id -> file, in the given order.

        Raises:
            KeyError: for an image that is not in the workspace.
        """
        return {image_id: Path(path) for image_id, (path,) in self._image_rows(image_ids, "images.path").items()}

    @property
    def cursor(self) -> str | None:
        """How far answers are recorded since the last query, in the annotator's own terms; None: not at all."""
        row = self._db.execute("SELECT value FROM meta WHERE key = 'cursor'").fetchone()
        return row and row[0]

    def labels(self) -> RotatedInstances:
        """Load the current labels, sorted by id; images confirmed empty have no box.

        Images whose labels are under review keep them until the answer comes.
        """
        ids_of_file: dict[str, list[str]] = {}
        for image_id, file in self._db.execute(
            "SELECT image_id, file FROM images JOIN answers USING (answer, image_id) WHERE answers.status = 'labelled'"
        ):
            ids_of_file.setdefault(file, []).append(image_id)
        batches = [RotatedInstances.load(self.folder / file).subset(ids) for file, ids in sorted(ids_of_file.items())]
        return answers.join_batches([self.in_current_classes(batch) for batch in batches], self.classes)

    def spent(self, image_ids: Iterable[str]) -> pd.DataFrame:
        """Return what images have taken so far: image_id and COST_COLUMNS, missing where unknown."""
        rows = self._image_rows(image_ids, *(f"answers.{name}" for name in answers.COST_COLUMNS))
        return pd.DataFrame([(i, *row) for i, row in rows.items()], columns=["image_id", *answers.COST_COLUMNS])

    # Classes.

    def former_classes(self) -> dict[tuple[str, ...], tuple[int, ...]]:
        """Return the class lists that the workspace had before: list -> the number that each class has now."""
        now, former = tuple(range(len(self.classes))), dict[tuple[str, ...], tuple[int, ...]]()
        for *_, detail in reversed(database.read_changes(self._db)):
            change = json.loads(detail)
            if "classes_before" in change:
                now = tuple(now[number] for number in change["numbers"])
                former[tuple(change["classes_before"])] = now
        return former

    def in_current_classes(self, boxes: RotatedInstances) -> RotatedInstances:
        """Return boxes that may be of classes that the workspace had before with those it has now."""
        numbers = None if boxes.classes == self.classes else self.former_classes().get(boxes.classes or ())
        return boxes if numbers is None else answers.renumbered(boxes, numbers, self.classes)

    # Rounds.

    def rounds(self) -> list[Round]:
        """Return all rounds, oldest first."""
        rows = self._db.execute("SELECT round, stage, strategy, checkpoint, metrics FROM rounds ORDER BY round")
        return [
            Round(
                number,
                stage,
                self._round_folder(number),
                strategy,
                checkpoint and self.folder / checkpoint,
                json.loads(metrics),
            )
            for number, stage, strategy, checkpoint, metrics in rows
        ]

    def last_trained(self, number: int) -> int:
        """Return the number of the last trained round before this one; -1 if there is none."""
        return max((past.number for past in self.rounds()[:number] if past.stage == "trained"), default=-1)

    def query(self, number: int) -> pd.DataFrame:
        """Return what a round queried, best first: image_id, score, and the current status of the image."""
        rows = self._db.execute(
            "SELECT image_id, score, status FROM queries JOIN images USING (image_id) "
            "WHERE queries.round = ? ORDER BY position",
            (number,),
        )
        return pd.DataFrame(rows.fetchall(), columns=["image_id", "score", "status"])

    # What happened.

    def history(self) -> pd.DataFrame:
        """Return one row per round: the data of learning curves.

        Columns: round, stage, strategy; n_queried, n_labelled, n_skipped, n_boxes, cost (seconds), each the
        **total** at the end of the round; the metrics; started, finished (UTC, ISO).
        """
        return history.history(self._db)

    def ledger(self) -> pd.DataFrame:
        """Return one row per answered image, by id: its current answer, the round it came in, and what it took.

        Columns: image_id, round, status, reason (of skipping), n_boxes, annotator, seconds, n_added, n_moved,
        n_relabelled, n_deleted; missing where unknown.
        """
        return history.ledger(self._db)

    def changes(self) -> pd.DataFrame:
        """Return one row per change of the workspace that is no step of a round, oldest first.

        Columns: time (UTC, ISO), round (that was open or came next), what (the method, such as ``add_images``), summary
        (for people), detail (a dict that depends on `what`).
        """
        rows = [(*row[:4], json.loads(row[4])) for row in database.read_changes(self._db)]
        return pd.DataFrame(rows, columns=["time", "round", "what", "summary", "detail"])

    # For the writing half.

    def _round_folder(self, number: int) -> Path:
        return self.folder / "rounds" / f"{number:03d}"

    def _round(self, number: int) -> Round:
        rounds = self.rounds()
        if not 0 <= number < len(rounds):
            raise ValueError(
                f"expected one of the {len(rounds)} rounds of {self.folder}, got {number}; see begin_round"
            )
        return rounds[number]

    def _image_rows(self, image_ids: Iterable[str], *columns: str) -> dict[str, tuple[Any, ...]]:
        """Return image id -> these columns of its row and of its current answer's, in the given order."""
        ids = list(image_ids)
        rows = self._db.execute(
            f"SELECT images.image_id, {', '.join(columns)} FROM json_each(?) AS wanted "
            "JOIN images ON images.image_id = wanted.value LEFT JOIN answers ON answers.answer = images.answer",
            (json.dumps(ids),),
        )
        values = {row[0]: row[1:] for row in rows}
        for image_id in ids:
            if image_id not in values:
                raise KeyError(f"no image {image_id!r} in the workspace {self.folder}")
        return {image_id: values[image_id] for image_id in ids}
