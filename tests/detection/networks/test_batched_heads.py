"""The results of MMRotate's own heads, image by image, from one pass over the batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.detectors import close, predict, resnet18_options
from helpers.devices import DEVICES

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from mmdet.structures import DetDataSample  # noqa: E402

from al_rotate.detection.detector import Detector  # noqa: E402
from al_rotate.detection.networks import batched_heads, class_scores  # noqa: E402
from al_rotate.detection.networks.features import replaced  # noqa: E402
from al_rotate.detection.openmmlab import rotated_ops  # noqa: E402

SIZE = (96, 64)  # height and width of the network's input
FACTORS = ((1.0, 1.0), (0.7, 0.7), (1.3, 1.25))  # of images of three sizes that have become this
RANDOM = [
    "rotated-fcos-le90_r50_fpn_1x_dota",  # centerness, angles of their own
    "rotated-retinanet-rbox-le90_r50_fpn_1x_dota",  # anchors
    "s2anet-le135_r50_fpn_1x_dota",  # anchors that an earlier head refined
    "r3det-oc_r50_fpn_1x_dota",
    "rotated-atss-le90_r50_fpn_1x_dota",
]
OTHERS = [
    "rotated-retinanet-rbox-le90_r50_fpn_csl-gaussian_amp-1x_dota",  # a loop of its own
    "oriented-reppoints-qbox_r50_fpn_1x_dota",  # boxes of eight numbers
    "oriented-rcnn-le90_r50_fpn_1x_dota",  # two stages
]


class Head:
    """A model's final head with what it was given of a batch of three."""

    def __init__(self, model: Any) -> None:
        self.model, self.head = model, class_scores.final_head(model)
        device = next(model.parameters()).device
        generator = torch.Generator().manual_seed(1)
        images = torch.randn((len(FACTORS), 3, *SIZE), generator=generator)
        samples = [DetDataSample(metainfo={"img_shape": SIZE, "scale_factor": factors}) for factors in FACTORS]
        own, self.arguments = self.head.predict_by_feat, {}

        def note(*args: Any, **kwargs: Any) -> Any:
            names = [
                "cls_scores",
                "bbox_preds",
                "angle_preds" if hasattr(self.head, "angle_coder") else "score_factors",
            ]
            self.arguments = {**dict(zip([*names, "score_factors"], args, strict=False)), **kwargs}
            return own(*args, **kwargs)

        with torch.no_grad(), replaced(self.head, "predict_by_feat", note):
            model.predict(images.to(device), samples)

    def logits(self, change: Any) -> None:
        """Change the class scores before the sigmoid, (B, A * C, h, w), level by level."""
        self.arguments["cls_scores"] = [change(level) for level in self.arguments["cls_scores"]]

    def settings(self, **changes: Any) -> None:
        """Take the config's test settings with these, and few boxes of each level, so that mmcv's IoU takes no time."""
        few = {"score_thr": 0.001, "nms_pre": 120}
        self.head.test_cfg = type(self.model.test_cfg)({**self.model.test_cfg, **few, **changes})

    def compare(self, least: int = 1) -> list[Any]:
        with torch.no_grad(), class_scores.keep_class_scores(self.model):
            theirs = self.head.predict_by_feat(**self.arguments)
        with torch.no_grad(), batched_heads.in_batches(self.model, class_scores=True):
            ours = self.head.predict_by_feat(**self.arguments)
        assert len(ours) == len(theirs)
        assert sum(map(len, theirs)) >= least
        for own, expected in zip(ours, theirs, strict=True):
            expected = expected.cpu()
            np.testing.assert_array_equal(own.bboxes.tensor, getattr(expected.bboxes, "tensor", expected.bboxes))
            assert torch.equal(own.scores, expected.scores)
            assert torch.equal(own.labels, expected.labels)
            if len(expected):
                assert torch.equal(own.class_scores, expected.class_scores)
        return ours


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch):
    """Give equal numbers one order and one image's numbers the same last bit in a batch, as on a GPU.

    On a CPU PyTorch computes the last few numbers of an array by another function than the rest, and its sort (that of
    mmcv, for few boxes, with it) leaves the order of equal numbers open.
    """
    own = {name: getattr(torch.Tensor, name) for name in ("sort", "sigmoid")}
    arctan = torch.atan2

    def sort(numbers: Any, dim: int = -1, descending: bool = False, stable: bool = True) -> Any:
        return own["sort"](numbers, dim=dim, descending=descending, stable=True)

    monkeypatch.setattr(torch.Tensor, "sort", sort)
    monkeypatch.setattr(torch.Tensor, "sigmoid", lambda numbers: own["sigmoid"](numbers.double()).float())
    monkeypatch.setattr(torch, "atan2", lambda y, x: arctan(y.double(), x.double()).float())
    monkeypatch.setattr(rotated_ops, "_MIN_BOXES", 0)
    monkeypatch.setattr(rotated_ops, "_MAX_SLIVERS", 1)


