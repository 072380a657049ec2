"""The bridge to Label Studio: sends queries with predicted boxes, takes over corrections. Loaded when used."""

# No `from __future__ import annotations` here: it would take the name of the module.
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

# public name -> the module that it stands for
_MODULES = {
    "annotations": "conversion.annotations",
    "annotator": "annotator",
    "backend": "backend",
    "client": "client",
    "export": "export",
    "geometry": "conversion.geometry",
    "label_config": "conversion.label_config",
    "local_server": "local_server",
    "tasks": "conversion.tasks",
}
# public name -> the module that defines it
_NAMES = {
    "Connection": "connection",
    "LabelStudio": "client",
    "LabelStudioAnnotator": "annotator",
    "LabelStudioError": "client",
    "LocalServer": "local_server",
    "NotAllowed": "client",
    "addresses": "client",
    "connect": "connection",
    "read_export": "label_exports",
}

__all__ = sorted([*_MODULES, *_NAMES, "restore_annotator"])


def restore_annotator(folder: Path) -> "LabelStudioAnnotator | None":
    """Restore the annotator of a connected workspace, else None: the entry point ``label-studio``."""
    if not (folder / "label_studio.json").exists():
        return None
    from .annotator import LabelStudioAnnotator  # loads the SDK

    return LabelStudioAnnotator(folder)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f".{_MODULES[name]}", __name__)
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_NAMES[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return __all__


if TYPE_CHECKING:
    from . import annotator, backend, client, export, local_server
    from .annotator import LabelStudioAnnotator
    from .client import LabelStudio, LabelStudioError, NotAllowed, addresses
    from .connection import Connection, connect
    from .conversion import annotations, geometry, label_config, tasks
    from .label_exports import read_export
    from .local_server import LocalServer
