"""The bridge to Label Studio: queries go out with their predicted boxes, corrections come back. Loaded when used."""

# No `from __future__ import annotations` here: it would take the name of the module.
from importlib import import_module
from typing import TYPE_CHECKING, Any

_MODULES = (
    "annotations",
    "annotator",
    "backend",
    "client",
    "export",
    "geometry",
    "label_config",
    "local_server",
    "tasks",
)
_HOME = {
    "Connection": "annotator",
    "LabelStudio": "client",
    "LabelStudioAnnotator": "annotator",
    "LabelStudioError": "client",
    "LocalServer": "local_server",
    "NotAllowed": "client",
    "addresses": "client",
    "connect": "annotator",
}

__all__ = sorted([*_MODULES, *_HOME])


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_HOME[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return __all__


if TYPE_CHECKING:
    from . import annotations, annotator, backend, client, export, geometry, label_config, local_server, tasks
    from .annotator import Connection, LabelStudioAnnotator, connect
    from .client import LabelStudio, LabelStudioError, NotAllowed, addresses
    from .local_server import LocalServer
