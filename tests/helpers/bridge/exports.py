"""A Label Studio JSON export of six tasks of somebody else's project, whose images have the names of their files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from al_rotate import boxes

SIZE = (300, 150)
SHIP, PLANE = [100.0, 50, 40, 12, 0.5], [200.0, 90, 30, 22, -1.2]


def region(box: Any, label: str, size: tuple[int, int] = SIZE, **more: Any) -> dict[str, Any]:
    """Label Studio's rectangle of a box: its own top left corner and sides in percent, rotated about that corner."""
    (left, top), w, h = boxes.to_corners([box])[0, 0], box[2], box[3]
    value = {
        "x": 100 * left / size[0],
        "y": 100 * top / size[1],
        "width": 100 * w / size[0],
        "height": 100 * h / size[1],
        "rotation": np.degrees(box[4]) % 360,
        "rectanglelabels": [label],
    }
    shape = {"type": "rectanglelabels", "from_name": "label", "to_name": "image"}
    return {**shape, "original_width": size[0], "original_height": size[1], "value": value, **more}


def annotation(*result: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A submitted answer; its regions are called r0, r1, ..."""
    regions = [{"id": f"r{k}", **shape} for k, shape in enumerate(result)]
    return {"id": 5, "result": regions, "was_cancelled": False, "completed_by": 1, "updated_at": "2026-01-02", **more}


def task(name: str, *annotations: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A task whose image is a file of that name."""
    data = {"image": f"/data/local-files/?d=scenes%2F{name}.png"}
    return {"id": 1, "data": data, "annotations": list(annotations), "predictions": [], "drafts": [], **more}


TASKS = [
    task("one", annotation(region(SHIP, "ship"), region(PLANE, "storage tank"))),
    task("empty", annotation()),
    task("skipped", annotation(region(SHIP, "submarine"), was_cancelled=True)),
    task("untouched", predictions=[{"id": 2, "result": [region(SHIP, "ghost")]}]),
    task("broken", annotation(region(SHIP, "ship"), region(SHIP, "ship", value={"x": 1, "rectanglelabels": ["ship"]}))),
    task("two", annotation(region(SHIP, "ship"))),
]


def write_export(folder: Path, content: Any) -> Path:
    """Write tasks as a JSON export."""
    path = folder / "export.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def write_images(folder: Path, size: tuple[int, int] = SIZE) -> Path:
    """Write the images of TASKS; returns their folder."""
    root = folder / "root" / "scenes"
    root.mkdir(parents=True)
    for entry in TASKS:
        Image.new("RGB", size).save(root / entry["data"]["image"].split("%2F")[1])
    return root
