"""Small detectors and trainings, and comparisons of detections and weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from al_rotate import RotatedInstances

SIZE = 128  # of the rendered scenes, in pixels
RTMDET = "rotated_rtmdet_tiny-3x-dota"
# A barely trained detector still gives boxes with these settings, and not thousands of them.
MANY_BOXES = {"model.test_cfg.score_thr": 0.01, "model.test_cfg.nms_pre": 200, "model.test_cfg.max_per_img": 40}


def resnet18_options(name: str) -> dict[str, Any]:
    """cfg_options that make a config with a ResNet-50 fast on a CPU, with boxes from random weights."""
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


def predict(detector: Any, images: Any, **options: Any) -> RotatedInstances:
    return detector.predict(images, progress=False, **options)


def close(detections: RotatedInstances, expected: RotatedInstances) -> bool:
    """Whether they are equal, but for what another batch size does to the last digits."""
    columns = [(detections.boxes, expected.boxes, 1e-3), (detections.scores, expected.scores, 1e-5)]
    rounded = all(a.shape == b.shape and np.allclose(a, b, rtol=0, atol=atol) for a, b, atol in columns)
    return rounded and detections.replace(boxes=expected.boxes, scores=expected.scores) == expected


def read_weights(path: Path) -> dict[str, Any]:
    from al_rotate.detection.checkpoints import read_checkpoint

    return read_checkpoint(path).state


def equal_weights(a: dict[str, Any], b: dict[str, Any]) -> bool:
    import torch

    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
