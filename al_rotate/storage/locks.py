"""One lock of a file, which the kernel gives back with the process that holds it, however that ends."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path
from types import TracebackType
from typing import IO

from .files import utc_now


class Locked(RuntimeError):
    """Somebody else holds the lock; `holder` is what is written in its file."""

    def __init__(self, path: Path, holder: str) -> None:
        super().__init__(f"{path} is held by {holder or 'another process'}")
        self.holder = holder


class FileLock:
    """An advisory lock (flock) on a file: exclusive for whoever works, shared for those who only look.

    It is released by :meth:`release`, by the end of a ``with`` block, and by the end of the last process that holds
    it; a child that inherits :meth:`fileno` is one of these.

    Args:
        path: the file, made if need be. Its content names the holder and means nothing to the lock itself.

    Attributes:
        held: whether this object holds it.
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
            wait: until it is free.
            shared: with others that only look.
            note: written into the file, for whoever comes second; None names this process and the time.

        Raises:
            Locked: when somebody has it and `wait` is not set.
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
        """Replace the file's content, while the lock is held."""
        assert self._file is not None, "the lock is not held"
        self._file.truncate(0)
        self._file.write(note)
        self._file.flush()

    def fileno(self) -> int:
        """The descriptor to pass to a child process (``pass_fds``) that shall hold the lock as well."""
        assert self._file is not None, "the lock is not held"
        return self._file.fileno()

    def release(self) -> None:
        """Give it back; calling it twice is fine."""
        if self._file is not None:
            self._file.close()
        self._file = None

    def __enter__(self) -> FileLock:
        return self if self.held else self.acquire()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()


def is_held(path: str | Path) -> bool:
    """Whether any process holds the lock exclusively; looking takes nothing away from others that look."""
    if not Path(path).exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(shared=True)
    except Locked:
        return True
    lock.release()
    return False
