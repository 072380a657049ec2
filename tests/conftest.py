"""Fixtures of several packages' tests: rendered scenes, and one small detector trained on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from helpers.detectors import MANY_BOXES, RTMDET, SIZE, resnet18_options

from al_rotate import RotatedInstances
from al_rotate.data import synthetic

if TYPE_CHECKING:
    from al_rotate.detection import Detector, Finetuned


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
        "config": RTMDET,
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
    from al_rotate.detection import finetune

    return finetune(**finetune_arguments)


@pytest.fixture(scope="session")
def many_boxes() -> dict[str, Any]:
    return MANY_BOXES


@pytest.fixture(scope="session")
def detector(finetuned: Finetuned) -> Detector:
    from al_rotate.detection import Detector

    return Detector(finetuned.config, finetuned.checkpoint, "cpu", MANY_BOXES, precision="fp32")


@pytest.fixture(scope="session")
def resnet18() -> Callable[[str], dict[str, Any]]:
    return resnet18_options


@pytest.fixture(scope="session")
def two_stage() -> Detector:
    """Oriented R-CNN with random weights, whose scores lie far enough apart to have one order in any batch."""
    import torch

    from al_rotate.detection import Detector

    torch.manual_seed(0)
    name = "oriented-rcnn-le90_r50_fpn_1x_dota"
    detector = Detector(name, device="cpu", cfg_options=resnet18_options(name), precision="fp32")
    detector.model.rpn_head.rpn_cls.weight.data *= 30
    detector.model.roi_head.bbox_head.fc_cls.weight.data *= 30
    return detector
