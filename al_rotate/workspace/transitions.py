"""How a workspace changes: every step is one transaction, and a step that was done already changes nothing."""

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

from ..data.instances import RotatedInstances
from ..storage.files import fsync, utc_now
from ..storage.locks import FileLock
from . import answers, history
from .records import ANSWERED, STAGES, Records, Round


class Transitions(Records):
    """The writing half of a :class:`~al_rotate.workspace.Workspace`: the steps of a round."""

    _lock: FileLock | None

    def begin_round(self) -> Round:
        """The open round; a new one at stage 'new' when there is none, or when the last one is 'trained'."""
        rounds = self.rounds()
        if rounds and rounds[-1].stage != "trained":
            return rounds[-1]
        with self._transaction() as db:
            self._folder(len(rounds)).mkdir(exist_ok=True)
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
        """Stage new -> queried: these images are asked for, the most wanted first.

        Args:
            number: the open round's.
            image_ids: unlabelled images.
            scores: one for each of them.
            strategy: what picked them.
            again: ask for labelled images instead, whose labels are in doubt. They keep them until they are answered.

        Raises:
            ValueError: for images that are not unlabelled (or labelled), or when the round has asked for others.
            KeyError: for an image that is not here.
        """
        ids = [str(image_id) for image_id in image_ids]
        if not ids or len(set(ids)) != len(ids) or (scores is not None and len(scores) != len(ids)):
            got = f"{len(ids)} images ({len(set(ids))} distinct), {'no' if scores is None else len(scores)} scores"
            raise ValueError(f"expected distinct images with a score each, got {got}")
        values: list[float | None] = [None] * len(ids) if scores is None else [float(score) for score in scores]
        for image_id, value in zip(ids, values, strict=True):
            if value is not None and not math.isfinite(value):
                raise ValueError(f"expected a finite score, got {value} for image {image_id!r}")
        if self._at(number).stage != "new":
            asked = self.query(number)["image_id"].tolist()
            if asked == ids:
                return self._at(number)
            was, now = (f"{len(some)} ({', '.join(some[:3])}, ...)" for some in (asked, ids))
            raise ValueError(
                f"expected the query of round {number} again, {was}, or none, got {now}; a round queries once"
            )
        free = "labelled" if again else "unlabelled"
        taken = [(i, status) for i, (status,) in self._images(ids, "images.status").items() if status != free]
        if taken:
            image_id, status = taken[0]
            raise ValueError(f"expected {free} images, got {len(taken)} others, {image_id!r} is {status}")
        with self._transaction() as db:
            rows = ((number, k, *row) for k, row in enumerate(zip(ids, values, strict=True)))
            db.executemany("INSERT INTO queries VALUES (?, ?, ?, ?)", rows)
            db.executemany(
                "UPDATE images SET status = 'queried', round = ? WHERE image_id = ?",
                ((number, image_id) for image_id in ids),
            )
            db.execute("UPDATE rounds SET stage = 'queried', strategy = ? WHERE round = ?", (strategy, number))
            if not again:  # what was answered before it was asked for lies behind the cursor: look at all once more
                db.execute("DELETE FROM meta WHERE key = 'cursor'")
        return self._at(number)

    def record_answers(
        self,
        number: int,
        labels: RotatedInstances,
        skipped: Mapping[str, str] | None = None,
        costs: pd.DataFrame | None = None,
        withdrawn: Iterable[str] = (),
        cursor: str | None = None,
    ) -> list[str]:
        """Answers to this round's query, or to an earlier one's; some of them or all, as often as they come.

        The latest answer to an image counts, earlier ones stay in state.db. Answers that are known already
        change nothing.

        Args:
            number: the open round's.
            labels: without scores; an image without a box is confirmed empty.
            skipped: image id -> reason.
            costs: ``image_id`` and COST_COLUMNS, at most one row an answered image; None and NaN: not known.
            withdrawn: images without an answer now; those that had one are asked for again.
            cursor: kept as :attr:`cursor`, in the same transaction.

        Returns:
            The sorted ids of images whose answer is new or changed.

        Raises:
            ValueError: for answers that nobody asked for, that contradict, or that come to a closed collection.
            KeyError: for an image that is not here.
        """
        labels = answers.plain(labels, self.classes)
        rows = answers.rows(labels, skipped or {}, costs)
        gone = self._images(withdrawn, "images.status")
        rows |= {i: answers.WITHDRAWN for i, (status,) in gone.items() if status in ANSWERED and i not in rows}
        known = self._images(rows, "images.status", *(f"answers.{name}" for name in answers.COLUMNS))
        early = [image_id for image_id, (status, *_) in known.items() if status == "unlabelled"]
        if early:
            raise ValueError(f"expected answers for images that were asked for, got one for {early[0]!r}")
        changed = sorted(image_id for image_id, (_, *was) in known.items() if rows[image_id] != tuple(was))
        stage = self._at(number).stage
        if changed and stage != "queried":
            raise ValueError(
                f"expected answers while round {number} is at stage 'queried', got {len(changed)} new at {stage!r}; "
                "give them to the next round once it has queried"
            )
        # Asked for again, and answered as before: the labels are confirmed.
        confirmed = [i for i, (status, *was) in known.items() if rows[i] == tuple(was) and status != rows[i][0]]
        if stage != "queried":
            confirmed = []
        if not changed and not confirmed and cursor is None:
            return []
        batch = labels.subset(i for i in changed if i in labels)
        file = f"labels/{number:03d}-{answers.batch_name(rows, batch.image_ids)}.parquet"
        columns = ("image_id", "round", "time", "file", *answers.COLUMNS)
        insert = f"INSERT INTO answers ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        with self._transaction() as db:
            if len(batch):
                fsync(batch.save(self.folder / file))
                fsync(self.folder / "labels")
            for image_id in changed:
                row = (image_id, number, utc_now(), file if image_id in batch else None, *rows[image_id])
                answer = db.execute(insert, row).lastrowid
                status = rows[image_id][0]
                db.execute("UPDATE images SET status = ?, answer = ? WHERE image_id = ?", (status, answer, image_id))
            for image_id in confirmed:
                db.execute("UPDATE images SET status = ? WHERE image_id = ?", (rows[image_id][0], image_id))
            if cursor is not None:
                db.execute("INSERT OR REPLACE INTO meta VALUES ('cursor', ?)", (cursor,))
        return changed

    def close_collection(self, number: int) -> Round:
        """Stage queried -> collected: no more answers in this round. Unanswered images stay 'queried'."""
        return self._step(number, "queried", "collected")

    def record_training(self, number: int, checkpoint: str | Path, metrics: Mapping[str, Any]) -> Round:
        """Stage collected -> trained, which ends the round.

        Args:
            number: the open round's.
            checkpoint: a file; inside the workspace it is kept relative, so that the workspace can be moved.
            metrics: name -> value; they become columns of :meth:`history`.

        Raises:
            ValueError: at another stage, or when another training was recorded already.
            FileNotFoundError: when the checkpoint is not there.
        """
        taken = sorted(set(metrics) & set(history.COLUMNS))
        if taken:
            raise ValueError(
                f"expected metrics with names of their own, got {taken[0]!r}, which is a column of the history"
            )
        path = Path(checkpoint).absolute()
        if not path.is_file():
            raise FileNotFoundError(f"expected the checkpoint of round {number}, there is no file {path}")
        fsync(path)
        kept = path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else str(path)
        values = {"checkpoint": kept, "metrics": json.dumps(dict(metrics), sort_keys=True, default=_number)}
        return self._step(number, "collected", "trained", **values)

    # Inside.

    def _step(self, number: int, before: str, after: str, **values: str) -> Round:
        """One stage on; done already with the same values, nothing happens."""
        columns = ", ".join(values) or "NULL"
        stage = self._at(number).stage
        (now,) = self._db.execute(f"SELECT {columns} FROM rounds WHERE round = ?", (number,))
        if stage == after and now == (tuple(values.values()) or (None,)):
            return self._at(number)
        if stage != before:
            told = f" with {', '.join(map(str, now))}" if values and stage == after else ""
            raise ValueError(
                f"expected round {number} at stage {before!r}, to make it {after!r}; it is {stage!r}{told}"
            )
        with self._transaction() as db:
            for name, value in (
                values | {"stage": after} | ({"finished": utc_now()} if after == STAGES[-1] else {})
            ).items():
                db.execute(f"UPDATE rounds SET {name} = ? WHERE round = ?", (value, number))
        return self._at(number)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        if self._lock is None:
            raise PermissionError(f"{self.folder} is open for reading only (or closed); Workspace.open it to change it")
        with self._db:  # commits at the end, rolls back on an exception
            self._db.execute("BEGIN IMMEDIATE")
            yield self._db


def _number(value: Any) -> Any:
    """NumPy's numbers and arrays as JSON has them."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError(f"expected metrics that JSON can hold, got {type(value).__name__}: {value!r}")