@pytest.fixture(scope="module", params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module", params=["trained RTMDet-R", *RANDOM])
def model(request: pytest.FixtureRequest, device: str, finetuned) -> Any:
    if request.param == "trained RTMDet-R":
        return Detector(finetuned.config, finetuned.checkpoint, device, precision="fp32").model
    torch.manual_seed(0)
    return Detector(request.param, device=device, cfg_options=resnet18_options(request.param), precision="fp32").model


@pytest.fixture
def head(model: Any) -> Head:
    made = Head(model)
    made.settings()
    return made


class TestEqualToMmrotate:
    def test_usually(self, head: Head):
        head.compare(least=30)

    def test_limits_of_levels_and_images(self, head: Head):
        head.settings(nms_pre=40, max_per_img=25)
        assert max(map(len, head.compare(least=30))) == 25

    def test_scores_that_tie(self, head: Head):
        head.logits(lambda level: (level * 2).round() / 2)
        scores = head.compare(least=30)[0].scores
        assert len(scores.unique()) < len(scores)

    def test_images_without_detections(self, head: Head):
        head.logits(lambda level: level + level.new_tensor([-30, 0, -30]).view(3, 1, 1, 1))
        found = [len(instances) for instances in head.compare(least=10)]
        assert (found[0], found[2]) == (0, 0)
        head.logits(lambda level: level - 30)
        assert [len(instances) for instances in head.compare(least=0)] == [0, 0, 0]

    def test_an_image_whose_boxes_overflow_leaves_the_others_alone(self, head: Head):
        overflow = [[1.0], [1e38], [1.0]]
        head.arguments["bbox_preds"] = [
            level * level.new_tensor(overflow)[..., None, None] for level in head.arguments["bbox_preds"]
        ]
        head.compare(least=30)

    def test_in_pixels_of_the_input(self, head: Head):
        head.arguments["rescale"] = False
        head.compare(least=30)

    def test_images_clipped_to_different_shapes(self, head: Head):
        shapes = [SIZE, (90, 64), (96, 50)]
        metas = zip(head.arguments["batch_img_metas"], shapes, strict=True)
        head.arguments["batch_img_metas"] = [{**meta, "img_shape": shape} for meta, shape in metas]
        head.compare(least=30)

    def test_all_classes_suppress_each_other(self, head: Head):
        head.settings(nms={**head.head.test_cfg.nms, "class_agnostic": True})
        head.compare(least=10)

    @pytest.mark.parametrize("agnostic", [False, True])
    def test_so_many_boxes_that_classes_are_taken_apart(self, head: Head, agnostic: bool):
        head.settings(nms={**head.head.test_cfg.nms, "split_thr": 20, "class_agnostic": agnostic})
        head.compare(least=30)

    def test_only_boxes_of_some_size(self, head: Head):
        widths = torch.cat([instances.bboxes.widths for instances in head.compare(least=30)])
        head.settings(min_bbox_size=float(widths.median()))
        kept = torch.cat([instances.bboxes.widths for instances in head.compare()])
        assert kept.min() > widths.median()


@pytest.mark.parametrize("name", OTHERS)
def test_other_heads_keep_their_own_way(name: str):
    assert not batched_heads.can_batch(Detector(name, device="cpu", cfg_options=resnet18_options(name)).model)


def test_settings_that_are_left_to_mmcv(detector: Detector):
    head = class_scores.final_head(detector.model)
    assert batched_heads.can_batch(detector.model)
    for changes in (
        {"nms_pre": -1},
        {"max_per_img": -1},
        {"nms": None},
        {"nms": {"type": "nms", "iou_threshold": 0.1}},
    ):
        with replaced(head, "test_cfg", type(head.test_cfg)({**head.test_cfg, **changes})):
            assert not batched_heads.can_batch(detector.model)


def test_a_whole_prediction(detector: Detector, mixed):
    """Images of nine sizes, in batches of one shape, with class scores."""
    expected = predict(detector, mixed, class_scores=True)
    with batched_heads.in_batches(detector.model, class_scores=True):
        detections = predict(detector, mixed, class_scores=True)
    assert detections.n_boxes > 50
    assert close(detections.replace(class_scores=None), expected.replace(class_scores=None))
    assert abs(detections.class_scores - expected.class_scores).max() < 1e-5
    assert "predict_by_feat" not in vars(class_scores.final_head(detector.model))
