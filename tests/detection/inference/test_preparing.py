"""An image that the test pipeline cannot prepare is skipped; a pipeline that can prepare none is an error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.detectors import close, predict
from PIL import Image

pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from mmcv.transforms import BaseTransform  # noqa: E402
from mmrotate.registry import TRANSFORMS  # noqa: E402

from al_rotate.data import images  # noqa: E402
from al_rotate.detection import Detector, configs  # noqa: E402
from al_rotate.detection.inference.preparing import Preparation  # noqa: E402


@pytest.fixture
def slivers(tmp_path: Path) -> dict[str, Path]:
    files = {}
    for name, shape in {"wide": (2, 2000), "high": (2000, 2), "line": (1, 1500)}.items():
        files[name] = tmp_path / f"{name}.png"
        Image.fromarray(np.full((*shape, 3), 90, np.uint8)).save(files[name])
    return files


def test_slivers_among_others(detector: Detector, scenes, slivers: dict[str, Path], tmp_path: Path):
    good = dict(list(images.find(scenes.images).items())[:3])
    for out in (None, tmp_path / "out", tmp_path / "out"):
        with pytest.warns(UserWarning, match="3 images could not be read, the first wide: .* fails on 2000 x 2 pixels"):
            found = predict(detector, {**slivers, **good}, batch_size=2, out=out)
        assert close(found.replace(skipped={}), predict(detector, good))
        assert list(found.skipped) == list(slivers)
        assert "high: the test pipeline fails on 2 x 2000 pixels: error: OpenCV" in found.skipped["high"]


def test_the_smallest_image_is_none_too_small(detector: Detector, tmp_path: Path):
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    assert predict(detector, tmp_path).image_sizes.tolist() == [[1, 1]]


def test_scenes_that_are_slivers(detector: Detector, slivers: dict[str, Path]):
    found = detector.predict_scenes(slivers, progress=False)  # tiles are filled up to their size
    assert (found.image_ids.tolist(), found.skipped) == (list(slivers), {})


@TRANSFORMS.register_module()
class FailsAlways(BaseTransform):
    def transform(self, results: dict) -> dict:
        raise KeyError("a slip of the user's")


def test_a_pipeline_that_fails_on_every_image(detector: Detector, scenes):
    config = configs.load(detector.config)
    config.test_dataloader.dataset.pipeline[1:1] = [{"type": "FailsAlways"}]
    prepare = Preparation(config)
    with pytest.raises(ValueError, match=r"expected a test pipeline that prepares images, got KeyError: .*a slip of"):
        prepare(("a", scenes.images / "scene_0000.jpg"))
