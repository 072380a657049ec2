"""The durable state of one active-learning loop: a folder with a SQLite file and readable artefacts.

::

    state.db         the state of every image, all rounds, queries and answers
    lock             held by the one process that may write
    labels/          what people answered, one Parquet file a batch; state.db says which file is current for an image
    rounds/000/ ...  what the loop leaves of each round for people to read

Every change is one SQLite transaction, and a file is on disk before the transaction that refers to it. So a
process can be killed anywhere and its steps run again: a step that was done already changes nothing.
"""

from __future__ import annotations

import json
import math
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from . import _answers, _history, _json, _store
from ._answers import COST_COLUMNS
from ._store import WorkspaceBusy
from .instances import RotatedInstances

__all__ = ["COST_COLUMNS", "STAGES", "STATUSES", "Round", "Workspace", "WorkspaceBusy"]

STATUSES = ("unlabelled", "queried", "labelled", "skipped")
_ANSWERED = ("labelled", "skipped")
STAGES = ("new", "queried", "collected", "trained")


@dataclass(frozen=True)
class Round:
    """One round as it stood when asked for."""

    number: int
    stage: str  # one of STAGES
    folder: Path  # for this round's artefacts; exists
    strategy: str | None  # of the query
    checkpoint: Path | None  # of the training
    metrics: dict[str, Any]  # of the training


class Workspace:
    """The state of one loop; make it with :meth:`create`, come back to it with :meth:`open`.

    One process writes at a time, any number read. Use it as a context manager, or ``close()`` it.
    """

    folder: Path
    settings: dict[str, Any]
    classes: tuple[str, ...]

    def __init__(self, folder: Path, lock: IO[str] | None) -> None:
        # `create` and `open` are the ways in: they hold the lock and know that there is a state.db.
        self.folder, self._lock = folder, lock
        self._db = _store.connect(folder / "state.db", read_only=lock is None)
        meta = dict(self._db.execute("SELECT key, value FROM meta"))
        self.settings, self.classes = _json.loads(meta["settings"]), tuple(json.loads(meta["classes"]))
        if lock:
            for part in ("labels", "rounds"):
                for scratch in (folder / part).rglob(".*.tmp"):  # of a process that was killed
                    scratch.unlink()

    @classmethod
    def create(
        cls, folder: str | Path, images: Mapping[str, str | Path], classes: Sequence[str], settings: Mapping[str, Any]
    ) -> Workspace:
        """Make a workspace in which every image is unlabelled. If this is killed it can be run again.

        Args:
            folder: made if need be.
            images: image id -> file; the path is kept as given.
            classes: the names of the classes.
            settings: anything that JSON can hold, and tuples.

        Raises:
            FileExistsError: when there is a workspace already.
            WorkspaceBusy: when another process is making one here.
            ValueError: for no images, or ids or classes that cannot be.
        """
        names = RotatedInstances.empty(classes=classes).classes  # checks them
        meta = {"settings": _json.dumps(dict(settings)), "classes": json.dumps(names)}
        bad = [repr(i) for i in images if not isinstance(i, str) or not i]
        if bad or not images:
            raise ValueError(f"expected images with non-empty strings as ids, got {bad[0] if bad else 'no image'}")
        folder = Path(folder).absolute()
        for part in ("labels", "rounds"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        with _store.closed_on_error(_store.acquire(folder)) as lock:
            if (folder / "state.db").exists():
                raise FileExistsError(
                    f"expected a folder without a workspace, {folder} already holds one; "
                    f"open it with Workspace.open, or look at it with: al-rotate status {folder}"
                )
            _store.make(folder / "state.db", meta, ((i, os.fspath(images[i])) for i in sorted(images)))
            return cls(folder, lock)

    @classmethod
    def open(cls, folder: str | Path, read_only: bool = False) -> Workspace:
        """Come back to a workspace.

        Args:
            folder: where it is.
            read_only: only look; works while another process writes.

        Raises:
            FileNotFoundError: when there is none.
            WorkspaceBusy: when another process has it open for writing.
            ValueError: when state.db is something else, or of a newer al_rotate.
        """
        folder = Path(folder).absolute()
        if not (folder / "state.db").is_file():
            what = "holds no state.db" if folder.is_dir() else "is no folder"
            raise FileNotFoundError(f"expected a workspace, {folder} {what}; make one with: al-rotate init {folder}")
        if read_only:
            return cls(folder, None)
        with _store.closed_on_error(_store.acquire(folder)) as lock:
            return cls(folder, lock)

    def close(self) -> None:
        """Give the workspace back; calling it twice is fine."""
        self._db.close()
        if self._lock:
            self._lock.close()
        self._lock = None

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Workspace: {self.folder}>"

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
        return _answers.join(parts, self.classes)

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

    def begin_round(self) -> Round:
        """The open round; a new one at stage 'new' when there is none, or when the last one is 'trained'."""
        rounds = self.rounds()
        if rounds and rounds[-1].stage != "trained":
            return rounds[-1]
        with self._transaction() as db:
            self._folder(len(rounds)).mkdir(exist_ok=True)
            db.execute("INSERT INTO rounds (round, started) VALUES (?, ?)", (len(rounds), _store.now()))
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
        labels = _answers.plain(labels, self.classes)
        rows = _answers.rows(labels, skipped or {}, costs)
        gone = self._images(withdrawn, "images.status")
        rows |= {i: _answers.WITHDRAWN for i, (status,) in gone.items() if status in _ANSWERED and i not in rows}
        known = self._images(rows, "images.status", *(f"answers.{name}" for name in _answers.COLUMNS))
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
        file = f"labels/{number:03d}-{_answers.batch_name(rows, batch.image_ids)}.parquet"
        columns = ("image_id", "round", "time", "file", *_answers.COLUMNS)
        insert = f"INSERT INTO answers ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        with self._transaction() as db:
            if len(batch):
                _store.sync(batch.save(self.folder / file))
                _store.sync(self.folder / "labels")
            for image_id in changed:
                row = (image_id, number, _store.now(), file if image_id in batch else None, *rows[image_id])
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
        taken = sorted(set(metrics) & set(_history.COLUMNS))
        if taken:
            raise ValueError(
                f"expected metrics with names of their own, got {taken[0]!r}, which is a column of the history"
            )
        path = Path(checkpoint).absolute()
        if not path.is_file():
            raise FileNotFoundError(f"expected the checkpoint of round {number}, there is no file {path}")
        _store.sync(path)
        kept = path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else str(path)
        values = {"checkpoint": kept, "metrics": json.dumps(dict(metrics), sort_keys=True, default=_number)}
        return self._step(number, "collected", "trained", **values)

    # What happened.

    def history(self) -> pd.DataFrame:
        """One row a round, the axes of learning curves.

        Columns: round, stage, strategy; n_queried, n_labelled, n_skipped, n_boxes, cost (seconds), each the
        **total** as it stood at the end of the round; the metrics; started, finished (UTC, ISO).
        """
        return _history.history(self._db)

    def ledger(self) -> pd.DataFrame:
        """One row an answered image, by id: its current answer, the round it came in, and what it took.

        Columns: image_id, round, status, reason (of skipping), n_boxes, annotator, seconds, n_added, n_moved,
        n_relabelled, n_deleted; missing where not known.
        """
        return _history.ledger(self._db)

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
                values | {"stage": after} | ({"finished": _store.now()} if after == STAGES[-1] else {})
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
