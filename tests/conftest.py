"""What tests share: rendered scenes, and one small detector trained on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from al_rotate import RotatedInstances
from al_rotate.data import synthetic

if TYPE_CHECKING:
    from al_rotate.detection.detector import Detector
    from al_rotate.detection.training import Finetuned

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
def finetune_arguments(scenes: Scenes, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    from al_rotate.detection.small_models import small_rtmdet

    return {
        "config": "rotated_rtmdet_tiny-3x-dota",
        "images": scenes.images,
        "labels": scenes.labels,
        "classes": synthetic.CLASSES,
        "work_dir": tmp_path_factory.mktemp("finetuned") / "work",
        "cfg_options": small_rtmdet(SIZE, iterations=40),
        "val": scenes.labels,
    }


@pytest.fixture(scope="session")
def finetuned(finetune_arguments: dict[str, Any]) -> Finetuned:
    """RTMDet-R, narrow, after 40 iterations on the scenes, evaluated on the same."""
    from al_rotate.detection.training import finetune

    return finetune(**finetune_arguments)


@pytest.fixture(scope="session")
def many_boxes() -> dict[str, Any]:
    return MANY_BOXES


@pytest.fixture(scope="session")
def detector(finetuned: Finetuned) -> Detector:
    from al_rotate.detection.detector import Detector

    return Detector(finetuned.config, finetuned.checkpoint, "cpu", MANY_BOXES, precision="fp32")


def _resnet18(name: str) -> dict[str, Any]:
    """cfg_options that make a config with a ResNet-50 quick on a CPU, with boxes from random weights."""
    resize = {"type": "mmdet.Resize", "scale": (SIZE, SIZE), "keep_ratio": True}
    keys = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")
    pipeline = [{"type": "mmdet.LoadImageFromFile"}, resize, {"type": "mmdet.PackDetInputs", "meta_keys": keys}]
    if "rcnn" in name or "roi" in name or "gliding" in name:
        test = {"rpn.nms_pre": 100, "rpn.max_per_img": 60, "rcnn.max_per_img": 40}
    else:
        test = {"score_thr": 0.001, "nms_pre": 60, "max_per_img": 40}
    return {
        "model.backbone.depth": 18,
        "model.backbone.init_cfg": None,
        "model.neck.in_channels": [64, 128, 256, 512],
        **{f"model.test_cfg.{key}": value for key, value in test.items()},
        "test_dataloader.dataset.pipeline": pipeline,
    }


@pytest.fixture(scope="session")
def resnet18() -> Callable[[str], dict[str, Any]]:
    return _resnet18


@pytest.fixture(scope="session")
def two_stage() -> Detector:
    """Oriented R-CNN with random weights, whose scores lie far enough apart to have one order in any batch."""
    import torch

    from al_rotate.detection.detector import Detector

    torch.manual_seed(0)
    name = "oriented-rcnn-le90_r50_fpn_1x_dota"
    made = Detector(name, device="cpu", cfg_options=_resnet18(name), precision="fp32")
    made.model.rpn_head.rpn_cls.weight.data *= 30
    made.model.roi_head.bbox_head.fc_cls.weight.data *= 30
    return made
