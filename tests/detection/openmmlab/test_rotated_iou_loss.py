from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

import mmcv.ops.diff_iou_rotated as mmcv_iou  # noqa: E402
from mmcv.ops import diff_iou_rotated_2d  # noqa: E402

from al_rotate import boxes  # noqa: E402
from al_rotate.detection.openmmlab import rotated_iou_loss  # noqa: E402

RIGHT = np.pi / 2


@pytest.fixture(autouse=True)
def installed():
    rotated_iou_loss.install()


def iou(a: Any, b: Any) -> np.ndarray:
    a, b = (torch.as_tensor(np.asarray(values, float)).view(1, -1, 5) for values in (a, b))
    return diff_iou_rotated_2d(a, b)[0].numpy()


def exact(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    first, second = (shapely.polygons(boxes.to_corners(values)) for values in (a, b))
    common = shapely.area(shapely.intersection(first, second))
    return common / (shapely.area(first) + shapely.area(second) - common)


def pairs(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    low, high = [0, 0, 1, 1, -RIGHT], [30, 30, 40, 20, RIGHT]
    return rng.uniform(low, high, (n, 5)), rng.uniform(low, high, (n, 5))


def test_random_pairs_agree_with_shapely():
    a, b = pairs(2000, seed=0)
    expected = exact(a, b)
    assert (expected > 0.1).sum() > 400
    assert (expected == 0).sum() > 100
    np.testing.assert_allclose(iou(a, b), expected, atol=1e-6)


def test_also_in_single_precision_and_many_at_once():
    a, b = pairs(400, seed=1)
    tensors = [torch.tensor(x, dtype=torch.float32).view(4, 100, 5) for x in (a, b)]
    np.testing.assert_allclose(diff_iou_rotated_2d(*tensors).numpy().ravel(), exact(a, b), atol=1e-3)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([5, 5, 4, 2, 0], [5, 5, 4, 2, 0], 1),  # identical
        ([5, 5, 4, 2, 0.3], [5, 5, 4, 2, 0.3], 1),
        ([5, 5, 4, 2, 0.3], [5, 5, 2, 4, 0.3 + RIGHT], 1),  # the same rectangle, written otherwise
        ([5, 5, 4, 4, 0], [5, 5, 2, 2, 0], 4 / 16),  # one in the other
        ([5, 5, 4, 4, 0.4], [5, 5, 1, 2, -1.0], 2 / 16),
        ([5, 5, 4, 4, 0], [6, 5, 2, 4, 0], 8 / 16),  # in it, and along its edge
        ([0, 0, 2, 2, 0], [9, 9, 2, 2, 0.5], 0),  # apart
        ([0, 0, 2, 2, 0], [2, 0, 2, 2, 0], 0),  # an edge in common
        ([0, 0, 2, 2, 0], [2, 2, 2, 2, 0], 0),  # a corner in common
        ([0, 0, 2, 2, 0], [1, 0, 2, 2, 0], 2 / 6),  # overlapping, edges on one line
        ([0, 0, 4, 4, 0], [1, 1, 2, 2, 0], 4 / 16),  # a corner and two edges in common
        ([0, 0, 2, 2, 0], [0, 0, 2, 2, RIGHT / 2], 0.5**0.5),  # an octagon
    ],
)
def test_touching_and_coinciding_boxes(a: list[float], b: list[float], expected: float):
    assert iou(a, b)[0] == pytest.approx(expected, abs=1e-6)
    assert iou(b, a)[0] == pytest.approx(expected, abs=1e-6)


def test_gradients_are_those_of_the_area():
    a, b = pairs(60, seed=2)
    overlap = exact(a, b)
    chosen = np.flatnonzero(overlap > 0.05)[:12]  # where nothing coincides, so that the area is smooth
    first, second = (torch.tensor(x[chosen]).view(1, -1, 5).requires_grad_() for x in (a, b))
    assert torch.autograd.gradcheck(diff_iou_rotated_2d, (first, second), eps=1e-6, atol=1e-5)


def test_boxes_apart_have_no_gradient():
    first = torch.tensor([[[0.0, 0, 2, 2, 0.3]]], requires_grad=True)
    diff_iou_rotated_2d(first, torch.tensor([[[20.0, 0, 2, 2, 0.1]]])).sum().backward()
    assert first.grad.abs().sum() == 0


def test_the_order_itself():
    """A square around the origin, given crosswise among the 24 candidates."""
    vertices, mask = torch.zeros(1, 1, 24, 2), torch.zeros(1, 1, 24, dtype=torch.bool)
    for index, corner in {2: (1, 1), 5: (-1, -1), 9: (1, -1), 20: (-1, 1)}.items():
        vertices[0, 0, index], mask[0, 0, index] = torch.tensor(corner, dtype=torch.float32), True
    order = rotated_iou_loss.sort_vertices(vertices, mask, mask.sum(dim=-1))[0, 0].tolist()
    assert order[:5] == [5, 9, 2, 20, 5]  # by rising angle, closed
    assert len(order) == 9
    assert all(8 <= index < 24 and not mask[0, 0, index] for index in order[5:])
    assert rotated_iou_loss.sort_vertices(vertices[:, :0], mask[:, :0], mask[:, :0].sum(dim=-1)).shape == (1, 0, 9)


def test_installing_twice_changes_nothing():
    installed = mmcv_iou.ext_module
    rotated_iou_loss.install()
    assert mmcv_iou.ext_module is installed


def test_cuda_tensors_keep_mmcvs_kernel(monkeypatch: pytest.MonkeyPatch):
    """Whatever says it is on CUDA goes to the kernel untouched: there is none to run here."""
    calls: list[Any] = []

    class Kernels:
        @staticmethod
        def diff_iou_rotated_sort_vertices_forward(*args: Any) -> str:
            calls.append(args)
            return "sorted"

    class OnCuda:
        is_cuda, device = True, "cuda:0"

    monkeypatch.setattr(mmcv_iou, "ext_module", Kernels)
    monkeypatch.setattr(rotated_iou_loss, "runs_on", lambda device: device == "cuda:0")
    rotated_iou_loss.install()
    vertices = OnCuda()
    assert mmcv_iou.ext_module.diff_iou_rotated_sort_vertices_forward(vertices, "mask", "count") == "sorted"
    assert calls == [(vertices, "mask", "count")]
