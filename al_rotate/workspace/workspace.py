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
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..data.instances import RotatedInstances
from ..storage import tuple_json
from ..storage.locks import FileLock, Locked
from . import database
from .transitions import Transitions


class WorkspaceBusy(RuntimeError):
    """Another process is writing to this workspace; the message names it."""


class Workspace(Transitions):
    """The state of one loop; make it with :meth:`create`, come back to it with :meth:`open`.

    One process writes at a time, any number read. Use it as a context manager, or ``close()`` it.
    """

    folder: Path
    settings: dict[str, Any]
    classes: tuple[str, ...]

    def __init__(self, folder: Path, lock: FileLock | None) -> None:
        # `create` and `open` are the ways in: they hold the lock and know that there is a state.db.
        self.folder, self._lock = folder, lock
        self._db = database.connect(folder / "state.db", read_only=lock is None)
        meta = dict(self._db.execute("SELECT key, value FROM meta"))
        self.settings, self.classes = tuple_json.loads(meta["settings"]), tuple(json.loads(meta["classes"]))
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
        meta = {"settings": tuple_json.dumps(dict(settings)), "classes": json.dumps(names)}
        bad = [repr(i) for i in images if not isinstance(i, str) or not i]
        if bad or not images:
            raise ValueError(f"expected images with non-empty strings as ids, got {bad[0] if bad else 'no image'}")
        folder = Path(folder).absolute()
        for part in ("labels", "rounds"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        with _locked(folder) as lock:
            if (folder / "state.db").exists():
                raise FileExistsError(
                    f"expected a folder without a workspace, {folder} already holds one; "
                    f"open it with Workspace.open, or look at it with: al-rotate status {folder}"
                )
            database.make(folder / "state.db", meta, ((i, os.fspath(images[i])) for i in sorted(images)))
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
        with _locked(folder) as lock:
            return cls(folder, lock)

    def close(self) -> None:
        """Give the workspace back; calling it twice is fine."""
        self._db.close()
        if self._lock:
            self._lock.release()
        self._lock = None

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Workspace: {self.folder}>"


@contextmanager
def _locked(folder: Path) -> Iterator[FileLock]:
    """The right to write in `folder`; it stays with whoever takes it over, unless that fails.

    Raises:
        WorkspaceBusy: when somebody has it.
    """
    lock = FileLock(folder / "lock")
    try:
        lock.acquire()
    except Locked as error:
        holder = error.holder or "another process"
        if holder.startswith(f"process {os.getpid()} "):
            holder += " (this one: an earlier Workspace that was not closed)"
        raise WorkspaceBusy(
            f"{folder} is held by {holder}; wait for it, end it, or only look: Workspace.open(..., read_only=True), "
            f"al-rotate status {folder}"
        ) from None
    try:
        yield lock
    except BaseException:
        lock.release()
        raise
