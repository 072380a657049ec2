"""The entries of a result -> one entry per shape and group of labels.

A configuration with ``<RectangleLabels>`` gives one entry per box. ``<Rectangle>`` with ``<Labels>`` gives two that
share an id: the shape and its labels. Two groups of labels over one image give an entry each, all with one id.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_SHAPES = ("rectangle", "polygon")


def join_entries(result: Sequence[Any]) -> Iterator[Any]:
    """Yield each box or polygon as if RectangleLabels or PolygonLabels had drawn it, and all other entries as they are.

    Args:
        result: of an annotation or a prediction.
    """
    labels: dict[str, list[Mapping[str, Any]]] = {}
    for entry in result:
        if _kind(entry) == "labels" and entry.get("id") is not None:
            labels.setdefault(str(entry["id"]), []).append(entry)
    shapes = {str(entry.get("id")) for entry in result if _kind(entry) in _SHAPES}
    for entry in result:
        kind = _kind(entry)
        if kind in _SHAPES and str(entry.get("id")) in labels:
            for named in labels[str(entry["id"])]:
                yield _labelled(kind, {**named, **entry, "from_name": named.get("from_name")}, named)
        elif kind == "labels" and str(entry.get("id")) in shapes:
            continue  # joined with its shape
        elif kind == "labels" and (own := _own_shape(entry)):
            yield _labelled(own, entry, entry)
        else:
            yield entry


def _kind(entry: Any) -> Any:
    is_shape = isinstance(entry, Mapping) and isinstance(entry.get("value"), Mapping)
    return entry.get("type") if is_shape else None


def _own_shape(entry: Mapping[str, Any]) -> str | None:
    """The shape that labels repeat."""
    return "polygon" if "points" in entry["value"] else "rectangle" if "width" in entry["value"] else None


def _labelled(shape: str, entry: Mapping[str, Any], labels: Mapping[str, Any]) -> dict[str, Any]:
    value = {**entry["value"], f"{shape}labels": labels["value"].get("labels")}
    return {**entry, "type": f"{shape}labels", "value": value}
