"""Warnings that point at the user's line, however deep inside this package their cause lies."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path

__all__ = ["warn_user"]

_PACKAGE = f"{Path(__file__).parents[1]}/"


def warn_user(message: str, category: type[Warning]) -> None:
    """Warn at the innermost line of the call stack that is not in this package.

    How many frames lie in between depends on the strategy and on who calls it, so a constant stacklevel cannot do it.
    """
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
