"""Pages are sent to others: they name files, and not the folders of the machine that they were written on."""

from __future__ import annotations

import re

_FOLDERS = re.compile(r"(?<![^\s'\"(])(?:[A-Za-z]:)?[/\\]+(?:[^/\\:'\"\s][^/\\:'\"\n]*[/\\]+)+")


def without_folders(text: str) -> str:
    """Return a sentence with each absolute path (POSIX or Windows) in it shortened to the name of the file."""
    return _FOLDERS.sub("", text)
