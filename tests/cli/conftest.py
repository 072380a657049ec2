"""What the tests of the commands share: running one, a workspace and detections."""

import numpy as np
import pytest
from helpers.noisy import CLASSES, Start, labels_of
from PIL import Image

from al_rotate import cli
from al_rotate.loop import ActiveLoop, SimulatedAnnotator

N_IMAGES = 12


@pytest.fixture
def al(capsys):
    """Run a command: its exit code, and what it printed."""

    def run(*arguments):
        capsys.readouterr()
        code = cli.main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def pool():
    """The true labels of the workspace's images."""
    return labels_of(N_IMAGES)


@pytest.fixture
def work(pool, tmp_path):
    """A workspace whose first query needs no detector, with its images."""
    files = {image_id: tmp_path / f"{image_id}.png" for image_id in pool.image_ids}
    for file in files.values():
        Image.new("RGB", (128, 128), (90, 120, 60)).save(file)
    ActiveLoop(tmp_path / "work", files, CLASSES, Start(), annotator=SimulatedAnnotator(pool), seed=3).close()
    return tmp_path / "work"


@pytest.fixture
def detections(pool, tmp_path):
    scores = np.random.default_rng(0).random(pool.n_boxes).astype(np.float32)
    images = pool.replace(scores=scores, image_sizes=None)
    for k in range(2):
        images.subset(images.image_ids[k::2]).save(tmp_path / "detections" / f"{k}.parquet")
    return tmp_path / "detections"
