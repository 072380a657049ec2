"""That the comparison of decoders compares them: at the usual size, photographs of nearly 1000 pixels are not sent."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from al_rotate.data import images  # noqa: E402
from al_rotate.detection import configs  # noqa: E402
from al_rotate.detection.inference.device_jpeg import Encoded  # noqa: E402
from al_rotate.detection.inference.preparing import Preparation  # noqa: E402
from experiments.benchmarks.prediction.parity import check_decoded  # noqa: E402
from experiments.benchmarks.prediction.ways import config_of  # noqa: E402


def test_size_at_which_photographs_are_decoded_on_a_gpu(tmp_path: Path):
    side = {f"test_dataloader.dataset.pipeline.{k}": (320, 320) for k in ("1.scale", "2.size")}
    configs.load("rotated_rtmdet_tiny-3x-dota", side).dump(tmp_path / "config.py")
    Image.new("RGB", (958, 808)).save(tmp_path / "photograph.jpg")
    files = images.find(tmp_path)
    for size, sent in ((None, False), (640, True)):
        prepare = Preparation(config_of(tmp_path, size)).deferred(torch.device("cpu"))
        (prepared,) = map(prepare, files.items())
        assert isinstance(prepared["inputs"].pixels, Encoded) == sent
        with pytest.raises(ValueError, match="expected most images to be decoded on the GPU, got 0 of 1"):
            check_decoded(prepare, files)  # here by the CPU
