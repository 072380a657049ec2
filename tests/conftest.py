"""What tests share: rendered scenes, and one small detector trained on them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from al_rotate import RotatedInstances, synthetic

if TYPE_CHECKING:
    from al_rotate.detector import Detector
    from al_rotate.training import Finetuned

SIZE = 128
# So that an undertrained detector still gives boxes, and not thousands of them.
MANY_BOXES = {"model.test_cfg.score_thr": 0.01, "model.test_cfg.nms_pre": 200, "model.test_cfg.max_per_img": 40}


@dataclass(frozen=True)
class Scenes:
    images: Path
    labels: RotatedInstances


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Scenes:
    """16 scenes of 128 x 128 pixels."""
    folder = tmp_path_factory.mktemp("scenes")
    labels = synthetic.write_dataset(folder, 16, SIZE, seed=3)
    return Scenes(folder / "images", labels)


@pytest.fixture(scope="session")
def finetuned(scenes: Scenes, tmp_path_factory: pytest.TempPathFactory) -> Finetuned:
    """RTMDet-R, narrow, after 24 iterations on the scenes, evaluated on four of them."""
    from al_rotate.demo import small_rtmdet
    from al_rotate.training import finetune

    return finetune(
        "rotated_rtmdet_tiny-3x-dota",
        scenes.images,
        scenes.labels,
        synthetic.CLASSES,
        tmp_path_factory.mktemp("finetuned") / "work",
        cfg_options=small_rtmdet(SIZE, iterations=24),
        val=scenes.labels.subset(scenes.labels.image_ids[:4]),
    )


@pytest.fixture(scope="session")
def detector(finetuned: Finetuned) -> Detector:
    from al_rotate.detector import Detector

    return Detector(finetuned.config, finetuned.checkpoint, "cpu", MANY_BOXES)


def oriented_rcnn_options(size: int = 128, **test_cfg: Any) -> dict[str, Any]:
    """cfg_options that make Oriented R-CNN quick on a CPU."""
    resize = {"type": "mmdet.Resize", "scale": (size, size), "keep_ratio": True}
    keys = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")
    load = {"type": "mmdet.LoadImageFromFile"}
    return {
        "model.backbone.depth": 18,
        "model.backbone.init_cfg": None,
        "model.neck.in_channels": [64, 128, 256, 512],
        "model.test_cfg.rpn.nms_pre": 100,
        "model.test_cfg.rpn.max_per_img": 60,
        "model.test_cfg.rcnn.max_per_img": 40,
        **{f"model.test_cfg.rcnn.{name}": value for name, value in test_cfg.items()},
        "test_dataloader.dataset.pipeline": [load, resize, {"type": "mmdet.PackDetInputs", "meta_keys": keys}],
    }
