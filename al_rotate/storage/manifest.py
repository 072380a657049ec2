"""Manifests: a folder records the settings of its content, so that content of other settings is not mixed in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .files import atomic_write, fsync


def read(file: str | Path) -> dict[str, Any]:
    """Read a manifest; one that does not exist is empty.

    Raises:
        ValueError: for an empty or damaged file, such as an older version may have left in a power cut; names it.
    """
    file = Path(file)
    if not file.is_file():
        return {}
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:  # of JSON or of UTF-8
        raise ValueError(f"expected a manifest, {file} is empty or damaged ({error}): delete {file.parent}") from None
    if not isinstance(facts, dict):
        raise ValueError(f"expected a manifest, {file} holds {type(facts).__name__}: delete {file.parent}")
    return facts


def claim(file: str | Path, facts: Mapping[str, Any], what: str, remedy: str, in_use: bool = True) -> dict[str, Any]:
    """Record in a folder's manifest what its content is made from, or refuse a folder made from something else.

    Args:
        file: the manifest, a JSON file in that folder.
        facts: name -> what the content follows from; values that survive JSON unchanged (lists, no tuples). None
            stands for content that was made before there was such a fact.
        what: the content in the error message, as in ``detections``: "holds detections with another model".
        remedy: the end of the error message: what to do instead.
        in_use: whether the folder has content that other facts would contradict; if not, the manifest is updated.

    Returns:
        The manifest's facts. Those of an earlier claim that are not in `facts` are kept.

    Raises:
        ValueError: when the content follows from other facts, and names them; when the manifest of content that is
            in use is damaged.
    """
    file = Path(file)
    try:
        recorded = read(file)
    except ValueError:
        if in_use:
            raise
        recorded = {}
    changed = [name for name in facts if recorded and recorded.get(name) != facts[name]]
    if changed and in_use:
        raise ValueError(f"{file.parent} holds {what} with another {', '.join(changed)}; {remedy}")
    updated = {**recorded, **facts}
    if updated != recorded:
        with atomic_write(file) as manifest:
            json.dump(updated, manifest, indent=1)
        fsync(file)
        fsync(file.parent)
    return updated
