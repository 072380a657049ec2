"""A real Label Studio server for the tests, and people in it."""

from __future__ import annotations

import fcntl
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from al_rotate import RotatedInstances
from al_rotate.boxes import canonical
from al_rotate.bridge.client import LabelStudio, LocalFiles
from al_rotate.bridge.local_server import LocalServer, install

ENVIRONMENT = Path(__file__).parents[2] / ".venv-studio"
CLASSES = ("ship", "storage tank", "Kühlturm & Co")
_titles = itertools.count(1)


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


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("studio")
    with LocalServer(folder / "server", folder, install(ENVIRONMENT), backends=True) as server:
        yield Studio(server, LabelStudio.connect(server.url, server.token), folder)


@dataclass
class Pool:
    """Images on disk, detections on them, and what they should be."""

    files: dict[str, Path]
    detections: RotatedInstances


@pytest.fixture
def pool(studio: Studio, tmp_path: Path) -> Pool:
    """Seven images of 320 x 200 pixels with odd names; the fourth has no box, the last was not detected on."""
    names = ["a b", "ä/ö", "c+d&e", "plain", "empty", "x'y", "unseen"]
    folder = studio.root / f"images {tmp_path.name}"
    rng = np.random.default_rng(5)
    files = {}
    for name in names:
        files[name] = folder / f"{name}.png"
        files[name].parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (200, 320, 3), np.uint8)).save(files[name])
    counts = [3, 1, 2, 4, 0, 5]
    total = sum(counts)
    place, size = rng.uniform([60, 60], [260, 140], (total, 2)), rng.uniform([30, 10], [60, 25], (total, 2))
    boxes = canonical(np.column_stack([place, size, rng.uniform(-1.5, 1.5, total)]))
    detections = RotatedInstances(
        names[:-1],
        np.cumsum([0, *counts]),
        boxes,
        rng.integers(0, len(CLASSES), total),
        scores=rng.uniform(0.31, 0.95, total),
        classes=CLASSES,
        image_sizes=np.full((len(counts), 2), [320, 200]),
    )
    return Pool(files, detections)
