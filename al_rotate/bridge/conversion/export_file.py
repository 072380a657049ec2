"""Label Studio's JSON export: its tasks one at a time, and clear errors for files and records that are something else.

Hand-made and damaged exports hold text for a number, or a number for a record.
"""

from __future__ import annotations

import codecs
import math
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from .addresses import image_suffix

LONG_AGO = datetime.min.replace(tzinfo=timezone.utc)
_OPENING, _CLOSING = (np.frombuffer(brackets, np.uint8) for brackets in (b"[{", b"]}"))
_DEEPEST = 1000
_WANTED = "in Label Studio choose Export, then JSON: the only format that keeps angles, skipped tasks and predictions"


def iterate_tasks(path: Path, odd: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """Read the tasks of an export one at a time: the file may be larger than memory.

    Args:
        path: of the JSON file.
        odd: is extended by what the entries are that are no tasks.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a file that is no JSON export of Label Studio, or without a task; says what it is instead, and
            what to export.
    """
    import ijson  # comes with label-studio-sdk

    odd = [] if odd is None else odd
    with open(path, "rb") as file:
        begin = len(codecs.BOM_UTF8) if file.read(3) == codecs.BOM_UTF8 else 0
        file.seek(begin)
        start = file.read(4096).lstrip()
        file.seek(begin)
        try:
            if not start.startswith(b"["):
                raise ValueError(f"{path}: expected a list of tasks, got {_describe_file(start, file)}; {_WANTED}")
            _require_shallow(path)
            found = False
            for number, task in enumerate(ijson.items(file, "item", use_float=True), start=1):
                if is_task(task):
                    found = True
                    yield task
                else:
                    odd.append(f"expected tasks, got as number {number} {_describe_entry(task)}")
        except ijson.JSONError as error:
            said = " ".join(str(error).split())
            raise ValueError(f"{path}: expected JSON, got a file that is damaged or cut short: {said}") from error
        if not found:
            raise ValueError(f"{path}: {odd[0] if odd else 'expected a list of tasks, got an empty one'}; {_WANTED}")


def _require_shallow(path: Path) -> None:
    """Refuse lists in lists without end: for each event the parser spells out the path to it."""
    depth = 0
    with open(path, "rb") as file:
        while content := file.read(1 << 16):
            block = np.frombuffer(content, np.uint8)
            steps = np.isin(block, _OPENING).astype(np.int64) - np.isin(block, _CLOSING)
            depths = depth + np.cumsum(steps)
            if depths.max() > _DEEPEST:
                raise ValueError(f"{path}: expected tasks, got lists or objects in one another, {_DEEPEST} deep")
            depth = int(depths[-1])


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
