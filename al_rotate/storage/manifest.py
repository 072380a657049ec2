"""A folder that says what its content follows from, so that nothing made from other settings is mixed into it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .files import atomic_write


def claim(file: str | Path, facts: Mapping[str, Any], what: str, remedy: str, in_use: bool = True) -> dict[str, Any]:
    """Write down in a folder what is made there, or refuse a folder in which something else was made.

    Args:
        file: the manifest, JSON, in the folder that it speaks of.
        facts: name -> what the content follows from; values that JSON gives back as they are.
        what: for the message, as in ``detections``: the folder "holds detections with another model".
        remedy: for the message: what to do instead.
        in_use: whether there is content that other facts would contradict; without it the manifest is replaced.

    Returns:
        What the manifest says now; facts of an earlier claim that are not named here stay.

    Raises:
        ValueError: when the content follows from other facts; names them.
    """
    file = Path(file)
    there = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    changed = [name for name in facts if name in there and there[name] != facts[name]]
    changed += [name for name in facts if there and name not in there]
    if changed and in_use:
        raise ValueError(f"{file.parent} holds {what} with another {', '.join(changed)}; {remedy}")
    now = {**there, **facts}
    if now != there:
        with atomic_write(file) as text:
            json.dump(now, text, indent=1)
    return now
