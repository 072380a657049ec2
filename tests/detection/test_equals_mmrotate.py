"""The same boxes as MMRotate's own inference gives, image by image."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.detectors import MANY_BOXES, predict, resnet18_options

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from al_rotate import RotatedInstances, boxes  # noqa: E402
from al_rotate.detection import Detector, configs  # noqa: E402

DOTA = Path(__file__).resolve().parents[3] / "shared" / "data" / "dota" / "images"


def same_boxes(ours: RotatedInstances, samples: list[Any]) -> None:
    """MMRotate's results, image by image and box by box, in canonical form."""
    for (image_id, image), sample in zip(ours, samples, strict=True):
        theirs = sample.pred_instances
        np.testing.assert_array_equal(image.labels, theirs.labels.numpy(), err_msg=image_id)
        np.testing.assert_allclose(image.scores, theirs.scores.numpy(), atol=1e-5, err_msg=image_id)
        raw = getattr(theirs.bboxes, "tensor", theirs.bboxes).numpy()
        np.testing.assert_allclose(image.boxes, boxes.canonical(raw), atol=1e-3, err_msg=image_id)
        assert image.image_sizes[0].tolist() == list(sample.ori_shape[::-1])


def test_rtmdet(detector: Detector, finetuned, mixed: dict[str, Path]):
    from mmdet.apis import inference_detector, init_detector

    configs.load(finetuned.config)  # registers what the config names, as a user of MMRotate does
    theirs = init_detector(str(finetuned.config), str(finetuned.checkpoint), device="cpu", cfg_options=MANY_BOXES)
    detections = predict(detector, mixed, batch_size=5)
    assert detections.image_ids.tolist() == list(mixed)
    assert detections.n_boxes > 50
    same_boxes(detections, [inference_detector(theirs, str(file)) for file in mixed.values()])


def test_oriented_rcnn(two_stage: Detector, mixed: dict[str, Path]):
    """Here images keep their shapes: a batch that mixed them would be padded, with other detections."""
    from mmdet.apis import inference_detector

    two_stage.model.cfg = two_stage.config
    detections = predict(two_stage, mixed, batch_size=3)
    assert detections.n_boxes > 50
    same_boxes(detections, [inference_detector(two_stage.model, str(file)) for file in mixed.values()])


@pytest.mark.parametrize(
    "name",
    [
        "rotated-fcos-le90_r50_fpn_1x_dota",
        "s2anet-le135_r50_fpn_1x_dota",  # deformable convolutions
        "r3det-oc_r50_fpn_1x_dota",  # features aligned by an operation of mmcv
        "roi-trans-le90_r50_fpn_1x_dota",  # and pooled by another
    ],
)
def test_other_architectures_against_a_model_of_mmrotates_own_making(name, mixed, tmp_path: Path):
    """Weights that lie otherwise in memory must not be misread by mmcv's operations."""
    from mmdet.apis import inference_detector, init_detector

    torch.manual_seed(0)
    detector = Detector(name, device="cpu", cfg_options=resnet18_options(name), precision="fp32")
    if hasattr(detector.model, "roi_head"):  # scores far enough apart to choose the same proposals
        detector.model.rpn_head.rpn_cls.weight.data *= 30
        for head in detector.model.roi_head.bbox_head:
            head.fc_cls.weight.data *= 30
    theirs = init_detector(
        str(configs.find(name)),
        str(detector.save(tmp_path / "saved.pth")),
        device="cpu",
        cfg_options=resnet18_options(name),
    )
    files = dict(list(mixed.items())[:4])
    detections = predict(detector, files, batch_size=1)
    assert detections.n_boxes > 50
    for (image_id, image), file in zip(detections, files.values(), strict=True):
        sample = inference_detector(theirs, str(file)).pred_instances
        np.testing.assert_allclose(np.sort(image.scores), np.sort(sample.scores.numpy()), atol=1e-4, err_msg=image_id)
        raw = boxes.canonical(getattr(sample.bboxes, "tensor", sample.bboxes).numpy())
        # Random weights give scores that all but tie: compared as sets.
        assert (boxes.iou(image.boxes, raw).max(axis=1) > 0.99).mean() > 0.9


@pytest.mark.skipif(not DOTA.is_dir(), reason="needs the shared DOTA scenes")
def test_a_dense_harbour(finetuned):
    """P0706 holds 531 ships."""
    from mmdet.apis import inference_detector

    resize = {"type": "mmdet.Resize", "scale": (1024, 1024), "keep_ratio": True}
    keys = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")
    options = {
        "model.test_cfg.score_thr": 0.005,
        "model.test_cfg.nms_pre": 2000,
        "test_dataloader.dataset.pipeline": [
            {"type": "mmdet.LoadImageFromFile"},
            resize,
            {"type": "mmdet.Pad", "size_divisor": 32, "pad_val": {"img": (114, 114, 114)}},
            {"type": "mmdet.PackDetInputs", "meta_keys": keys},
        ],
    }
    detector = Detector(finetuned.config, finetuned.checkpoint, "cpu", options, precision="fp32")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a barely trained model may overflow exp() and predict non-finite boxes
        detections = predict(detector, DOTA / "P0706.png", class_scores=True, features=True)
    assert detections.image_sizes.tolist() == [[1111, 1182]]
    assert detections.n_boxes > 100
    detector.model.cfg = detector.config
    theirs = inference_detector(detector.model, str(DOTA / "P0706.png"))
    raw = getattr(theirs.pred_instances.bboxes, "tensor", theirs.pred_instances.bboxes)
    theirs.pred_instances = theirs.pred_instances[(raw.abs() < 1e9).all(dim=1)]
    same_boxes(detections, [theirs])
