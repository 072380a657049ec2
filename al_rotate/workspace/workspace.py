"""The durable state of one active-learning loop: a folder with a SQLite file and readable artefacts.

::

    state.db         the state of every image, all rounds, queries and answers
    lock             held by the one process that may write
    labels/          the answers, one Parquet file per batch; state.db says which file is current for an image
    rounds/000/ ...  what each round leaves for people to read

Every change is one SQLite transaction, and a file is on disk before the transaction that refers to it. So a process
can be killed anywhere and its steps run again: a step that is done already changes nothing.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..data import RotatedInstances
from ..storage import tuple_json
from ..storage.files import sync_tree
from ..storage.locks import FileLock, Locked
from . import database
from .changes import Changes


class WorkspaceBusy(RuntimeError):
    """Another process has the workspace open for writing; the message names it."""


class Workspace(Changes):
    """The state of one loop; start one with :meth:`create`, return to it with :meth:`open`.

    One process writes at a time, any number read. Use it as a context manager, or ``close()`` it.

    Attributes:
        folder: absolute.
        settings: of the loop, as JSON holds them.
        classes: class names.
    """

    folder: Path
    settings: dict[str, Any]
    classes: tuple[str, ...]

    def __init__(self, folder: Path, lock: FileLock | None) -> None:
        # Use `create` or `open`: they take the lock and know that state.db exists.
        self.folder, self._lock = folder, lock
        self._db = database.connect(folder / "state.db", read_only=lock is None)
        meta = dict(self._db.execute("SELECT key, value FROM meta"))
        self.settings, self.classes = tuple_json.loads(meta["settings"]), tuple(json.loads(meta["classes"]))
        if lock:
            for part in ("labels", "rounds"):
                for leftover in (folder / part).rglob(".*.tmp"):  # of a process that was killed
                    leftover.unlink()

    @classmethod
    def create(
        cls,
        folder: str | Path,
        images: Mapping[str, str | Path],
        classes: Sequence[str],
        settings: Mapping[str, Any],
        fill: Callable[[Path], object] | None = None,
    ) -> Workspace:
        """Create a workspace in which every image is unlabelled. A call that was killed can be made again.

        Args:
            folder: created if it does not exist.
            images: image id -> file; the path is kept as given.
            classes: class names.
            settings: what JSON can hold, and tuples.
            fill: called with the folder to write further files of the loop. Until it returns there is no workspace, and
                the lock keeps other processes away.

        Raises:
            FileExistsError: if there is a workspace already.
            WorkspaceBusy: if another process is creating one here.
            ValueError: for no images, or invalid ids or classes.
        """
        names = RotatedInstances.empty(classes=classes).classes  # refuses invalid ones
        meta = {"settings": tuple_json.dumps(dict(settings)), "classes": json.dumps(names)}
        invalid = [repr(i) for i in images if not isinstance(i, str) or not i]
        if invalid or not images:
            got = invalid[0] if invalid else "no image"
            raise ValueError(f"expected images with non-empty strings as ids, got {got}")
        folder = Path(folder).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder) as lock:
            if cls.exists(folder):
                raise FileExistsError(
                    f"expected a folder without a workspace, {folder} already holds one; "
                    f"open it with Workspace.open, or look at it with: al-rotate status {folder}"
                )
            for part in ("labels", "rounds"):
                (folder / part).mkdir(exist_ok=True)
            for leftover in folder.glob(".*.tmp"):  # of a process that was killed here
                leftover.unlink()
            if fill is not None:
                fill(folder)
            sync_tree(folder)
            database.create(folder / "state.db", meta, ((i, os.fspath(images[i])) for i in sorted(images)))
            return cls(folder, lock)

    @staticmethod
    def exists(folder: str | Path) -> bool:
        """Return whether a folder holds a workspace."""
        return (Path(folder) / "state.db").is_file()

    @classmethod
    def open(cls, folder: str | Path, read_only: bool = False) -> Workspace:
        """Open an existing workspace.

        Args:
            folder: of the workspace.
            read_only: change nothing; works while another process writes.

        Raises:
            FileNotFoundError: if there is none.
            WorkspaceBusy: if another process has it open for writing.
            ValueError: if state.db is something else, or of a newer al_rotate.
        """
        folder = Path(folder).absolute()
        if not cls.exists(folder):
            what = "holds no state.db" if folder.is_dir() else "is no folder"
            make = f"al-rotate init {shlex.quote(str(folder))} --images FOLDER --classes CLASSES --config CONFIG"
            raise FileNotFoundError(f"expected a workspace, {folder} {what}; make one with: {make}")
        if read_only:
            return cls(folder, None)
        with _locked(folder) as lock:
            return cls(folder, lock)

    def close(self) -> None:
        """Release the workspace; calling it twice is fine."""
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
    """Lock a folder for writing. The lock outlives the block, unless that raises: the workspace releases it.

    Raises:
        WorkspaceBusy: if another process holds it.
    """
    lock = FileLock(folder / "lock")
    try:
        lock.acquire()
    except Locked as error:
        holder = error.holder or "another process"
        if holder.startswith(f"process {os.getpid()} "):
            holder += " (this one: an earlier Workspace that was not closed)"
        raise WorkspaceBusy(
            f"{folder} is held by {holder}; wait for it, end it, or open it for reading: "
            f"Workspace.open(..., read_only=True), al-rotate status {folder}"
        ) from None
    try:
        yield lock
    except BaseException:
        lock.release()
        raise
