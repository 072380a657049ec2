"""The ops in PyTorch against mmcv's compiled ones."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from helpers.devices import DEVICES  # noqa: E402
from mmcv.ops import box_iou_rotated, nms, nms_rotated  # noqa: E402
from torch import Tensor  # noqa: E402

from al_rotate import boxes  # noqa: E402
from al_rotate.detection.openmmlab import pytorch_ops  # noqa: E402


def crowd(n: int, side: float, seed: int) -> Tensor:
    rng = np.random.default_rng(seed)
    long = rng.uniform(5, 60, n)
    sides = np.column_stack([long, long * rng.uniform(0.1, 1, n)])
    return torch.tensor(np.column_stack([rng.uniform(0, side, (n, 2)), sides, rng.uniform(-4, 4, n)])).float()


def iou(a: Tensor, b: Tensor, mode_flag: int = 0, aligned: bool = False) -> Tensor:
    ious = a.new_full((len(a) if aligned else len(a) * len(b),), 7.0)
    pytorch_ops.box_iou_rotated(a, b, ious, mode_flag=mode_flag, aligned=aligned)
    return ious if aligned else ious.view(len(a), len(b))


@pytest.mark.parametrize(("mode", "flag"), [("iou", 0), ("iof", 1)])
@pytest.mark.parametrize("device", DEVICES)
def test_iou_of_crowds(mode: str, flag: int, device: str):
    a, b = crowd(300, 150, 0), crowd(200, 150, 1)
    expected = box_iou_rotated(a, b, mode)
    assert (expected > 0.1).sum() > 2000
    aligned = box_iou_rotated(a[:200], b, mode, True)
    a, b = a.to(device), b.to(device)
    torch.testing.assert_close(iou(a, b, flag).cpu(), expected, atol=5e-6, rtol=0)
    torch.testing.assert_close(iou(a[:200], b, flag, True).cpu(), aligned, atol=5e-6, rtol=0)


def test_iou_is_that_of_boxes_in_double_precision():
    a, b = crowd(200, 80, 2).double(), crowd(200, 80, 3).double()
    np.testing.assert_allclose(iou(a, b).numpy(), boxes.iou(a.numpy(), b.numpy()), atol=1e-12)


def test_iou_by_hand():
    a = torch.tensor([[50.0, 50, 40, 20, 0], [0, 0, 2, 2, 0], [0, 0, 0, 5, 0], [9, 9, 4, 2, 0.3]])
    b = torch.tensor([[50.0, 50, 40, 20, np.pi / 2], [1, 0, 2, 2, 0], [0, 0, 2, 2, 0], [9, 9, 4, 2, 0.3]])
    torch.testing.assert_close(iou(a, b, aligned=True), torch.tensor([1 / 3, 1 / 3, 0.0, 1.0]))
    torch.testing.assert_close(iou(a, b, 1, aligned=True), torch.tensor([1 / 2, 1 / 2, 0.0, 1.0]))


def test_nothing_overlaps_nothing():
    a, none = crowd(3, 10, 0), torch.zeros(0, 5)
    assert iou(a, none).shape == (3, 0)
    assert iou(none, a).shape == (0, 3)
    assert iou(none, none, aligned=True).shape == (0,)


def kept(dets: Tensor, scores: Tensor, threshold: float, labels: Tensor | None = None) -> list[int]:
    order = scores.sort(0, descending=True)[1]
    given = scores.new_zeros(0) if labels is None else labels
    return pytorch_ops.nms_rotated(dets, scores, order, dets[order], given, threshold, labels is not None).tolist()


@pytest.mark.parametrize("threshold", [0.05, 0.1, 0.5])
@pytest.mark.parametrize(("n", "side"), [(1, 10), (60, 50), (500, 300), (1500, 1024)])
@pytest.mark.parametrize("device", DEVICES)
def test_nms_of_crowds(n: int, side: float, threshold: float, device: str):
    dets, scores = crowd(n, side, n), torch.rand(n, generator=torch.Generator().manual_seed(n))
    found = kept(dets.to(device), scores.to(device), threshold)
    assert found == nms_rotated(dets, scores, threshold)[1].tolist()


def test_nms_of_equal_scores_and_of_many_levels():
    dets = crowd(200, 60, 5)
    scores = torch.ones(200)
    assert kept(dets, scores, 0.1) == nms_rotated(dets, scores, 0.1)[1].tolist()
    row = torch.arange(100.0)[:, None] * torch.tensor([[3.0, 0, 0, 0, 0]]) + torch.tensor([[0.0, 0, 10, 4, 0]])
    scores = torch.linspace(1, 0.1, 100)  # each box suppresses the next ones, unless it is suppressed itself
    assert kept(row, scores, 0.3) == nms_rotated(row, scores, 0.3)[1].tolist() == [*range(0, 100, 2)]


def test_labels_keep_apart():
    dets, scores = torch.tensor([[5.0, 5, 8, 4, 0]]).repeat(4, 1), torch.tensor([0.9, 0.8, 0.7, 0.6])
    assert kept(dets, scores, 0.5, torch.tensor([1, 0, 1, 0])) == [0, 1]


@pytest.mark.parametrize("offset", [0, 1])
def test_nms_of_axis_aligned_boxes(offset: int):
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand((400, 2), generator=generator) * 200
    dets = torch.cat([corner, corner + 5 + 40 * torch.rand((400, 2), generator=generator)], dim=1)
    scores = torch.rand(400, generator=generator)
    expected = nms(dets, scores, 0.4, offset)[1]
    assert pytorch_ops.nms(dets, scores, 0.4, offset).tolist() == expected.tolist()
    assert 20 < len(expected) < 380
