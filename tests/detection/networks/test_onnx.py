from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from helpers.detectors import MANY_BOXES, predict, resnet18_options

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.mm

from al_rotate import boxes  # noqa: E402
from al_rotate.data import images  # noqa: E402
from al_rotate.detection import detector as module  # noqa: E402
from al_rotate.detection.detector import Detector  # noqa: E402
from al_rotate.detection.networks.onnx import Engine, OnnxNetwork  # noqa: E402


@pytest.fixture(autouse=True)
def graph_for_few_images(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MIN_IMAGES_FOR_GRAPH", 2)


def pictures(scenes: Any) -> dict[str, Any]:
    """Of two sizes, so that the graph meets one that it was not traced with."""
    whole = {f"whole{k}": images.read(scenes.images / f"scene_{k:04d}.jpg", "BGR") for k in range(4)}
    return whole | {f"part{k}": whole[f"whole{k}"][:96, :64].copy() for k in range(3)}


@pytest.mark.parametrize(
    "name",
    ["rotated-fcos-le90_r50_fpn_1x_dota", "oriented-rcnn-le90_r50_fpn_1x_dota", "s2anet-le135_r50_fpn_1x_dota"],
)
def test_the_same_boxes_as_in_pytorch(name: str, scenes):
    torch.manual_seed(0)
    plain = Detector(name, device="cpu", cfg_options=resnet18_options(name), engine="torch", precision="fp32")
    graph = Detector(name, device="cpu", cfg_options=resnet18_options(name), engine="onnxruntime", precision="fp32")
    if hasattr(plain.model, "roi_head"):  # scores far enough apart to choose the same proposals
        plain.model.rpn_head.rpn_cls.weight.data *= 30
        plain.model.roi_head.bbox_head.fc_cls.weight.data *= 30
    graph.model.load_state_dict(plain.model.state_dict())
    inputs = pictures(scenes).items()
    kept = {"class_scores": True, "features": True}
    expected, detections = predict(plain, inputs, **kept), predict(graph, inputs, **kept)
    assert graph.engine == "onnxruntime"
    assert expected.n_boxes > 50
    np.testing.assert_allclose(detections.image_features, expected.image_features, rtol=1e-3, atol=1e-3)
    # Random weights give many scores that are all but equal: compared as sets, image by image.
    for image_id, image in expected:
        other = detections[image_id]
        assert other.n_boxes == image.n_boxes
        np.testing.assert_allclose(np.sort(other.scores), np.sort(image.scores), atol=1e-4)
        assert (boxes.iou(image.boxes, other.boxes).max(axis=1) > 0.99).mean() > 0.9


class TestOfATrainedModel:
    @pytest.fixture(scope="class")
    def pair(self, finetuned) -> tuple[Detector, Detector]:
        arguments = (finetuned.config, finetuned.checkpoint, "cpu", MANY_BOXES)
        return tuple(Detector(*arguments, precision="fp32", engine=engine) for engine in ("torch", "onnxruntime"))  # type: ignore

    def test_equal_to_the_last_digits(self, pair, scenes):
        inputs = pictures(scenes).items()
        expected, detections = (
            predict(detector, inputs, class_scores=True, features=True, batch_size=2) for detector in pair
        )
        assert expected.n_boxes > 50
        np.testing.assert_array_equal(detections.labels, expected.labels)
        for name, atol in (("boxes", 1e-3), ("scores", 1e-5), ("class_scores", 1e-5), ("box_features", 1e-3)):
            np.testing.assert_allclose(getattr(detections, name), getattr(expected, name), atol=atol)

    def test_weights_that_have_changed_are_noticed(self, pair, scenes):
        _, graph = pair
        inputs = pictures(scenes).items()
        before = predict(graph, inputs)
        bias = graph.model.bbox_head.rtm_cls[0].bias.data
        bias += 1
        assert predict(graph, inputs).scores.max() > before.scores.max()
        bias -= 1
        assert predict(graph, inputs) == before

    def test_nothing_stays_in_place(self, pair, scenes):
        _, graph = pair
        predict(graph, pictures(scenes).items())
        assert "extract_feat" not in vars(graph.model)
        assert "forward" not in vars(graph.model.bbox_head)

    def test_a_size_where_the_trace_fails_is_computed_by_pytorch(self, pair, monkeypatch: pytest.MonkeyPatch):
        plain, _ = pair
        sample = torch.rand(2, 3, 64, 64)
        network = OnnxNetwork(plain.model, sample)
        run = network._run

        def off(x: Any) -> Any:
            levels, *heads = run(x)
            return tuple(level + 1 for level in levels), *heads

        monkeypatch.setattr(network, "_run", off)
        other = torch.rand(2, 3, 96, 64)
        with network.in_place(), torch.no_grad():
            levels = plain.model.extract_feat(other)
        expected = plain.model.extract_feat(other)
        assert all(torch.equal(a, b) for a, b in zip(levels, expected, strict=True))

    def test_nor_does_a_size_that_the_graph_refuses_stop_anything(self, pair, monkeypatch: pytest.MonkeyPatch):
        plain, _ = pair
        network = OnnxNetwork(plain.model, torch.rand(1, 3, 64, 64))
        monkeypatch.setattr(network, "_run", lambda x: 1 / 0)
        other = torch.rand(2, 3, 96, 64)
        with network.in_place(), torch.no_grad():
            levels = plain.model.extract_feat(other)
        assert all(torch.equal(a, b) for a, b in zip(levels, plain.model.extract_feat(other), strict=True))


def test_a_trace_that_holds_only_for_one_image_is_noticed(scenes):
    """Swin's windows are put together by a batch size that the trace takes for a constant."""
    name = "roi-trans-le90_swin-tiny_fpn_1x_dota"
    options = {key: value for key, value in resnet18_options(name).items() if "depth" not in key}
    options |= {"model.backbone.embed_dims": 24, "model.backbone.depths": (1, 1, 1, 1)}
    options |= {"model.backbone.num_heads": (1, 2, 4, 8), "model.neck.in_channels": [24, 48, 96, 192]}
    torch.manual_seed(0)
    plain = Detector(name, device="cpu", cfg_options=options, engine="torch", precision="fp32")
    graph = Detector(name, device="cpu", cfg_options=options, engine="auto", precision="fp32")
    graph.model.load_state_dict(plain.model.state_dict())
    inputs = [images.read(scenes.images / f"scene_{k:04d}.jpg", "BGR") for k in range(5)]
    detections, expected = (predict(detector, inputs, features=True) for detector in (graph, plain))
    np.testing.assert_allclose(detections.image_features, expected.image_features, rtol=1e-3, atol=1e-3)


class TestChoice:
    cpu = torch.device("cpu")

    def test_what_fits(self):
        assert Engine("auto", self.cpu, "fp32").name == "onnxruntime"
        assert Engine("auto", self.cpu, "bf16").name == "torch"
        assert Engine("auto", torch.device("cuda:0"), "fp32").name == "torch"
        assert Engine("torch", self.cpu, "fp32").name == "torch"

    def test_what_does_not_is_refused(self, monkeypatch: pytest.MonkeyPatch):
        with pytest.raises(ValueError, match="engine auto, torch or onnxruntime, got 'tensorrt'"):
            Engine("tensorrt", self.cpu, "fp32")
        with pytest.raises(ValueError, match="in fp32 on a CPU, not in bf16 on cpu"):
            Engine("onnxruntime", self.cpu, "bf16")
        monkeypatch.setattr("al_rotate.detection.networks.onnx.find_spec", lambda name: None)
        assert Engine("auto", self.cpu, "fp32").name == "torch"
        with pytest.raises(ImportError, match="pip install onnx onnxruntime"):
            Engine("onnxruntime", self.cpu, "fp32")

    def test_a_model_without_a_graph_stays_with_pytorch(self, finetuned, scenes):
        inputs = pictures(scenes).items()
        for engine in ("auto", "onnxruntime"):
            detector = Detector(
                finetuned.config, finetuned.checkpoint, "cpu", MANY_BOXES, precision="fp32", engine=engine
            )
            neck = detector.model.neck.forward
            # What depends on the values of an image no trace can hold.
            detector.model.neck.forward = lambda levels, neck=neck: neck([x * float(levels[0].sum()) for x in levels])
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                predict(detector, inputs)
            assert detector.engine == "torch"
            files = [warning.filename for warning in caught if "PyTorch runs it" in str(warning.message)]
            assert files == [predict.__code__.co_filename] * (engine == "onnxruntime")
