"""Processes that kill themselves at a chosen step, and what a workspace holds afterwards."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import traceback
from pathlib import Path

from al_rotate.data import RotatedInstances


def dump(folder):
    """Return all that is in the database, without times, and what is in all label files."""
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
    """SIGKILL this process before its `point`-th change of `folder`, in SQL or to files; return the list of changes."""
    changes = []

    def step(change):
        if change.startswith(
            ("SELECT", "PRAGMA query_only", "PRAGMA synchronous", "PRAGMA application_id", "PRAGMA user")
        ):
            return  # changes nothing: as if killed before what comes next
        changes.append(change)
        if len(changes) == point:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event, arguments):
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
            return  # to read it, or to flush it to the disk
        if event in ("open", "os.rename", "os.mkdir", "os.remove") and str(arguments[0]).startswith(str(folder)):
            step(f"{event} {arguments[0]}")

    def traced(*arguments, connect=sqlite3.connect, **options):
        db = connect(*arguments, **options)
        db.set_trace_callback(step)
        return db

    sys.addaudithook(hook)
    sqlite3.connect = traced
    return changes


def play_in_a_child(play, folder, point=None, inspect=None):
    """Play in a fork that is killed at `point`.

    Args:
        play: works on `folder`, and resumes what an earlier call has left there.
        folder: of a workspace.
        point: see kill_at; None: not killed.
        inspect: called with `folder` before a play that is not killed.

    Returns:
        The changes, if it came to its end; else None.
    """
    report = folder.with_suffix(".json")
    report.unlink(missing_ok=True)
    child = os.fork()
    if not child:
        code = 1
        try:
            if point is None and inspect is not None:
                inspect(folder)
            changes = kill_at(point, folder)
            play(folder)
            report.write_text(json.dumps(changes))
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), f"status {status} at point {point} of {folder}"
    return json.loads(report.read_text()) if status == 0 else None


def play_killed(play, root, choose=lambda changes: range(1, len(changes) + 1), inspect=None):
    """Play undisturbed in root/000; then, for each chosen point, killed there, some again elsewhere, and to the end."""
    root = Path(root)
    changes = play_in_a_child(play, root / "000", inspect=inspect)
    assert changes is not None
    for point in choose(changes):
        folder = root / f"{point:03d}"
        assert play_in_a_child(play, folder, point) is None
        if point % 3 == 0:
            play_in_a_child(play, folder, 1 + 7 * point % 40)
        assert play_in_a_child(play, folder, inspect=inspect) is not None


def run_in_new_process(code):
    """Run code that forks in a process that has started no threads, with this one's import path."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], env=env, check=True)
