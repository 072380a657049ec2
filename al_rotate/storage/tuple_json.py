"""JSON that keeps tuples: MMCV accepts (640, 640) as a scale and refuses [640, 640]."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_TUPLE = "__tuple__"


def dumps(value: Any, **options: Any) -> str:
    """Encode dicts, lists, tuples and plain values; `options` are those of json.dumps."""
    return json.dumps(_mark_tuples(value), **options)


def loads(text: str) -> Any:
    """Decode what :func:`dumps` wrote, or any other JSON."""
    return json.loads(text, object_hook=lambda decoded: tuple(decoded[_TUPLE]) if {*decoded} == {_TUPLE} else decoded)


def _mark_tuples(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _mark_tuples(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return {_TUPLE: [_mark_tuples(item) for item in value]}
    return [_mark_tuples(item) for item in value] if isinstance(value, list) else value
