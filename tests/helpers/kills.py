"""A process that kills itself at a chosen step, and what a workspace holds afterwards."""

import os
import signal
import sqlite3
import sys

from al_rotate.data.instances import RotatedInstances


def dump(folder):
    """All that is in the database, without times, and what is in all labels files."""
    db = sqlite3.connect(folder / "state.db")
    db.row_factory = sqlite3.Row
    tables = {}
    for table, key in (("meta", 1), ("images", 1), ("rounds", 1), ("queries", "1, 2"), ("answers", 1)):
        rows = [dict(row) for row in db.execute(f"SELECT * FROM {table} ORDER BY {key}")]
        tables[table] = [{k: v for k, v in row.items() if k not in ("time", "started", "finished")} for row in rows]
    db.close()
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    tables["files"] = files
    tables["labels"] = [
        RotatedInstances.load(folder / name).to_frame().to_csv() for name in files if name.startswith("labels/")
    ]
    return tables


def kill_at(point, folder):
    """SIGKILL this process before the `point`-th thing it does to `folder`, in SQL or to files; returns the points."""
    seen = []

    def step(what):
        if what.startswith(
            ("SELECT", "PRAGMA query_only", "PRAGMA synchronous", "PRAGMA application_id", "PRAGMA user")
        ):
            return  # changes nothing: as if killed before what comes next
        seen.append(what)
        if len(seen) == point:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event, arguments):
        if event in ("open", "os.rename", "os.mkdir", "os.remove") and str(arguments[0]).startswith(str(folder)):
            step(f"{event} {arguments[0]}")

    def traced(*arguments, connect=sqlite3.connect, **options):
        db = connect(*arguments, **options)
        db.set_trace_callback(step)
        return db

    sys.addaudithook(hook)
    sqlite3.connect = traced
    return seen
