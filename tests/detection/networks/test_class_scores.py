from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.detectors import resnet18_options

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from al_rotate import boxes  # noqa: E402
from al_rotate.data import images  # noqa: E402
from al_rotate.detection.detector import Detector  # noqa: E402
from al_rotate.detection.networks import class_scores  # noqa: E402

ONE_STAGE = [
    "rotated-retinanet-rbox-le90_r50_fpn_1x_dota",  # anchors
    "rotated-fcos-le90_r50_fpn_1x_dota",  # centerness
    "s2anet-le135_r50_fpn_1x_dota",  # a refining head
    "r3det-oc_r50_fpn_1x_dota",  # several
]
TWO_STAGE = [
    "roi-trans-le90_r50_fpn_1x_dota",  # a cascade
    "gliding-vertex-qbox_r50_fpn_1x_dota",  # boxes of eight numbers
    "gliding-vertex-rbox_r50_fpn_1x_dota",
    "rotated-faster-rcnn-le90_r50_fpn_1x_dota",
]


def check(detector: Detector, inputs: Any) -> Any:
    """Predict with and without class scores: the same boxes, and rows that say the same as the scores."""
    detections = detector.predict(inputs, progress=False, class_scores=True)
    plain = detector.predict(inputs, progress=False)
    assert detections.n_boxes > 20
    assert detections.replace(class_scores=None) == plain
    rows = detections.class_scores
    assert rows.shape == (detections.n_boxes, len(detector.classes))
    assert (rows >= 0).all()
    assert (rows <= 1).all()
    np.testing.assert_array_equal(rows[np.arange(detections.n_boxes), detections.labels], detections.scores)
    return detections


@pytest.mark.parametrize("name", ONE_STAGE + TWO_STAGE)
def test_the_column_of_the_label_is_the_score(name: str, scenes):
    torch.manual_seed(0)
    detector = Detector(name, device="cpu", cfg_options=resnet18_options(name))
    detections = check(detector, [images.read(scenes.images / f"scene_{i:04d}.jpg")[..., ::-1] for i in range(4)])
    if name in TWO_STAGE:  # probabilities, without the background's
        assert (detections.class_scores.sum(axis=1) < 1).all()


def test_rtmdet_rows_are_the_sigmoids_of_the_heads_output(detector: Detector, scenes):
    """Decode every location from the head's raw maps by hand, and find each kept box among them."""
    detections = check(detector, scenes.images)
    assert len(np.unique(detections.labels)) > 1
    head = class_scores.final_head(detector.model)
    raw: list[Any] = []
    handle = head.register_forward_hook(lambda module, given, output: raw.append(output))
    for image_id in detections.image_ids[:6]:
        raw.clear()
        detector.predict([scenes.images / f"{image_id}.jpg"], progress=False)
        scores, decoded = [], []
        for stride, logits, distances, angles in zip((8, 16, 32), *raw[0], strict=True):
            _, _, height, width = logits.shape
            y, x = np.divmod(np.arange(height * width), width)
            left, top, right, bottom = distances[0].flatten(1).double().numpy()
            angle = angles[0].flatten().double().numpy()
            along, across = (right - left) / 2, (bottom - top) / 2
            cx = x * stride + along * np.cos(angle) - across * np.sin(angle)
            cy = y * stride + along * np.sin(angle) + across * np.cos(angle)
            decoded.append(np.stack([cx, cy, left + right, top + bottom, angle], axis=1))
            scores.append(1 / (1 + np.exp(-logits[0].flatten(1).double().numpy().T)))
        candidates, sigmoids = boxes.to_corners(np.concatenate(decoded)), np.concatenate(scores)
        image = detections[image_id]
        for corners, row in zip(boxes.to_corners(image.boxes), image.class_scores, strict=True):
            # The same rectangle may start at another corner.
            distance = np.min(
                [np.abs(candidates - np.roll(corners, turn, axis=0)).max(axis=(1, 2)) for turn in range(4)], axis=0
            )
            place = int(distance.argmin())
            assert distance[place] < 1e-2
            np.testing.assert_allclose(row, sigmoids[place], atol=1e-5)
    handle.remove()


