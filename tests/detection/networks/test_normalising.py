from __future__ import annotations

import contextlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.detectors import predict

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from mmdet.models.data_preprocessors import DetDataPreprocessor  # noqa: E402
from mmdet.structures import DetDataSample  # noqa: E402

from al_rotate.data.images import pixels  # noqa: E402
from al_rotate.detection import Detector  # noqa: E402
from al_rotate.detection.networks import normalising  # noqa: E402

USUAL = {"mean": [103.53, 116.28, 123.675], "std": [57.375, 57.12, 58.395]}


def images(*shapes: tuple[int, ...], dtype: Any = torch.uint8) -> list[Any]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(0, 256, shape, generator=generator).to(dtype) for shape in shapes]


def both(preprocessor: Any, inputs: list[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What MMDetection makes of them, and what is made in batches."""

    def run() -> dict[str, Any]:
        return preprocessor({"inputs": list(inputs), "data_samples": [DetDataSample() for _ in inputs]}, False)

    theirs = run()
    with normalising.in_batches(SimpleNamespace(data_preprocessor=preprocessor)):
        run()  # another batch, whose memory is used again
        return theirs, run()


def same(preprocessor: Any, inputs: list[Any]) -> bool:
    theirs, ours = both(preprocessor, inputs)
    metas = [[sample.metainfo for sample in data["data_samples"]] for data in (theirs, ours)]
    return torch.equal(theirs["inputs"], ours["inputs"]) and metas[0] == metas[1]


@pytest.mark.parametrize(
    "options",
    [
        {**USUAL, "bgr_to_rgb": False, "batch_augments": None},  # RTMDet-R
        {**USUAL, "bgr_to_rgb": True, "pad_size_divisor": 32},
        {**USUAL, "pad_size_divisor": 32, "pad_value": 114},
        {"mean": [127.5], "std": [128]},
        {"bgr_to_rgb": True},
        {},
    ],
    ids=["rtmdet", "rgb", "padded", "one mean", "not normalised", "plain"],
)
def test_the_bits_of_mmdetection(options: dict[str, Any]):
    assert same(DetDataPreprocessor(**options), images((3, 37, 45), (3, 37, 45), (3, 37, 45)))


@pytest.mark.parametrize(
    "inputs",
    [images((3, 40, 30), (3, 30, 40)), images((3, 20, 20), dtype=torch.float32)],
    ids=["two shapes", "fractions"],
)
def test_other_images_go_mmdetections_way(inputs: list[Any]):
    assert same(DetDataPreprocessor(**USUAL, pad_size_divisor=32), inputs)


def test_a_preprocessor_of_another_type_keeps_its_way():
    class Darker(DetDataPreprocessor):
        def forward(self, data: dict[str, Any], training: bool = False) -> Any:
            return super().forward({**data, "inputs": [image // 2 for image in data["inputs"]]}, training)

    assert same(Darker(**USUAL), images((3, 20, 20)))


def test_predictions_are_the_same_to_the_bit(detector: Detector, mixed: dict[str, Path], monkeypatch):
    """On a CPU, in float32, and with pixels that Pillow packs."""
    ours = predict(detector, mixed, class_scores=True, features=True)
    assert ours.n_boxes > 50
    monkeypatch.setattr(normalising, "in_batches", contextlib.nullcontext)
    monkeypatch.setattr(pixels, "_opencv", lambda: None)
    assert predict(detector, mixed, class_scores=True, features=True) == ours


def test_nothing_stays_patched():
    preprocessor = DetDataPreprocessor(**USUAL)
    with normalising.in_batches(SimpleNamespace(data_preprocessor=preprocessor)):
        assert "forward" in vars(preprocessor)
    assert "forward" not in vars(preprocessor)


def test_copied_as_a_batch_as_to_a_gpu():
    """The way to a GPU, with the CPU in its place: MMDetection takes a stacked batch as well."""
    inputs = images((3, 21, 33), (3, 21, 33))
    preprocessor = DetDataPreprocessor(**USUAL, bgr_to_rgb=True, pad_size_divisor=32)
    stacked = normalising.copied(inputs, torch.device("cpu"))
    samples = [[DetDataSample() for _ in inputs] for _ in range(2)]
    theirs = preprocessor({"inputs": inputs, "data_samples": samples[0]}, False)
    ours = preprocessor({"inputs": stacked, "data_samples": samples[1]}, False)
    assert torch.equal(theirs["inputs"], ours["inputs"])
    assert [sample.metainfo for sample in samples[0]] == [sample.metainfo for sample in samples[1]]
