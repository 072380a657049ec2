"""A real Label Studio server for the tests, people in it, and what it sends to a backend."""

from __future__ import annotations

import fcntl
import itertools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd

from al_rotate import RotatedInstances
from al_rotate.bridge.client import LabelStudio, LocalFiles
from al_rotate.bridge.connection import connect
from al_rotate.bridge.conversion.geometry import from_label_studio, to_label_studio
from al_rotate.bridge.conversion.tasks import region_id
from al_rotate.bridge.local_server import LocalServer

ENVIRONMENT = Path(__file__).parents[3] / ".venv-studio"
CLASSES = ("ship", "storage tank", "Kühlturm & Co")
NAMES = ("x", "y", "width", "height", "rotation")
_titles = itertools.count(1)


@dataclass
class Pool:
    """Images on disk, and detections on them."""

    files: dict[str, Path]
    detections: RotatedInstances


@dataclass
class Studio:
    """The server, a client signed in to it, and what a person's browser sends."""

    server: LocalServer
    client: LabelStudio
    root: Path

    def project(self, classes=CLASSES) -> int:
        """Make a new project."""
        return self.client.open_project(f"test {next(_titles)}", classes)

    @property
    def files(self) -> LocalFiles:
        return LocalFiles(self.root)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Token {self.server.token}"}

    def call(self, method: str, path: str, body: Any = None, **params: Any) -> Any:
        """Call the server's API, without the client under test."""
        url = f"{self.server.url}/api/{path}"
        answer = httpx.request(method, url, json=body, params=params, headers=self.headers, timeout=120)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def picture(self, task: dict) -> bytes:
        """What the server sends as a task's image."""
        return httpx.get(self.server.url + task["data"]["image"], headers=self.headers).content

    def tasks(self, project: int) -> list[dict]:
        """All tasks, with all that they hold."""
        return self.call("GET", "tasks", project=project, page_size=1000, fields="all")["tasks"]

    def by_image(self, project: int) -> dict[str, dict]:
        """All tasks by image id."""
        return {task["data"]["al_image_id"]: task for task in self.tasks(project)}

    def push(self, project, pool, ids=None, version="round-000", client=None, detections=None, **options):
        """Push a pool's images with falling scores."""
        ids = list(pool.files if ids is None else ids)
        ranking = pd.DataFrame({"image_id": ids, "score": np.linspace(0.9, 0.1, len(ids))})
        detections = detections or pool.detections
        client = client or self.client
        return client.push(project, ranking, detections, pool.files, self.files, version, **options)

    def submit(self, task: dict, result: list, seconds: float = 10.0, **more: Any) -> dict:
        """Press Submit: send what the page sends when a person started from the prediction."""
        predictions = task.get("predictions") or [{}]
        body = {"result": as_sent(result), "lead_time": seconds, "parent_prediction": predictions[0].get("id"), **more}
        return self.call("POST", f"tasks/{task['id']}/annotations/", body, project=task["project"])

    def submit_labels(self, task: dict, labels: RotatedInstances) -> dict:
        """Draw one image's labels and press Submit."""
        return self.submit(task, draw_labels(labels))

    def skip(self, task: dict) -> dict:
        """Press Skip."""
        return self.submit(task, [], was_cancelled=True)

    def join(self, folder: Path, classes, **options):
        """Connect a workspace with a new project, as `al-rotate connect` does."""
        token = folder.with_name("token")
        token.write_text(self.server.token)
        options |= {"document_root": str(self.root), "token_file": str(token)}
        return connect(folder, self.server.url, self.server.token, classes, folder.parent.name[:50], **options)


def assert_no_server(folder: Path) -> None:
    """No server works on this folder."""
    with open(folder / "lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def as_sent(result):
    """A result as the page sends it: each box is a rectangle and its labels, which share an id."""
    sent = []
    for entry in labels_in(result):
        if entry["type"] == "labels":
            numbers = {name: entry["value"][name] for name in NAMES}
            sent.append({**entry, "type": "rectangle", "from_name": "rectangle", "value": numbers})
        sent.append(entry)
    return sent


def labels_in(result):
    """The entries with labels, one for each box; they repeat its numbers."""
    return [entry for entry in result if entry["type"] != "rectangle"]


def names_in(result):
    """The label of each box."""
    return [entry["value"]["labels"][0] for entry in labels_in(result)]


def ids_in(result):
    """The id of each box."""
    return [entry["id"] for entry in labels_in(result)]


def named_by(version, image_id, result):
    """The id of each box if it is by these weights."""
    values = [[entry["value"][name] for name in NAMES] for entry in labels_in(result)]
    return [region_id(version, image_id, *box) for box in zip(values, names_in(result), strict=True)]


def redrawn(region, box, size, label=None, **more):
    """A region as the page sends it once its box was changed."""
    numbers = dict(zip(NAMES, map(float, to_label_studio([box], *size)[0]), strict=True))
    label = label or region["value"]["labels"][0]
    return {**region, "origin": "prediction-changed", "value": {**numbers, "labels": [label]}, **more}


def drawn(box, label, size, name="drawn"):
    """A region that a person drew."""
    own = {"original_width": size[0], "original_height": size[1], "image_rotation": 0, "origin": "manual"}
    shape = {"id": name, "type": "labels", "from_name": "label", "to_name": "image", **own}
    return redrawn(shape, box, size, label, origin="manual")


def draw_labels(labels, names=None, size=(128, 128)):
    """Regions of one image's labels, under the classes' names or others."""
    names = labels.classes if names is None else names
    pairs = zip(labels.boxes, labels.labels, strict=True)
    return [drawn(box, names[label], size, f"r{k}") for k, (box, label) in enumerate(pairs)]


def boxes_of(result, size):
    """(N, 5) boxes of a result's regions."""
    values = [[region["value"][name] for name in NAMES] for region in labels_in(result)]
    return from_label_studio(np.reshape(values, (-1, 5)), *size)


def predicted(task):
    """The labels of a task's prediction, one entry for each box, and the boxes."""
    result = labels_in(task["predictions"][0]["result"])
    sizes = [(region["original_width"], region["original_height"]) for region in result]
    return result, [boxes_of([region], size)[0] for region, size in zip(result, sizes, strict=True)]


def local_task(name, number=1):
    """A task as a backend gets it, whose image is in the document root."""
    return {"id": number, "data": {"image": f"/data/local-files/?d=images/{name}.jpg"}, "predictions": []}


def predict_request(*tasks, xml):
    """The body of /predict as Label Studio 1.23 sends it."""
    params = {"login": None, "password": None, "context": None}
    return {"tasks": list(tasks), "project": "1.1700000000", "label_config": xml, "params": params}


def wait_until(condition, what, seconds=180):
    """Wait until the condition holds, and return its value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"after {seconds} s: {what}"
        time.sleep(0.05)
    return value
