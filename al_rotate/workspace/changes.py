"""What changes in a workspace besides its rounds, each with an entry in its list of changes; nothing is deleted."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pandas as pd

from ..data import RotatedInstances
from ..storage.files import utc_now
from . import answers, database
from .records import ANSWERED, IMPORTED
from .transitions import Transitions


class Changes(Transitions):
    """The changes of a :class:`~al_rotate.Workspace` that are no step of a round.

    Each is one transaction. They wait while a round is collected and not trained yet: a training that was killed has to
    find what it began with.
    """

    def changes(self) -> pd.DataFrame:
        """Return one row per change, oldest first.

        Columns: time (UTC, ISO), round (that was open or came next), what (the method, such as ``add_images``), summary
        (a sentence), detail (a dict that depends on `what`).
        """
        columns = ["time", "round", "what", "summary", "detail"]
        if not database.has_changes(self._db):
            return pd.DataFrame(columns=columns)
        rows = self._db.execute(f"SELECT {', '.join(columns)} FROM changes ORDER BY change").fetchall()
        return pd.DataFrame([(*row[:4], json.loads(row[4])) for row in rows], columns=columns)

    def answered_by_people(self, image_ids: Collection[str]) -> set[str]:
        """Return which of these images have an answer, also one that is under review, that was not imported."""
        rows = self._image_rows(image_ids, "answers.status", "answers.annotator")
        return {i for i, (status, annotator) in rows.items() if status in ANSWERED and annotator != IMPORTED}

    def import_labels(self, labels: RotatedInstances, n_left_out: int = 0) -> list[str]:
        """Record labels that exist already, as answers by "imported" at no cost.

        They count from the open round on, or from the next one. Images that wait for an answer need none any more; an
        answer that comes nevertheless replaces the imported labels. Labels that are recorded already change nothing.

        Args:
            labels: without scores; an image without a box is confirmed empty.
            n_left_out: how many more there were, for the list of changes.

        Returns:
            The sorted ids of images whose labels are new or changed.

        Raises:
            ValueError: for detections, labels of other classes, or while a round is collected and not trained.
            KeyError: for an image that is not in the workspace.
        """
        number = self._round_to_change()
        labels = answers.check_labels(labels, self.classes)
        costs = pd.DataFrame({"image_id": labels.image_ids, "annotator": IMPORTED})
        costs = costs.assign(**dict.fromkeys(answers.COST_COLUMNS[1:], 0))
        rows, before = self._compare_answers(labels, None, costs, ())
        changed = sorted(i for i, (status, *row) in before.items() if (status, *row) != ("labelled", *rows[i]))
        if not changed:
            return []
        batch = labels.subset(changed)
        file = f"labels/imported-{answers.batch_name(rows, changed)}.parquet"
        batch.save(self.folder / file)
        summary = f"{len(batch)} images with {batch.n_boxes} boxes" + (f", {n_left_out} left out" if n_left_out else "")
        with self._change("add_labels", number, summary, {"file": file, "images": len(batch)}) as db:
            for image_id in changed:
                self._insert_answer(db, image_id, number, file, rows[image_id])
        return changed

    def waits_to_be_trained_on(self, number: int) -> bool:
        """Return whether labels came to a round that has not queried: :meth:`skip_query` makes it trainable."""
        found = self._db.execute(
            "SELECT 1 FROM images JOIN answers USING (answer, image_id) "
            "WHERE answers.round = ? AND images.status = 'labelled' LIMIT 1",
            (number,),
        )
        return found.fetchone() is not None

    # For the other changes.

    def _round_to_change(self) -> int:
        """Return the number of the open round, or of the next one.

        Raises:
            ValueError: while a round is collected and not trained.
        """
        rounds = self.rounds()
        if rounds and rounds[-1].stage == "collected":
            raise ValueError(f"round {rounds[-1].number} has its labels and is not trained yet: train() first")
        return len(rounds) if not rounds or rounds[-1].is_over else rounds[-1].number

    @contextmanager
    def _change(self, what: str, number: int, summary: str, detail: Mapping[str, Any]) -> Iterator[sqlite3.Connection]:
        """Make a transaction that ends with an entry in the list of changes."""
        with self._transaction() as db:
            yield db
            database.add_change(db, (utc_now(), number, what, summary, json.dumps(detail)))
