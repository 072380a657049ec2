"""The same detections from a GPU: batches of 32, two streams, pinned memory, resizing, post-processing by batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.detectors import MANY_BOXES, close, predict
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = [pytest.mark.mm, pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]

import cv2  # noqa: E402

from al_rotate.data import images, synthetic  # noqa: E402
from al_rotate.detection import Detector  # noqa: E402
from al_rotate.detection.inference import device_jpeg  # noqa: E402
from al_rotate.detection.inference.device_resize import as_unresized, resized  # noqa: E402
from al_rotate.detection.inference.forward import Forward  # noqa: E402
from al_rotate.detection.inference.options import OutputOptions  # noqa: E402
from al_rotate.detection.inference.preparing import Preparation  # noqa: E402
from al_rotate.evaluation import best_overlaps  # noqa: E402


@pytest.fixture
def exact(monkeypatch):
    """Convolutions in float32: by default PyTorch rounds their input to TF32."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.fixture
def nvjpeg() -> torch.device:
    """The GPU, where torchvision has nvJPEG."""
    gpu = torch.device("cuda:0")
    try:
        device_jpeg.require(gpu)
    except ValueError as error:
        pytest.skip(str(error))
    return gpu


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
        pictures = [rng.integers(0, 256, (*shape, 3), np.uint8) for shape in sides]
        ours = resized([as_unresized(picture, size) for picture in pictures], torch.device("cuda:0"))
        theirs = [cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR) for picture in pictures]
        np.testing.assert_array_equal(ours.permute(0, 2, 3, 1).cpu().numpy(), theirs)


def test_the_same_whoever_resizes(finetuned, mixed: dict[str, Path], exact):
    on_gpu = Detector(finetuned.config, finetuned.checkpoint, "cuda:0", MANY_BOXES, precision="fp32")
    on_cpu = predict(on_gpu, mixed, resize_on_device=False)
    assert on_cpu.n_boxes > 50
    assert close(predict(on_gpu, mixed), on_cpu)


def test_how_far_nvjpegs_pixels_are(tmp_path: Path, detector: Detector, nvjpeg: torch.device, capsys):
    """From Pillow's; with colours stored at half the size, as usual, and at the full one."""
    prepare = Preparation(detector.config).deferred(nvjpeg)
    for subsampling, most in ((0, 2), (2, 4)):
        pairs = [(f"{subsampling}{seed}", tmp_path / f"{subsampling}{seed}.jpg") for seed in range(40)]
        for seed, (_, file) in enumerate(pairs):
            picture = Image.fromarray(synthetic.render(240, seed)[0][: 150 + seed])
            picture.save(file, subsampling=subsampling, progressive=seed % 4 == 0)
        found = [image["inputs"].pixels for image in prepare.finished(map(prepare, pairs), pairs)]
        assert all(pixels.is_cuda for pixels in found)  # none was left to Pillow
        theirs = [images.read(file, "BGR").astype(int) for _, file in pairs]
        gaps = np.concatenate([abs(a.cpu().numpy() - b).ravel() for a, b in zip(found, theirs, strict=True)])
        far = f"{(gaps == 0).mean():.1%} equal, {gaps.mean():.3f} apart, at most {gaps.max()}"
        with capsys.disabled():
            print(f"\nnvJPEG, colours at {'half the size' if subsampling else 'the full size'}: {far}")
        assert gaps.mean() < most


def test_damaged_files_get_no_pixels_of_other_images(tmp_path: Path, detector: Detector, nvjpeg: torch.device):
    """Whatever was in the memory that they are decoded to, they become the same."""
    prepare = Preparation(detector.config).deferred(nvjpeg)
    Image.fromarray(synthetic.render(128, 5)[0]).save(tmp_path / "whole.jpg")
    data = (tmp_path / "whole.jpg").read_bytes()
    half, noise = len(data) // 2, np.random.default_rng(0).bytes(1000).replace(b"\xff", b"")
    (tmp_path / "cut_short.jpg").write_bytes(data[:half] + b"\xff\xd9")
    (tmp_path / "noisy.jpg").write_bytes(data[:half] + noise + data[half + 1000 :])
    pairs = [*images.find(tmp_path).items()] * 4

    def decoded(value: int) -> list[torch.Tensor]:
        used = [torch.full((128 * 128 * 3,), value, dtype=torch.uint8, device=nvjpeg) for _ in range(200)]
        del used  # PyTorch gives the same memory to the next who ask
        return [image["inputs"].pixels.cpu() for image in prepare.finished(map(prepare, pairs), pairs)]

    for (name, _), first, second in zip(pairs, decoded(7), decoded(200), strict=True):
        assert torch.equal(first, second), name


def test_nvjpeg_finds_the_same_objects(finetuned, mixed: dict[str, Path], nvjpeg, exact):
    on_gpu = Detector(finetuned.config, finetuned.checkpoint, "cuda:0", MANY_BOXES, precision="fp32")
    expected = predict(on_gpu, mixed)
    found = predict(on_gpu, mixed, nvjpeg=True)
    assert found.image_ids.tolist() == expected.image_ids.tolist()
    overlap, _ = best_overlaps(found, expected)
    assert (overlap > 0.9).mean() > 0.8


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
