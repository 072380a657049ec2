"""Label Studio's JSON export as a file: its tasks one at a time, and clear errors for files that are something else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from .addresses import image_suffix

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
                if not _is_task(task):
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


def _is_task(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("data"), dict):
        return False
    annotations = entry.get("annotations")
    return isinstance(annotations, list) and all(isinstance(annotation, dict) for annotation in annotations)


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
