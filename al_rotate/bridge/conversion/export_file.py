"""Label Studio's JSON export: its tasks one at a time, and clear errors for files and records that are something else.

Hand-made and damaged exports hold text for a number, or a number for a record.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import Any

from .addresses import image_suffix

LONG_AGO = datetime.min.replace(tzinfo=timezone.utc)
_WANTED = "in Label Studio choose Export, then JSON: the only format that keeps angles, skipped tasks and predictions"


def iterate_tasks(path: Path) -> Iterator[dict[str, Any]]:
    """Read the tasks of an export one at a time: the file may be larger than memory.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a file that is no JSON export of Label Studio; says what it is instead, and what to export.
    """
    import ijson  # comes with label-studio-sdk

    with open(path, "rb") as file:
        start = file.read(4096).lstrip()
        file.seek(0)
        try:
            if not start.startswith(b"["):
                raise ValueError(f"{path}: expected a list of tasks, got {_describe_file(start, file)}; {_WANTED}")
            number = 0
            for number, task in enumerate(ijson.items(file, "item", use_float=True), start=1):
                if not is_task(task):
                    got = _describe_entry(task)
                    raise ValueError(f"{path}: expected tasks, got as number {number} {got}; {_WANTED}")
                yield task
        except ijson.JSONError as error:
            raise ValueError(f"{path}: expected JSON, got a file that is damaged or cut short: {error}") from error
        if not number:
            raise ValueError(f"{path}: expected a list of tasks, got an empty one; {_WANTED}")


def find_image_key(data: Mapping[str, Any]) -> str:
    """Find the key of a task's data that holds the address of its image.

    Raises:
        ValueError: if several keys could.
    """
    keys = [key for key, value in data.items() if isinstance(value, str) and image_suffix(value)]
    if "image" in data or not keys:
        return "image"
    if len(keys) > 1:
        raise ValueError(
            f"expected one image per task, got {', '.join(keys)}: give the project's labelling configuration, which "
            "says which of them the boxes are on"
        )
    return keys[0]


def check_task(task: Mapping[str, Any]) -> None:
    """Check the records of a task down to the regions, which are read one by one.

    Raises:
        ValueError: names the first record that is not as Label Studio makes it.
    """
    for key in ("drafts", "predictions"):
        # Snapshots give the numbers of drafts and predictions alone.
        for entry in _list(task, key, key):
            if not isinstance(entry, Mapping) and (not isinstance(entry, int) or isinstance(entry, bool)):
                raise ValueError(f"expected {key} as records or their numbers, got {entry!r:.100}")
            _check_answer(entry, key)
    for annotation in _list(task, "annotations", "annotations"):
        what = f"annotation {annotation.get('id')}"
        _check_answer(annotation, what)
        _check_answer(annotation.get("prediction"), f"the prediction of {what}")
        seconds = annotation.get("lead_time")
        if seconds is not None and not (_is_number(seconds) and math.isfinite(seconds)):
            raise ValueError(f"expected a lead_time in seconds in {what}, got {seconds!r:.100}")


def is_task(entry: Any) -> bool:
    """Whether an entry has data and annotations, as each task of an export has."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("data"), Mapping):
        return False
    annotations = entry.get("annotations")
    return isinstance(annotations, list) and all(isinstance(annotation, Mapping) for annotation in annotations)


def parse_time(text: Any) -> datetime:
    """Read a moment as Label Studio writes it; nothing is the earliest moment of all.

    Raises:
        ValueError: for anything else.
    """
    if not text:
        return LONG_AGO
    moment = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _check_answer(entry: Any, what: str) -> None:
    if not isinstance(entry, Mapping):
        return
    _list(entry, "result", what)
    for key in ("updated_at", "created_at"):
        try:
            parse_time(entry.get(key))
        except ValueError:
            raise ValueError(f"expected a time in {key} of {what}, got {entry[key]!r:.100}") from None


def _list(record: Mapping[str, Any], key: str, what: str) -> list[Any]:
    value = record.get(key)
    if value is not None and not isinstance(value, list):
        raise ValueError(f"expected a list in {key} of {what}, got {value!r:.100}")
    return value or []


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _describe_file(start: bytes, file: Any) -> str:
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


def _describe_entry(task: Any) -> str:
    """Say what is in the place of a task."""
    if not isinstance(task, dict):
        return f"{str(task)[:80]!r}"
    if "annotation_id" in task or "annotator" in task:
        return "a row of the JSON-MIN export, which has lost the predictions and who skipped what"
    if "completions" in task:
        return "a task of Label Studio before 1.0, with completions"
    if "data" in task:
        return "a task without its annotations, as it is made for import"
    return f"an object with {', '.join(map(str, task)) or 'nothing'}"
