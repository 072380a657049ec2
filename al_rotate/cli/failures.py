"""What a command says when something goes wrong: one line, and a log file with the traceback of what none foresaw."""

from __future__ import annotations

import argparse
import contextlib
import dis
import errno
import os
import platform
import re
import sqlite3
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from .. import __version__
from .phrases import as_commands

KEPT_LOGS = 50  # older ones are deleted
LONGEST_MESSAGE = 600  # characters of a foreign exception's message; the log has all of it
_PACKAGE = f"{Path(__file__).parents[1]}{os.sep}"
_LIBRARIES = re.compile(rf"^$|^<|[/\\](site|dist)-packages[/\\]|^{re.escape(str(Path(os.__file__).parent))}")
_EXPECTED = (OSError, ValueError, TypeError, LookupError, RuntimeError, ImportError)  # that this package raises
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)


def describe(error: BaseException, arguments: argparse.Namespace | None, argv: list[str]) -> str:
    """Describe an exception in one line: what failed, the file if one is known, and what to do.

    An exception that this package raised speaks for itself. For any other one, which may come from a library, the
    operating system or a slip in this package, the traceback is written to a log file, and the line names it.

    Args:
        error: with its traceback.
        arguments: of the command, for the file that was at fault; None while they were being parsed.
        argv: for the log.
    """
    if _speaks_for_itself(error):
        text = error.args[0] if isinstance(error, KeyError) and error.args else error
        # A kind of its own (UnreadableImage) has nothing to add; an ImportError's remedy is always the same.
        return as_commands(_one_line(text), arguments) + (
            "; run `al-rotate doctor`" if isinstance(error, ImportError) else ""
        )
    return f"{_what_failed(error, arguments)}; {_what_to_do(error)}; {_write_log(error, argv)}"


def is_of_stdout(error: BaseException) -> bool:
    """Whether a full disk that no file name tells is that which standard output goes to: the line at fault prints."""
    if not isinstance(error, OSError) or error.filename is not None or error.errno not in _NO_SPACE:
        return False
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and re.search(r"\bprint\(|\bstdout\b", frames[-1].line or "") is not None


@contextlib.contextmanager
def plain_warnings(prefix: str, arguments: argparse.Namespace | None = None) -> Iterator[None]:
    """Print each warning as one line on standard error: ``prefix: warning: text``, without a place in the code.

    Args:
        prefix: the command.
        arguments: of the command, None while they are being parsed.
    """
    said: set[str] = set()

    def show(message: Warning | str, *place: Any, **more: Any) -> None:
        if (text := as_commands(_one_line(message), arguments)) not in said:  # once, from whatever place
            said.add(text)
            print(f"{prefix}: warning: {text}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _speaks_for_itself(error: BaseException) -> bool:
    """Whether a ``raise`` statement of this package made the exception, of a kind that is meant for users."""
    last = _last_frame(error)
    if last is None or not isinstance(error, _EXPECTED) or isinstance(error, NotImplementedError):
        return False
    code = last.tb_frame.f_code
    return code.co_filename.startswith(_PACKAGE) and code.co_code[last.tb_lasti] == dis.opmap["RAISE_VARARGS"]


def _last_frame(error: BaseException) -> TracebackType | None:
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return last


def _what_failed(error: BaseException, arguments: argparse.Namespace | None) -> str:
    message = _one_line(error)
    file = "" if isinstance(error, ImportError) else _file_of(error, arguments)  # which names a package
    if isinstance(error, OSError) and error.strerror:
        return f"{file}: {error.strerror}" if file else error.strerror
    if len(message) > LONGEST_MESSAGE:
        message = f"{message[:LONGEST_MESSAGE]} ..."
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return text if not file or file in text else f"{file}: {text}"


def _file_of(error: BaseException, arguments: argparse.Namespace | None) -> str:
    """Name the file at fault: what the exception says, a config that was running, or an argument; else nothing."""
    for chained in _chain(error):
        if isinstance(name := getattr(chained, "filename", None), str | bytes | os.PathLike) and name:
            line = getattr(chained, "lineno", None)
            return f"{os.fsdecode(name)}, line {line}" if line else os.fsdecode(name)
    if is_of_stdout(error):
        return "standard output"
    given = vars(arguments) if arguments else {}
    if isinstance(error, sqlite3.Error) and isinstance(given.get("workspace"), Path):
        return str(given["workspace"] / "state.db")
    if place := _users_code(error):
        return place
    files = [value for value in given.values() if isinstance(value, str | Path) and os.path.isfile(value)]
    folders = [value for value in given.values() if isinstance(value, Path) and value.is_dir()]
    return ", ".join(map(str, files or folders[:1]))


def _users_code(error: BaseException) -> str:
    """Name the innermost line that this package called and that is of no library: in a config, or what it imports."""
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    ours = [name.startswith(_PACKAGE) for name, _ in frames]
    called = frames[ours.index(True) :] if True in ours else []
    users = [(n, line) for n, line in called if not n.startswith(_PACKAGE) and not _LIBRARIES.search(n)]
    return "{}, line {}".format(*users[-1]) if users else ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in seen:
        seen.append(current)
        yield current
        current = current.__cause__ or current.__context__


def _what_to_do(error: BaseException) -> str:
    number, text = getattr(error, "errno", None), str(error).lower()
    if number in _NO_SPACE or "disk is full" in text or "no space left" in text:
        return "free some space and give the same command again: it resumes"
    if number in _DENIED:
        return "check who may read and write there"
    if isinstance(error, FileNotFoundError):
        return "check the path"
    if isinstance(error, sqlite3.Error):
        if "locked" in text or "busy" in text:
            return "another process is writing: wait for it and give the same command again"
        return "put back a copy of that file; trainings in rounds/ and answers in Label Studio are not affected"
    if isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text:
        return "take a smaller --batch-size or smaller tiles, or end what else runs there"
    if isinstance(error, ImportError):
        return "run `al-rotate doctor`: it names what is missing"
    if isinstance(error, SyntaxError):
        return "correct that line"
    if isinstance(error, OSError):
        return "check that file or address and give the same command again"
    return "check what you gave it; if that is right, this is a fault of al_rotate: report it with the log"


def _write_log(error: BaseException, argv: list[str]) -> str:
    """Write the traceback to a log file of this user's cache; say where."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "al_rotate" / "logs"
    name = f"{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}.log"
    lines = [
        f"al-rotate {' '.join(argv)}",
        f"al_rotate {__version__}, Python {platform.python_version()}, {platform.platform()}, in {os.getcwd()}",
        "".join(traceback.format_exception(type(error), error, error.__traceback__)),
    ]
    for folder in (cache, Path(tempfile.gettempdir())):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with open(
                os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w", errors="replace"
            ) as log:
                log.write("\n".join(lines))
            for old in sorted(cache.glob("*-*-*.log"))[:-KEPT_LOGS]:
                old.unlink(missing_ok=True)
            return f"details: {folder / name}"
        except OSError:
            continue
    return "its traceback could not be written to a log file"


def _one_line(text: object) -> str:
    return " ".join(str(text).split())
