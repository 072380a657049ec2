"""How a workspace changes: each step is one transaction, and a step that is done already changes nothing."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..data import RotatedInstances
from ..storage.files import fsync, sync_tree, utc_now
from ..storage.locks import FileLock
from . import answers, history
from .records import ANSWERED, IMPORTED, LATE, REMOVED, Records, Round


class Transitions(Records):
    """The writing half of a :class:`~al_rotate.Workspace`: the steps of a round."""

    _lock: FileLock | None

    def begin_round(self) -> Round:
        """Return the open round; a new one at stage 'new' if there is none, or if the last one is 'trained'."""
        rounds = self.rounds()
        if rounds and not rounds[-1].is_over:
            return rounds[-1]
        with self._transaction() as db:
            self._round_folder(len(rounds)).mkdir(exist_ok=True)
            fsync(self.folder / "rounds")
            db.execute("INSERT INTO rounds (round, started) VALUES (?, ?)", (len(rounds), utc_now()))
        return self.rounds()[-1]

    def record_query(
        self,
        number: int,
        image_ids: Sequence[str],
        scores: Sequence[float] | None = None,
        strategy: str | None = None,
        again: bool = False,
    ) -> Round:
        """Stage new -> queried: record the images that the round wants labelled, best first.

        Args:
            number: the open round's.
            image_ids: unlabelled images.
            scores: one for each of them.
            strategy: that chose them.
            again: query labelled images whose labels are in doubt. They keep their labels until they are answered.

        Raises:
            ValueError: for images that are not unlabelled (not labelled, with `again`), or if the round has queried
                others.
            KeyError: for an image that is not in the workspace.
        """
        ids, values = _check_query(image_ids, scores)
        if self._round(number).stage != "new":
            self._check_same_query(number, ids)
            return self._round(number)
        expected = "labelled" if again else "unlabelled"
        others = [(i, status) for i, (status,) in self._image_rows(ids, "images.status").items() if status != expected]
        if others:
            image_id, status = others[0]
            raise ValueError(f"expected {expected} images, got {len(others)} others, {image_id!r} is {status}")
        sync_tree(self._round_folder(number))
        with self._transaction() as db:
            rows = ((number, k, *row) for k, row in enumerate(zip(ids, values, strict=True)))
            db.executemany("INSERT INTO queries VALUES (?, ?, ?, ?)", rows)
            db.executemany(
                "UPDATE images SET status = 'queried', round = ? WHERE image_id = ?",
                ((number, image_id) for image_id in ids),
            )
            db.execute("UPDATE rounds SET stage = 'queried', strategy = ? WHERE round = ?", (strategy, number))
            if not again:  # an image may have been answered before it was queried: the next pull has to read all
                db.execute("DELETE FROM meta WHERE key = 'cursor'")
        return self._round(number)

    def record_answers(
        self,
        number: int,
        labels: RotatedInstances,
        skipped: Mapping[str, str] | None = None,
        costs: pd.DataFrame | None = None,
        withdrawn: Iterable[str] = (),
        cursor: str | None = None,
    ) -> list[str]:
        """Record answers to this round's query or to earlier ones: some or all, as often as they come.

        A round that has not queried yet takes late answers to earlier ones.

        The latest answer to an image counts, earlier ones stay in state.db. Answers that are recorded already change
        nothing.

        Args:
            number: the open round's.
            labels: without scores; an image without a box is confirmed empty.
            skipped: image id -> reason.
            costs: ``image_id`` and COST_COLUMNS, at most one row per answered image; None and NaN: unknown.
            withdrawn: images that have no answer now; those that had one are queried again.
            cursor: kept as :attr:`cursor`, in the same transaction.

        Returns:
            The sorted ids of images whose answer is new or changed.

        Raises:
            ValueError: for answers to images that were not queried, that contradict each other, or that come after the
                collection has closed.
            KeyError: for an image that is not in the workspace.
        """
        labels = answers.check_labels(labels, self.classes)
        rows, before = self._compare_answers(labels, skipped, costs, withdrawn)
        early = [image_id for image_id, (status, *_) in before.items() if status in ("unlabelled", REMOVED)]
        if early:
            raise ValueError(f"expected answers for images that were queried, got one for {early[0]!r}")
        changed = sorted(image_id for image_id, (_, *row) in before.items() if rows[image_id] != tuple(row))
        is_open = (stage := self._round(number).stage) in ("new", "queried")
        if changed and not is_open:
            raise ValueError(
                f"expected answers while round {number} is at stage 'new' or 'queried', got {len(changed)} new at "
                f"{stage!r}; give them to the next round"
            )
        # Queried again and answered as before: these labels are confirmed.
        confirmed = [i for i, (status, *row) in before.items() if rows[i] == tuple(row) and status != rows[i][0]]
        if not is_open:
            confirmed = []
        if not changed and not confirmed and cursor is None:
            return []
        batch = labels.subset(i for i in changed if i in labels)
        file = f"labels/{number:03d}-{answers.batch_name(rows, batch.image_ids)}.parquet"
        sync_tree(self._round_folder(number))
        with self._transaction() as db:
            if len(batch):
                batch.save(self.folder / file)
            for image_id in changed:
                self._insert_answer(db, image_id, number, file if image_id in batch else None, rows[image_id])
            for image_id in confirmed:
                db.execute("UPDATE images SET status = ? WHERE image_id = ?", (rows[image_id][0], image_id))
            if cursor is not None:
                db.execute("INSERT OR REPLACE INTO meta VALUES ('cursor', ?)", (cursor,))
        return changed

    def changed_answers(
        self,
        labels: RotatedInstances,
        skipped: Mapping[str, str] | None = None,
        costs: pd.DataFrame | None = None,
        withdrawn: Iterable[str] = (),
    ) -> list[str]:
        """Return what :meth:`record_answers` would, and record nothing."""
        rows, before = self._compare_answers(answers.check_labels(labels, self.classes), skipped, costs, withdrawn)
        return sorted(image_id for image_id, (_, *row) in before.items() if rows[image_id] != tuple(row))

    def skip_query(self, number: int) -> Round:
        """Stage new -> collected: train on labels that were imported, or came late, without a query before."""
        new = self._db.execute(
            "SELECT 1 FROM images JOIN answers USING (answer, image_id) "
            "WHERE answers.round > ? AND answers.annotator = ? AND images.status = 'labelled' LIMIT 1",
            (self.last_trained(number), IMPORTED),
        )
        return self._advance(number, "new", "collected", strategy=IMPORTED if new.fetchone() else LATE)

    def close_collection(self, number: int) -> Round:
        """Stage queried -> collected: no more answers in this round. Unanswered images stay 'queried'."""
        return self._advance(number, "queried", "collected")

    def record_training(self, number: int, checkpoint: str | Path, metrics: Mapping[str, Any]) -> Round:
        """Stage collected -> trained, which ends the round.

        Args:
            number: the open round's.
            checkpoint: a file; inside the workspace its path is kept relative, so that the workspace can be moved.
            metrics: name -> value; they become columns of :meth:`history`.

        Raises:
            ValueError: at another stage, or if another training is recorded already.
            FileNotFoundError: if the checkpoint is missing.
        """
        taken = sorted(set(metrics) & set(history.COLUMNS))
        if taken:
            raise ValueError(
                f"expected metrics with names of their own, got {taken[0]!r}, which is a column of the history"
            )
        path = Path(checkpoint).absolute()
        if not path.is_file():
            raise FileNotFoundError(f"expected the checkpoint of round {number}, there is no file {path}")
        for part in (path, path.parent):
            fsync(part)
        sync_tree(self._round_folder(number))
        kept = path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else str(path)
        values = {"checkpoint": kept, "metrics": json.dumps(dict(metrics), sort_keys=True, default=_as_python)}
        return self._advance(number, "collected", "trained", **values)

    def _compare_answers(
        self,
        labels: RotatedInstances,
        skipped: Mapping[str, str] | None,
        costs: pd.DataFrame | None,
        withdrawn: Iterable[str],
    ) -> tuple[dict[str, answers.Row], dict[str, answers.Row]]:
        """Return image id -> its row as answered now; and its status and its row as recorded."""
        rows = answers.as_rows(labels, skipped or {}, costs)
        for image_id, (status, who) in self._image_rows(withdrawn, "images.status", "answers.annotator").items():
            if status in ANSWERED and who != IMPORTED and image_id not in rows:  # nobody can take back imported labels
                rows[image_id] = answers.WITHDRAWN
        return rows, self._image_rows(rows, "images.status", *(f"answers.{name}" for name in answers.COLUMNS))

    def _check_same_query(self, number: int, ids: list[str]) -> None:
        queried = self.query(number)["image_id"].tolist()
        if queried != ids:
            recorded, got = (f"{len(names)} ({', '.join(names[:3])}, ...)" for names in (queried, ids))
            raise ValueError(
                f"expected the query of round {number} again, {recorded}, or none, got {got}; a round queries once"
            )

    def _advance(self, number: int, before: str, after: str, **values: str) -> Round:
        """Move a round to its next stage. If it is there already, with the same values, nothing happens."""
        columns = ", ".join(values) or "NULL"
        stage = self._round(number).stage
        (recorded,) = self._db.execute(f"SELECT {columns} FROM rounds WHERE round = ?", (number,))
        if stage == after and recorded == (tuple(values.values()) or (None,)):
            return self._round(number)
        if stage != before:
            detail = f" with {', '.join(map(str, recorded))}" if values and stage == after else ""
            raise ValueError(
                f"expected round {number} at stage {before!r}, to make it {after!r}; it is {stage!r}{detail}"
            )
        changes = {**values, "stage": after}
        if after == "trained":
            changes["finished"] = utc_now()
        with self._transaction() as db:
            for name, value in changes.items():
                db.execute(f"UPDATE rounds SET {name} = ? WHERE round = ?", (value, number))
        return self._round(number)

    def _insert_answer(
        self, db: sqlite3.Connection, image_id: str, number: int, file: str | None, row: answers.Row
    ) -> None:
        """Insert an answer that came in a round, and make it the image's current one."""
        columns = ("image_id", "round", "time", "file", *answers.COLUMNS)
        insert = f"INSERT INTO answers ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        answer = db.execute(insert, (image_id, number, utc_now(), file, *row)).lastrowid
        db.execute("UPDATE images SET status = ?, answer = ? WHERE image_id = ?", (row[0], answer, image_id))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        if self._lock is None:
            raise PermissionError(f"{self.folder} is open for reading only (or closed); Workspace.open it to change it")
        with self._db:  # commits at the end, rolls back on an exception
            self._db.execute("BEGIN IMMEDIATE")
            yield self._db


def _check_query(image_ids: Sequence[str], scores: Sequence[float] | None) -> tuple[list[str], list[float | None]]:
    ids = [str(image_id) for image_id in image_ids]
    if not ids or len(set(ids)) != len(ids) or (scores is not None and len(scores) != len(ids)):
        got = f"{len(ids)} images ({len(set(ids))} distinct), {'no' if scores is None else len(scores)} scores"
        raise ValueError(f"expected distinct images with a score each, got {got}")
    values: list[float | None] = [None] * len(ids) if scores is None else [float(score) for score in scores]
    for image_id, value in zip(ids, values, strict=True):
        if value is not None and not math.isfinite(value):
            raise ValueError(f"expected a finite score, got {value} for image {image_id!r}")
    return ids, values


def _as_python(value: Any) -> Any:
    """Convert NumPy's numbers and arrays to what JSON has."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError(f"expected metrics that JSON can hold, got {type(value).__name__}: {value!r}")
