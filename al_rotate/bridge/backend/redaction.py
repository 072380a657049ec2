"""Tokens and passwords stay out of logs, pages and files."""

from __future__ import annotations

import logging
import re
import threading
from typing import Any

HIDDEN = "[hidden]"
_SHORTEST = 4  # less would blot out ordinary words
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
    """Hides the secrets it was told of, and what looks like one, in text and in log records.

    As a filter it changes records and drops none; it hides in tracebacks too.
    """

    def __init__(self, *secrets: str | None) -> None:
        super().__init__()
        self._known: tuple[str, ...] = ()
        self._lock = threading.Lock()
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str | None) -> None:
        """Hide this from now on."""
        if secret and len(secret) >= _SHORTEST:
            with self._lock:
                self._known = tuple(sorted({*self._known, secret}, key=len, reverse=True))

    def hide(self, text: str) -> str:
        """The text without secrets."""
        for secret in self._known:
            text = text.replace(secret, HIDDEN)
        for pattern, shown in _PATTERNS:
            text = pattern.sub(shown, text)
        return text

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = self._value(record.msg)
        if isinstance(record.args, dict):
            record.args = {name: self._value(value) for name, value in record.args.items()}
        elif record.args:
            record.args = tuple(self._value(value) for value in record.args)
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)  # Formatter takes it from here
        if record.exc_text:
            record.exc_text = self.hide(record.exc_text)
        return True

    def _value(self, value: Any) -> Any:
        """Numbers must stay numbers: a format may say %d."""
        if isinstance(value, (int, float, type(None))):
            return value
        text = str(value)
        hidden = self.hide(text)
        return hidden if hidden != text else value
