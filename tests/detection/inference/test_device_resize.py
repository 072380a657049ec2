"""Resized on the detector's device, here the CPU: OpenCV's pixels, and the pipeline's inputs and detections."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.detectors import predict
from numpy.typing import NDArray

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

import cv2  # noqa: E402
from mmcv.transforms import Compose  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402

from al_rotate.detection import Detector, PredictOptions  # noqa: E402
from al_rotate.detection.inference import device_resize, forward  # noqa: E402
from al_rotate.detection.inference import pipeline as inference_pipeline  # noqa: E402
from al_rotate.detection.inference.device_resize import Deferred, as_unresized, can_defer, resized  # noqa: E402
from al_rotate.detection.inference.preparing import Preparation  # noqa: E402

CPU = torch.device("cpu")
KEYS = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor", "flip", "pad_shape", "pad_size_divisor")
KEYS += ("pad_fixed_size", "scale", "keep_ratio", "homography_matrix")
SIDES = (1, 2, 3, 5, 16, 33, 64, 100, 255)


def noise(width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    """Bytes of which many are extreme."""
    values = np.random.default_rng((seed, width, height)).integers(-200, 456, (height, width, 3))
    return values.clip(0, 255).astype(np.uint8)


def as_opencv(image: NDArray[np.uint8], size: tuple[int, int]) -> bool:
    ours = resized([as_unresized(image, size)], CPU)[0].permute(1, 2, 0).numpy()
    return np.array_equal(ours, cv2.resize(image, size, interpolation=cv2.INTER_LINEAR))


class TestOpenCV:
    @pytest.mark.parametrize("width", SIDES)
    def test_small_and_odd_sides(self, width: int):
        """Sides of one pixel, equal ones, halves and quarters among them."""
        for height in SIDES:
            image = noise(width, height)
            sizes = [(w, h) for w in SIDES for h in (1, 2, 50, 128, height)]
            wrong = [size for size in sizes if not as_opencv(image, size)]
            assert not wrong, (width, height)

    def test_random_sizes(self):
        rng = np.random.default_rng(7)
        for seed in range(60):
            sides = rng.integers(1, 400, 4).tolist()
            assert as_opencv(noise(*sides[:2], seed), tuple(sides[2:])), sides

    @pytest.mark.parametrize("size", [(320, 240), (1280, 960), (160, 120), (640, 480), (641, 479), (213, 160)])
    def test_ratios_for_which_opencv_has_ways_of_its_own(self, size: tuple[int, int]):
        for step in (1, 2):  # with and without vector instructions
            cv2.setUseOptimized(step == 1)
            try:
                assert as_opencv(noise(640, 480), size)
            finally:
                cv2.setUseOptimized(True)

    def test_black_and_white(self):
        for value in (0, 1, 254, 255):
            assert as_opencv(np.full((37, 41, 3), value, np.uint8), (90, 20))

    def test_a_photograph(self, scenes):
        image = cv2.imread(str(next(scenes.images.iterdir())))
        assert as_opencv(image, (301, 299))
        assert device_resize.equals_opencv()


def pipeline(*steps: dict[str, Any], **loading: Any) -> Compose:
    init_default_scope("mmrotate")
    pack = {"type": "mmdet.PackDetInputs", "meta_keys": KEYS}
    return Compose([{"type": "mmdet.LoadImageFromNDArray", **loading}, *steps, pack])


RESIZE = {"type": "mmdet.Resize", "scale": (96, 64), "keep_ratio": True}
PAD = {"type": "mmdet.Pad", "size": (100, 120), "pad_val": {"img": (114, 7, 0)}}


@pytest.mark.parametrize(
    "steps",
    [
        [RESIZE],
        [{"type": "mmdet.Resize", "scale": (80, 50), "keep_ratio": False}],
        [RESIZE, PAD],
        [RESIZE, {"type": "mmdet.Pad", "size": (50, 50), "pad_val": 3}],  # less than some have
        [RESIZE, {"type": "mmdet.Pad", "size_divisor": 32}],
        [RESIZE, {"type": "mmdet.Pad", "pad_to_square": True, "pad_val": {"img": 114}}],
        [RESIZE, {"type": "mmdet.Pad", "pad_to_square": True, "size_divisor": 32}],
    ],
    ids=["ratio", "no ratio", "padded", "padded less", "divisor", "square", "square and divisor"],
)
def test_as_the_pipeline_prepares(steps: list[dict[str, Any]]):
    """Image by image, then those of one shape as a batch, whatever their sizes were; and all that is packed."""
    usual = pipeline(*steps)
    assert can_defer(usual)
    deferred = Deferred(usual)
    assert str(deferred) == str(usual)
    batches: dict[Any, list[Any]] = {}
    for width, height in ((96, 64), (50, 50), (120, 40), (192, 128), (31, 90), (1, 1), (400, 300), (300, 400)):
        image = noise(width, height)
        image.flags.writeable = False  # as a caller's array may be
        theirs, ours = (prepare({"img": image, "img_id": "a"}) for prepare in (usual, deferred))
        metas = [sample["data_samples"].metainfo for sample in (theirs, ours)]
        matrices = [meta.pop("homography_matrix") for meta in metas]
        assert metas[0] == metas[1]
        assert matrices[0].dtype == matrices[1].dtype
        np.testing.assert_array_equal(*matrices)
        assert ours["inputs"].shape == theirs["inputs"].shape
        assert ours["inputs"].pixels.numel() <= 4 * theirs["inputs"].numel()  # else it would wait at its full size
        batches.setdefault(ours["inputs"].shape, []).append((ours["inputs"], theirs["inputs"]))
    for batch in batches.values():
        together = resized([ours for ours, _ in batch], CPU)
        assert together.is_contiguous()  # some of mmcv's operations misread what is not
        assert torch.equal(together, torch.stack([theirs for _, theirs in batch]))


@pytest.mark.parametrize(
    "usual",
    [
        lambda: pipeline(),
        lambda: pipeline(RESIZE, to_float32=True),
        lambda: pipeline({**RESIZE, "backend": "pillow"}),
        lambda: pipeline({**RESIZE, "interpolation": "bicubic"}),
        lambda: pipeline({"type": "mmdet.Resize", "scale_factor": 0.5}),
        lambda: pipeline({**RESIZE, "type": "mmdet.FixScaleResize"}),
        lambda: pipeline(PAD, RESIZE),
        lambda: pipeline(RESIZE, PAD, PAD),
        lambda: pipeline(RESIZE, {**PAD, "padding_mode": "reflect"}),
        lambda: pipeline(RESIZE, {**PAD, "pad_val": {"img": 114.0}}),
        lambda: pipeline(RESIZE, {"type": "mmdet.RandomFlip", "prob": 0.5}),
    ],
    ids=[
        "none",
        "float",
        "Pillow",
        "bicubic",
        "factor",
        "subclass",
        "padded first",
        "twice",
        "reflected",
        "float fill",
        "flipped",
    ],
)
def test_other_pipelines_keep_their_way(usual: Any):
    assert not can_defer(usual())


def test_tiles_that_keep_their_size():
    tiles = [noise(64, 48, seed) for seed in range(3)]
    together = resized([as_unresized(tile, (64, 48)) for tile in tiles], CPU)
    assert together.is_contiguous()
    np.testing.assert_array_equal(together.permute(0, 2, 3, 1).numpy(), tiles)


def test_in_parts_as_at_once(monkeypatch):
    images = [as_unresized(noise(50 + k, 40), (60, 70)) for k in range(5)]
    expected = resized(images, CPU)
    monkeypatch.setattr(device_resize, "_AT_ONCE", 2 * 60 * 70)
    assert torch.equal(resized(images, CPU), expected)


class TestDetections:
    @pytest.fixture
    def batches(self, monkeypatch) -> list[int]:
        """How many images were resized on the device at a time."""
        sizes: list[int] = []

        def noting(images: Any, device: Any) -> Any:
            sizes.append(len(images))
            return resized(images, device)

        monkeypatch.setattr(forward, "resized", noting)
        return sizes

    def test_same_to_the_bit(self, detector: Detector, mixed: dict[str, Path], batches: list[int]):
        keep: dict[str, Any] = {"class_scores": True, "features": True, "batch_size": 3}
        expected = predict(detector, mixed, **keep)
        assert (expected.n_boxes > 50, batches) == (True, [])  # a CPU stays as it was
        assert predict(detector, mixed, **keep, resize_on_device=True) == expected
        assert sum(batches) == len(mixed)
        assert max(batches) == 3

    def test_two_stages(self, two_stage: Detector, mixed: dict[str, Path], batches: list[int]):
        assert predict(two_stage, mixed, resize_on_device=True) == predict(two_stage, mixed)
        assert sum(batches) == len(mixed)

    def test_a_preprocessor_of_another_type_gets_a_list(self, detector: Detector, mixed, batches, monkeypatch):
        own = type(detector.model.data_preprocessor)

        class Listing(own):
            def forward(self, data: dict[str, Any], training: bool = False) -> Any:
                assert isinstance(data["inputs"], list)
                return super().forward(data, training)

        monkeypatch.setattr(detector.model.data_preprocessor, "__class__", Listing)
        assert predict(detector, mixed, resize_on_device=True) == predict(detector, mixed)
        assert sum(batches) == len(mixed)

    def test_a_source_may_refill_its_array(self, detector: Detector, batches: list[int]):
        """Which is read before the next one, and resized after it."""
        scratch = np.zeros((64, 64, 3), np.uint8)

        def filled(seed: int) -> NDArray[np.uint8]:
            scratch[:] = noise(64, 64, seed)
            return scratch

        sources = [(str(seed), partial(filled, seed)) for seed in range(3)]
        expected = predict(detector, [(name, source().copy()) for name, source in sources])
        assert expected.n_boxes
        assert predict(detector, sources, resize_on_device=True, workers=1) == expected
        assert batches == [3]

    def test_a_tile_lets_go_of_its_scene(self, detector: Detector):
        scene = np.zeros((300, 64, 3), np.uint8)
        image = Preparation(detector.config).deferred()(("tile", lambda: scene[:64]))
        assert not np.shares_memory(image["inputs"].pixels.numpy(), scene)

    def test_fewer_are_read_ahead(self, detector: Detector, mixed: dict[str, Path], monkeypatch):
        """They wait at their full size."""
        depths: list[int] = []
        prefetch = inference_pipeline.prefetch
        monkeypatch.setattr(inference_pipeline, "prefetch", lambda *rest: depths.append(rest[-1]) or prefetch(*rest))
        for on_device in (False, True):
            predict(detector, mixed, batch_size=3, resize_on_device=on_device)
        assert depths == [12, 6]

    def test_shards_may_be_finished_the_other_way(self, detector: Detector, mixed, batches, tmp_path: Path):
        first = predict(detector, mixed, out=tmp_path)
        assert predict(detector, mixed, out=tmp_path, resize_on_device=True) == first
        assert batches == []

    def test_slivers_are_left_out_for_the_same_reason(self, detector: Detector, scenes):
        good = next(scenes.images.iterdir())
        images = [("sliver", np.zeros((2, 2000, 3), np.uint8)), ("good", good)]
        reasons = []
        for on_device in (False, True):
            with pytest.warns(UserWarning, match="1 images could not be read"):
                reasons.append(predict(detector, images, resize_on_device=on_device).skipped)
        assert reasons[0] == reasons[1]


def test_by_default_on_a_gpu(detector: Detector):
    preparation = Preparation(detector.config)
    gpu = torch.device("cuda:0")
    assert preparation.on(CPU, PredictOptions()) is preparation
    assert preparation.on(gpu, PredictOptions(resize_on_device=False)) is preparation
    assert preparation.on(gpu, PredictOptions()) is not preparation
    assert preparation.on(CPU, PredictOptions(resize_on_device=True)) is not preparation
