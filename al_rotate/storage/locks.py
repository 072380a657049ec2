"""Advisory file locks, which the kernel releases when the process that holds them ends, however it ends."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path
from types import TracebackType
from typing import IO

from .files import utc_now


class Locked(RuntimeError):
    """Another process holds the lock.

    Attributes:
        holder: the content of the lock file.
    """

    def __init__(self, path: Path, holder: str) -> None:
        super().__init__(f"{path} is held by {holder or 'another process'}")
        self.holder = holder


class FileLock:
    """An advisory lock (flock) on a file: exclusive for writers, shared for readers.

    It is released by :meth:`release`, by the end of a ``with`` block, and by the end of the last process that holds
    it, which includes a child that inherits :meth:`fileno`.

    Args:
        path: the file, made if it does not exist. Its content names the holder; the lock itself does not depend on it.

    Attributes:
        held: whether this object holds the lock.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file: IO[str] | None = None

    @property
    def held(self) -> bool:
        return self._file is not None

    def acquire(self, wait: bool = False, shared: bool = False, note: str | None = None) -> FileLock:
        """Take the lock.

        Args:
            wait: block until the lock is free.
            shared: take a shared lock, which excludes only exclusive ones.
            note: content of the file, which others see in :class:`Locked`; None names this process and the time. A
                shared lock leaves the content as it is.

        Raises:
            Locked: when another process holds the lock and `wait` is false.
        """
        file = open(self.path, "a+", encoding="utf-8")
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
            self._file = file
            if not shared:
                self.write(
                    f"process {os.getpid()} on {socket.gethostname()} since {utc_now()}" if note is None else note
                )
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip()
            file.close()
            raise Locked(self.path, holder) from None
        except BaseException:
            self._file = None
            file.close()
            raise
        return self

    def write(self, note: str) -> None:
        """Replace the file's content; the lock must be held."""
        assert self._file is not None, "the lock is not held"
        self._file.truncate(0)
        self._file.write(note)
        self._file.flush()

    def fileno(self) -> int:
        """Return the file descriptor; a child process that gets it (``pass_fds``) holds the lock as well."""
        assert self._file is not None, "the lock is not held"
        return self._file.fileno()

    def release(self) -> None:
        """Release the lock; without effect if it is not held."""
        if self._file is not None:
            self._file.close()
        self._file = None

    def __enter__(self) -> FileLock:
        return self if self.held else self.acquire()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()


def is_held(path: str | Path) -> bool:
    """Return whether a process holds the lock exclusively; the check does not disturb other such checks."""
    if not Path(path).exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(shared=True)
    except Locked:
        return True
    lock.release()
    return False
