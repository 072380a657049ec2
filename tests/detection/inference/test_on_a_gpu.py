"""The same detections from a GPU: batches of 32, two streams, pinned memory, resizing, post-processing by batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.detectors import MANY_BOXES, close, predict

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = [pytest.mark.mm, pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]

import cv2  # noqa: E402

from al_rotate.detection import Detector  # noqa: E402
from al_rotate.detection.inference.device_resize import as_unresized, resized  # noqa: E402
from al_rotate.detection.inference.forward import Forward  # noqa: E402
from al_rotate.detection.inference.options import OutputOptions  # noqa: E402
from al_rotate.evaluation import best_overlaps  # noqa: E402


@pytest.fixture
def exact(monkeypatch):
    """Convolutions in float32: by default PyTorch rounds their input to TF32."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def test_as_on_a_cpu(detector: Detector, finetuned, mixed: dict[str, Path], exact):
    on_gpu = Detector(finetuned.config, finetuned.checkpoint, "cuda:0", MANY_BOXES, precision="fp32")
    expected = predict(detector, mixed, class_scores=True, features=True)
    for batch_size in (None, 2):  # in one batch of each shape, and in several at once
        detections = predict(on_gpu, mixed, batch_size=batch_size, class_scores=True, features=True)
        assert abs(detections.n_boxes - expected.n_boxes) <= 0.01 * expected.n_boxes
        overlap, row = best_overlaps(detections, expected)
        paired = overlap > 0.99
        assert paired.mean() > 0.98
        for name in ("scores", "class_scores", "box_features"):
            ours, theirs = getattr(detections, name)[paired], getattr(expected, name)[row[paired]]
            np.testing.assert_allclose(ours, theirs, atol=1e-3, err_msg=name)
        np.testing.assert_allclose(detections.image_features, expected.image_features, atol=1e-3)


def test_bf16_finds_the_same_objects(detector: Detector, finetuned, mixed: dict[str, Path]):
    on_gpu = Detector(finetuned.config, finetuned.checkpoint, "cuda:0", MANY_BOXES)
    assert on_gpu.precision == "bf16"
    expected = predict(detector, mixed)
    overlap, _ = best_overlaps(predict(on_gpu, mixed), expected)
    assert (overlap > 0.9).mean() > 0.8


def test_resized_to_opencvs_bits():
    rng = np.random.default_rng(0)
    for size in ((640, 472), (1024, 755), (475, 350), (33, 700), (1, 1)):
        sides = [(700, 950), (350, 475), *rng.integers(1, 1200, (6, 2)).tolist()]
        images = [rng.integers(0, 256, (*shape, 3), np.uint8) for shape in sides]
        ours = resized([as_unresized(image, size) for image in images], torch.device("cuda:0"))
        theirs = [cv2.resize(image, size, interpolation=cv2.INTER_LINEAR) for image in images]
        np.testing.assert_array_equal(ours.permute(0, 2, 3, 1).cpu().numpy(), theirs)


def test_the_same_whoever_resizes(finetuned, mixed: dict[str, Path], exact):
    on_gpu = Detector(finetuned.config, finetuned.checkpoint, "cuda:0", MANY_BOXES, precision="fp32")
    on_cpu = predict(on_gpu, mixed, resize_on_device=False)
    assert on_cpu.n_boxes > 50
    assert close(predict(on_gpu, mixed), on_cpu)


def test_shards_share_two_streams(monkeypatch):
    """PyTorch keeps freed memory for the stream that it was allocated in: new ones would need it anew."""
    found = set()

    class Noting(torch.nn.Module):
        def test_step(self, data):
            found.add(torch.cuda.current_stream().cuda_stream)
            return data["inputs"]

    forward = Forward(Noting(), 1, OutputOptions(), torch.device("cuda:0"), "fp32", None, streams=2)
    monkeypatch.setattr(forward, "_as_arrays", lambda sample: sample)
    for _ in range(3):
        assert len(list(forward.run([[(0, {"inputs": 0, "data_samples": 0})]] * 6))) == 6
    assert 1 <= len(found) <= 2
    assert torch.cuda.default_stream().cuda_stream not in found
