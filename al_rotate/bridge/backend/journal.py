"""What the service tells its operator: a line on the console and the status page, and the traceback in a log file."""

from __future__ import annotations

import logging
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import NamedTuple

from ...storage.files import utc_now
from .redaction import LONGEST, Redactor, shorten

LOG = logging.getLogger("al_rotate.bridge.backend")
NOTES = 200  # kept for the status page
LOG_FILE, LOG_BYTES = "service.log", 5 << 20  # in the service's folder


class Note(NamedTuple):
    """What was left out or refused: when last, where, why, and how many times."""

    time: str
    where: str
    why: str
    times: int


class Journal:
    """Notes and the last error, in printable lines without secrets; threads may share it.

    Args:
        redactor: hides secrets.
        folder: of the service, where its log is.
    """

    def __init__(self, redactor: Redactor, folder: Path) -> None:
        self.redactor, self.log_file = redactor, folder / LOG_FILE
        self.last_error: tuple[str, str] | None = None
        self._notes: OrderedDict[tuple[str, str], Note] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def notes(self) -> list[Note]:
        """What was left out or refused, the newest last."""
        with self._lock:
            return list(self._notes.values())

    def note(self, where: str, why: str | Exception) -> None:
        """Record that something was left out or refused; for an exception that is not ours, its traceback too."""
        key = (self.line(where), self.line(why))
        with self._lock:
            before = self._notes.pop(key, None)
            self._notes[key] = Note(utc_now(), *key, before.times + 1 if before else 1)
            while len(self._notes) > NOTES:
                self._notes.popitem(last=False)
        LOG.warning("%s: %s", *key, exc_info=_foreign(why))

    def fail(self, where: str, error: str | Exception) -> None:
        """Record an error; for an exception that is not ours, its traceback too."""
        text = self.line(f"{where}: {error if isinstance(error, str) else in_one_line(error)}")
        if _foreign(error):
            text += f"; the traceback is in {self.log_file}"
        self.last_error = (utc_now(), text)
        LOG.error("%s", text, exc_info=_foreign(error))

    def line(self, text: str | Exception) -> str:
        """Make one printable line without secrets."""
        text = text if isinstance(text, str) else in_one_line(text)
        return shorten(self.redactor.redact(shorten(text, 4 * LONGEST)))

    @contextmanager
    def logged(self) -> Iterator[None]:
        """Print one line per event, without tracebacks; the log file has all of it."""
        console = logging.StreamHandler(sys.stderr)
        console.setFormatter(_OneLine())
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        file = RotatingFileHandler(self.log_file, maxBytes=LOG_BYTES, backupCount=2, encoding="utf-8")
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        level, LOG.propagate = LOG.level, False
        LOG.setLevel(logging.INFO)
        try:
            for handler in (console, file):
                LOG.addHandler(handler)
            yield
        finally:
            for handler in (console, file):
                LOG.removeHandler(handler)
                handler.close()
            LOG.setLevel(level)
            LOG.propagate = True


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"al_rotate: {shorten(record.getMessage())}"


def in_one_line(error: BaseException) -> str:
    """Describe an exception: a ValueError of ours speaks for itself, others are named.

    >>> in_one_line(KeyError("bbox_head"))
    'KeyError: bbox_head'
    """
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    kind = f"{type(error).__name__}: " if _foreign(error) else ""
    return shorten(f"{kind}{text}") or type(error).__name__


def _foreign(error: object) -> BaseException | None:
    """Return an exception that says little to users: any but a ValueError raised in this package."""
    if not isinstance(error, BaseException):
        return None
    if not isinstance(error, ValueError) or isinstance(error, UnicodeError):
        return error
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    # By the package: a training's own module is __main__.
    ours = last is None or f"{last.tb_frame.f_globals.get('__package__')}.".startswith("al_rotate.")
    return None if ours else error
