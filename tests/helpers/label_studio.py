"""A real Label Studio server for the tests, and people in it."""

from __future__ import annotations

import fcntl
import itertools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from al_rotate.bridge.client import LabelStudio, LocalFiles
from al_rotate.bridge.connection import connect
from al_rotate.bridge.conversion.geometry import from_label_studio, to_label_studio
from al_rotate.bridge.local_server import LocalServer

ENVIRONMENT = Path(__file__).parents[2] / ".venv-studio"
CLASSES = ("ship", "storage tank", "Kühlturm & Co")
_titles = itertools.count(1)
NAMES = ("x", "y", "width", "height", "rotation")


@dataclass
class Studio:
    """The server, a client signed in to it, and what a person's browser sends."""

    server: LocalServer
    client: LabelStudio
    root: Path

    def project(self, classes=CLASSES) -> int:
        """A new project."""
        return self.client.open_project(f"test {next(_titles)}", classes)

    @property
    def files(self) -> LocalFiles:
        return LocalFiles(self.root)

    def call(self, method: str, path: str, body: Any = None, **params: Any) -> Any:
        headers = {"Authorization": f"Token {self.server.token}"}
        answer = httpx.request(
            method, f"{self.server.url}/api/{path}", json=body, params=params, headers=headers, timeout=120
        )
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def tasks(self, project: int) -> list[dict]:
        """All of them, with all they hold."""
        return self.call("GET", "tasks", project=project, page_size=1000, fields="all")["tasks"]

    def submit(self, task: dict, result: list, seconds: float = 10.0, **more: Any) -> dict:
        """Press Submit: what the page sends when a person began with the prediction."""
        predictions = task.get("predictions") or [{}]
        body = {"result": result, "lead_time": seconds, "parent_prediction": predictions[0].get("id"), **more}
        return self.call("POST", f"tasks/{task['id']}/annotations/", body, project=task["project"])

    def skip(self, task: dict) -> dict:
        """Press Skip."""
        return self.submit(task, [], was_cancelled=True)


def assert_no_server(folder: Path) -> None:
    """No server works on this folder."""
    with open(folder / "lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def redrawn(region, box, size, label=None, **more):
    """A region as the page sends it once its box was changed."""
    numbers = dict(zip(NAMES, map(float, to_label_studio([box], *size)[0]), strict=True))
    label = label or region["value"]["rectanglelabels"][0]
    return {**region, "origin": "prediction-changed", "value": {**numbers, "rectanglelabels": [label]}, **more}


def drawn(box, label, size, name="drawn"):
    """A region that a person drew."""
    own = {"original_width": size[0], "original_height": size[1], "image_rotation": 0, "origin": "manual"}
    shape = {"id": name, "type": "rectanglelabels", "from_name": "label", "to_name": "image", **own}
    return redrawn(shape, box, size, label, origin="manual")


def predicted(task):
    """The regions of a task, and their boxes."""
    result = task["predictions"][0]["result"]
    values = [[region["value"][name] for name in NAMES] for region in result]
    sizes = [(region["original_width"], region["original_height"]) for region in result]
    return result, [from_label_studio([v], *size)[0] for v, size in zip(values, sizes, strict=True)]


def join(studio, folder, classes, **options):
    """Connect a workspace with a new project, as `al-rotate connect` does."""
    token = folder.with_name("token")
    token.write_text(studio.server.token)
    options |= {"document_root": str(studio.root), "token_file": str(token)}
    return connect(folder, studio.server.url, studio.server.token, classes, folder.parent.name[:50], **options)


def by_image(studio, project):
    return {task["data"]["al_image_id"]: task for task in studio.tasks(project)}


def wait_until(condition, what, seconds=60):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"after {seconds} s: {what}"
        time.sleep(0.05)
    return found
