"""Keeps tokens and passwords out of logs, pages and files, and lines short and printable."""

from __future__ import annotations

import logging
import re
import threading
from typing import Any

HIDDEN = "[hidden]"
LONGEST = 1000  # characters of a line
_SHORTEST = 4  # characters; shorter secrets would blot out ordinary words
_PATTERNS = (
    # Authorization headers, whoever printed them.
    (re.compile(r"(?i)\b(token|bearer|basic)(\s+)[\w.+/=~-]{12,}"), rf"\1\2{HIDDEN}"),
    # Signed addresses: whoever has one can read the file.
    (
        re.compile(r"(?i)([?&][\w.-]*(?:token|signature|sig|credential|secret|password|key)[\w.-]*=)[^&\s\"'<>]+"),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"(?i)((?:access_token|password|api_key)[\"']?\s*[:=]\s*[\"']?)[^\s\"',}]+"), rf"\1{HIDDEN}"),
)


class Redactor(logging.Filter):
    """Replaces the given secrets, and what looks like one, in text and in log records.

    As a logging filter it changes records and drops none; it redacts tracebacks too.

    Args:
        secrets: to replace; None and very short ones are ignored.
    """

    def __init__(self, *secrets: str | None) -> None:
        super().__init__()
        self._secrets: tuple[str, ...] = ()
        self._lock = threading.Lock()
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str | None) -> None:
        """Redact this secret from now on."""
        if secret and len(secret) >= _SHORTEST:
            with self._lock:
                # Longest first: a secret may contain another.
                self._secrets = tuple(sorted({*self._secrets, secret}, key=len, reverse=True))

    def redact(self, text: str) -> str:
        """Replace the secrets in a text."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact a log record; always keeps it."""
        record.msg = self._redact_value(record.msg)
        if isinstance(record.args, dict):
            record.args = {name: self._redact_value(value) for name, value in record.args.items()}
        elif record.args:
            record.args = tuple(self._redact_value(value) for value in record.args)
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)  # formatters use exc_text if set
        if record.exc_text:
            record.exc_text = self.redact(record.exc_text)
        return True

    def _redact_value(self, value: Any) -> Any:
        """Redact an argument; numbers stay numbers, since a format may say %d."""
        if isinstance(value, (int, float, type(None))):
            return value
        text = str(value)
        redacted = self.redact(text)
        return redacted if redacted != text else value


def shorten(text: str, most: int = LONGEST) -> str:
    """Make a printable line of at most so many characters, and three dots."""
    line = " ".join(text[: 2 * most].split())
    line = line if line.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
    return line if len(line) <= most else f"{line[:most]}..."
