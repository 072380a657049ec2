"""The pictures of a loop: plots, a gallery to browse, and the HTML report that is made of both.

The names load when they are first used: loops import this package, and only some draw.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .gallery import Gallery
    from .looking import pictured
    from .page import write_report

_NAMES = {"Gallery": "gallery", "pictured": "looking", "write_report": "page"}

__all__ = ["Gallery", "pictured", "write_report"]


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_NAMES[name]}", __name__), name)
