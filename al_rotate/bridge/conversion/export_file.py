"""Label Studio's JSON export as a file: its tasks one at a time, and plain words for files that are something else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ...data.images import SUFFIXES

_WANTED = "in Label Studio choose Export, then JSON: the only format that keeps angles, skipped tasks and predictions"


def tasks(path: Path) -> Iterator[dict[str, Any]]:
    """The tasks of an export, read as they are asked for: the file may be larger than memory.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: for a file that is no JSON export of Label Studio; says what it is instead, and what to export.
    """
    import ijson  # comes with label-studio-sdk

    with open(path, "rb") as file:
        start = file.read(4096).lstrip()
        file.seek(0)
        try:
            if not start.startswith(b"["):
                raise ValueError(f"{path}: expected a list of tasks, got {_what(start, file)}; {_WANTED}")
            number = 0
            for number, task in enumerate(ijson.items(file, "item", use_float=True), start=1):
                wrong = _wrong(task)
                if wrong:
                    raise ValueError(f"{path}: expected tasks, got as number {number} {wrong}; {_WANTED}")
                yield task
        except ijson.JSONError as error:
            raise ValueError(f"{path}: expected JSON, got a file that is damaged or cut short: {error}") from error
        if not number:
            raise ValueError(f"{path}: expected a list of tasks, got an empty one; {_WANTED}")


def image_key(data: Mapping[str, Any]) -> str:
    """The key of a task's data that holds the address of its image.

    Raises:
        ValueError: when it is not plain which one.
    """
    found = [key for key, value in data.items() if isinstance(value, str) and suffix(value)]
    if "image" in data or not found:
        return "image"
    if len(found) > 1:
        raise ValueError(
            f"expected one image a task, got {', '.join(found)}: give the project's labelling configuration, which "
            "says which of them the boxes are on"
        )
    return found[0]


def suffix(address: str) -> str:
    """The suffix of an image's address, with the dot; empty where it has none."""
    parts = urlsplit(address)
    path = parse_qs(parts.query).get("d", [""])[0] if "/local-files/" in parts.path else parts.path
    end = PurePosixPath(path).suffix
    return end if end.lower() in SUFFIXES else ""


def _what(start: bytes, file: Any) -> str:
    import ijson

    if not start:
        return "an empty file"
    if start.startswith(b"PK"):
        return "a zip archive, such as its YOLO and COCO exports"
    if not start.startswith(b"{"):
        return f"something that is no JSON: {start[:40]!r}"
    events = islice(ijson.parse(file), 1_000_000)
    keys = [value for prefix, event, value in events if not prefix and event == "map_key"]
    if {"categories", "images"} <= {*keys}:
        return "a COCO file (Label Studio's own are wrong for rotated boxes)"
    if {"data", "annotations"} <= {*keys}:
        return "a single task; put it in a list"
    return f"an object with {', '.join(keys[:8]) or 'nothing'}"


def _wrong(task: Any) -> str | None:
    """What stands in the place of a task; None for a task."""
    if not isinstance(task, dict):
        return f"{str(task)[:80]!r}"
    answers = task.get("annotations")
    if isinstance(task.get("data"), dict) and isinstance(answers, list) and all(isinstance(a, dict) for a in answers):
        return None
    if "annotation_id" in task or "annotator" in task:
        return "a row of the JSON-MIN export, which has lost the predictions and who skipped what"
    if "completions" in task:
        return "a task of Label Studio before 1.0, with completions"
    if "data" in task:
        return "a task without its annotations, as it is made for import"
    return f"an object with {', '.join(map(str, task)) or 'nothing'}"
