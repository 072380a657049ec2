"""A loop without a real detector, answered at the server."""

import pytest
from helpers.noisy import CLASSES, NoisyLearner, labels_of
from PIL import Image

from al_rotate import ActiveLoop
from al_rotate.bridge import Connection


@pytest.fixture
def truth():
    """The labels of all eight images."""
    return labels_of(8)


@pytest.fixture
def photographs(studio, truth, tmp_path):
    """A folder with the eight images, which the server can show."""
    folder = studio.root / tmp_path.name
    folder.mkdir()
    for image_id in truth.image_ids:
        Image.new("RGB", (128, 128), (90, 90, 90)).save(folder / f"{image_id}.png")
    return folder


@pytest.fixture
def loop(studio, truth, photographs, tmp_path):
    """Opens a loop over the images; it has queried four of them at the server."""
    folder = tmp_path / "work"

    def open_loop():
        return ActiveLoop(folder, learner=NoisyLearner(truth))

    ActiveLoop(folder, photographs, CLASSES, budget=4, learner=NoisyLearner(truth)).close()
    studio.join(folder, CLASSES)
    with open_loop() as opened:
        opened.query()
    return open_loop


@pytest.fixture
def project(loop, tmp_path):
    """The id of the loop's project."""
    return Connection.load(tmp_path / "work").project
