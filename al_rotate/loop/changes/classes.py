"""Changes of the list of classes: add, rename, merge."""

from __future__ import annotations

from collections.abc import Sequence

from ...workspace import Workspace


def add(workspace: Workspace, name: str) -> None:
    """See :meth:`al_rotate.ActiveLoop.add_class`."""
    classes = workspace.classes
    if name in classes:
        raise ValueError(f"{name!r} is a class already: {', '.join(classes)}")
    workspace.change_classes("add_class", [*classes, name], range(len(classes)), name)


def rename(workspace: Workspace, name: str, new_name: str) -> None:
    """See :meth:`al_rotate.ActiveLoop.rename_class`."""
    classes = workspace.classes
    _require(workspace, [name])
    if new_name in classes:
        raise ValueError(f"{new_name!r} is a class already: to make two classes one, use merge_classes")
    renamed = [new_name if each == name else each for each in classes]
    workspace.change_classes("rename_class", renamed, range(len(classes)), f"{name} is {new_name}")


def merge(workspace: Workspace, names: Sequence[str], into: str) -> None:
    """See :meth:`al_rotate.ActiveLoop.merge_classes`."""
    if isinstance(names, str):
        raise ValueError(f"expected a list of class names, got the text {names!r}")
    _require(workspace, names)
    merged = {*names, *({into} & {*workspace.classes})}
    if len(merged) < 2:
        raise ValueError(f"expected two classes or more to make one of, got {', '.join(merged)}")
    place = into if into in workspace.classes else next(each for each in workspace.classes if each in merged)
    kept = [each for each in workspace.classes if each not in merged or each == place]
    numbers = [kept.index(place if each in merged else each) for each in workspace.classes]
    classes = [into if each == place else each for each in kept]
    workspace.change_classes("merge_classes", classes, numbers, f"{', '.join(sorted(merged))} are {into}")


def _require(workspace: Workspace, names: Sequence[str]) -> None:
    if unknown := [name for name in names if name not in workspace.classes]:
        raise ValueError(f"expected classes of the workspace, {', '.join(workspace.classes)}, got {unknown[0]!r}")
