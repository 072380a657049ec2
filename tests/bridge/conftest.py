"""A real Label Studio server, and a pool of images for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.bridge.label_studio import CLASSES, ENVIRONMENT, Pool, Studio
from PIL import Image

from al_rotate import RotatedInstances
from al_rotate.boxes import canonical
from al_rotate.bridge.client import LabelStudio
from al_rotate.bridge.local_server import LocalServer, install


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory):
    """A server and a client signed in to it."""
    folder = tmp_path_factory.mktemp("studio")
    with LocalServer(folder / "server", folder, install(ENVIRONMENT), backends=True) as server:
        yield Studio(server, LabelStudio.connect(server.url, server.token), folder)


@pytest.fixture
def pool(studio: Studio, tmp_path: Path) -> Pool:
    """Seven images of 320 x 200 pixels with odd names; the fifth has no box, the last was not detected on."""
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
