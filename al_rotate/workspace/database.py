"""The SQLite database of a workspace: its schema, how it is created and how it is opened."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..storage.files import fsync

_APPLICATION_ID = 0x616C726F
_SCHEMA_VERSION, _WITH_CHANGES = 1, 2  # of a new workspace; of one in which something was changed that 1 does not know
_TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    # round: that queried the image last; answer: its current row in answers
    """CREATE TABLE images (
        image_id TEXT PRIMARY KEY, path TEXT NOT NULL, status TEXT NOT NULL DEFAULT 'unlabelled',
        round INTEGER, answer INTEGER
    ) WITHOUT ROWID""",
    """CREATE TABLE rounds (
        round INTEGER PRIMARY KEY, stage TEXT NOT NULL DEFAULT 'new', strategy TEXT, checkpoint TEXT,
        metrics TEXT NOT NULL DEFAULT '{}', started TEXT NOT NULL, finished TEXT
    )""",
    """CREATE TABLE queries (
        round INTEGER, position INTEGER, image_id TEXT NOT NULL, score REAL, PRIMARY KEY (round, position)
    ) WITHOUT ROWID""",
    """CREATE TABLE answers (
        answer INTEGER PRIMARY KEY, image_id TEXT NOT NULL, round INTEGER NOT NULL, time TEXT NOT NULL, file TEXT,
        status TEXT NOT NULL, reason TEXT, digest TEXT, n_boxes INTEGER NOT NULL,
        annotator TEXT, seconds REAL, n_added INTEGER, n_moved INTEGER, n_relabelled INTEGER, n_deleted INTEGER
    )""",
)

_CHANGES = """CREATE TABLE IF NOT EXISTS changes (
    change INTEGER PRIMARY KEY, time TEXT NOT NULL, round INTEGER NOT NULL, what TEXT NOT NULL, summary TEXT NOT NULL,
    detail TEXT NOT NULL
)"""


def create(file: Path, meta: Mapping[str, str], images: Iterable[tuple[str, str]]) -> None:
    """Create a database that appears whole or not at all.

    Args:
        file: that must not exist.
        meta: key -> value.
        images: (id, path) each; sorted by id they go in fastest.

    Raises:
        ValueError: for an id or path that is not UTF-8.
    """
    scratch = file.with_name(f".{file.name}.new")
    scratch.unlink(missing_ok=True)
    db = sqlite3.connect(scratch, isolation_level=None)
    try:
        # The scratch file needs no journal: the next attempt deletes what a kill left of it.
        db.execute("PRAGMA journal_mode = OFF")
        db.execute("PRAGMA synchronous = OFF")
        db.execute("BEGIN")
        for table in _TABLES:
            db.execute(table)
        db.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
        db.executemany("INSERT INTO images (image_id, path) VALUES (?, ?)", images)
        db.execute("CREATE INDEX images_by_status ON images (status)")
        db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
        db.execute("COMMIT")
    except UnicodeEncodeError as error:
        raise ValueError(f"expected image ids and paths in UTF-8, got {error.object!r}; rename the file") from None
    finally:
        db.close()
    fsync(scratch)
    os.replace(scratch, file)
    fsync(file.parent)


def connect(file: Path, read_only: bool) -> sqlite3.Connection:
    """Open an existing database in autocommit mode.

    Raises:
        ValueError: if the file is something else, or has a newer schema.
    """
    # Readers open for writing too, where they may: only then can they roll back what a killed process left half-done.
    # SQLite's plain journal, not WAL, because a workspace may be on a network file system.
    db = sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=60)
    try:
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA query_only = {int(read_only)}")
        application, schema = (
            db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
        )
        if application != _APPLICATION_ID:
            raise ValueError(f"expected the state of a workspace, {file} is another program's database")
        if schema > _WITH_CHANGES:
            raise ValueError(
                f"expected a workspace of version {_WITH_CHANGES} or older, {file} has version {schema}: "
                "update al_rotate"
            )
    except sqlite3.DatabaseError as error:
        db.close()
        raise ValueError(f"expected the state of a workspace, {file} cannot be read: {error}") from error
    except BaseException:
        db.close()
        raise
    return db


def add_change(db: sqlite3.Connection, row: Sequence[str | int]) -> None:
    """Add (time, round, what, summary, detail) to the list of changes, inside a transaction.

    The first change makes the table, and raises the schema's version: an older al_rotate would misread the workspace.
    """
    db.execute(_CHANGES)
    db.execute(f"PRAGMA user_version = {_WITH_CHANGES}")
    db.execute("INSERT INTO changes (time, round, what, summary, detail) VALUES (?, ?, ?, ?, ?)", row)


def read_changes(db: sqlite3.Connection) -> list[tuple[str, int, str, str, str]]:
    """Return (time, round, what, summary, detail) of each change, oldest first."""
    if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'changes'").fetchone() is None:
        return []
    return db.execute("SELECT time, round, what, summary, detail FROM changes ORDER BY change").fetchall()
