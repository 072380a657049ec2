"""JSON that gives tuples back as tuples: MMCV takes (640, 640) for a scale, and refuses [640, 640]."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_TUPLE = "__tuple__"


def dumps(value: Any, **options: Any) -> str:
    """As json.dumps, of dicts, lists, tuples and plain values."""
    return json.dumps(_marked(value), **options)


def loads(text: str) -> Any:
    """What :func:`dumps` wrote, or any other JSON."""
    return json.loads(text, object_hook=lambda found: tuple(found[_TUPLE]) if {*found} == {_TUPLE} else found)


def _marked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _marked(one) for key, one in value.items()}
    if isinstance(value, tuple):
        return {_TUPLE: [_marked(one) for one in value]}
    return [_marked(one) for one in value] if isinstance(value, list) else value