def test_oriented_rcnn_rows_are_the_softmax_of_the_proposal_of_the_box(two_stage: Detector, scenes):
    files = [scenes.images / f"scene_{i:04d}.jpg" for i in range(6)]
    detections = check(two_stage, files)
    head = class_scores.final_head(two_stage.model)
    raw: list[Any] = []
    original = head.predict_by_feat

    def note(rois: Any, cls_scores: Any, bbox_preds: Any, **kwargs: Any) -> Any:
        raw.append((rois[0], cls_scores[0], bbox_preds[0]))
        return original(rois, cls_scores, bbox_preds, **kwargs)

    head.predict_by_feat = note
    for path in files:
        raw.clear()
        two_stage.predict([path], progress=False)
        rois, logits, deltas = raw[0]
        softmax = torch.softmax(logits.double(), dim=1)[:, :-1].numpy()
        decoded = head.bbox_coder.decode(rois[:, 1:], deltas, max_shape=(128, 128))
        candidates = boxes.to_corners(getattr(decoded, "tensor", decoded).double().numpy())
        image = detections[path.stem]
        for corners, row in zip(boxes.to_corners(image.boxes), image.class_scores, strict=True):
            distance = np.min(
                [np.abs(candidates - np.roll(corners, turn, axis=0)).max(axis=(1, 2)) for turn in range(4)], axis=0
            )
            np.testing.assert_allclose(row, softmax[distance.argmin()], atol=1e-5)
            assert distance.min() < 1e-2
    del head.predict_by_feat


@pytest.mark.parametrize("stages", ["one", "two"])
def test_nothing_stays_patched(stages: str, detector: Detector, two_stage: Detector):
    model = (detector if stages == "one" else two_stage).model
    head = class_scores.final_head(model)
    names = type(head)._predict_by_feat_single.__globals__
    name = "filter_scores_and_topk" if stages == "one" else "multiclass_nms"
    before, own = names[name], dict(vars(head))
    with class_scores.keep_class_scores(model):
        assert names[name] is not before
    assert names[name] is before
    assert vars(head) == own
    with pytest.raises(ZeroDivisionError), class_scores.keep_class_scores(model):
        raise ZeroDivisionError
    assert names[name] is before
    assert vars(head) == own


def test_a_failure_between_two_images_leaves_nothing_behind(detector: Detector, scenes):
    """A forward pass that dies has noted candidates; the next prediction must not find them."""
    first = detector.predict(scenes.images, progress=False, class_scores=True)
    head = class_scores.final_head(detector.model)
    original = head.predict_by_feat

    def fail(*args: Any, **kwargs: Any) -> Any:
        original(*args, **kwargs)
        raise MemoryError

    head.predict_by_feat = fail
    with pytest.raises(MemoryError):
        detector.predict(scenes.images, progress=False, class_scores=True)
    del head.predict_by_feat
    assert detector.predict(scenes.images, progress=False, class_scores=True) == first


def test_a_head_of_another_kind_is_refused():
    class Head(torch.nn.Module):
        def _predict_by_feat_single(self) -> None: ...

    model = torch.nn.Module()
    model.bbox_head = Head()
    with (
        pytest.raises(NotImplementedError, match="class scores of Head cannot be kept"),
        class_scores.keep_class_scores(model),
    ):
        pass


def test_no_boxes_no_rows(two_stage: Detector):
    blank = np.zeros((64, 64, 3), np.uint8)
    detections = two_stage.predict([blank], progress=False, score_thr=0.999, class_scores=True)
    assert (len(detections), detections.n_boxes) == (1, 0)
    assert detections.class_scores.shape == (0, len(two_stage.classes))
