"""Rotated IoU and the search for near pairs against shapely, mmcv and numbers worked out by hand."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from helpers.shapes import angles, crowd, rotated_boxes, shapely_iou
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from al_rotate import boxes

thorough = settings(deadline=None, max_examples=150)
PI = math.pi


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([5, 5, 10, 10, 0], [5, 5, 10, 10, 0], 1),
        ([5, 5, 10, 10, 0], [10, 5, 10, 10, 0], 1 / 3),
        ([5, 5, 10, 4, 0], [5, 5, 4, 10, PI / 2], 1),
        ([5, 5, 10, 2, 0], [5, 5, 10, 2, PI / 2], 4 / 36),  # a cross
        ([0, 0, 2, 2, 0], [0, 0, 2, 2, PI / 4], (8 * math.sqrt(2) - 8) / (16 - 8 * math.sqrt(2))),  # an octagon
        ([0, 0, 100, 100, 0.4], [3, 4, 10, 10, 1], 0.01),  # inside
        ([0, 0, 10, 10, 0], [10, 0, 10, 10, 0], 0),  # a shared edge
        ([0, 0, 10, 10, 0], [10, 10, 10, 10, 0], 0),  # a shared corner
        ([0, 0, 10, 10, 0], [20_000, 0, 10, 10, 0], 0),
        ([20_000, 20_000, 10, 10, 0], [20_005, 20_000, 10, 10, 0], 1 / 3),
        ([0, 0, 100, 1e-3, 0.3], [0, 0, 100, 1e-3, 0.3], 1),
        ([0, 0, 100, 1e-3, 0], [0, 0, 50, 1e-3, 0], 0.5),
        ([0, 0, 100, 1e-3, 0], [0, 0, 100, 1e-3, PI / 2], 1e-6 / (0.2 - 1e-6)),
        ([0, 0, 10, 0, 0], [0, 0, 10, 0, 0], 0),  # no area
        ([0, 0, 0, 0, 0], [0, 0, 10, 10, 0], 0),
    ],
)
def test_iou_by_hand(a: list[float], b: list[float], expected: float) -> None:
    for first, second in ((a, b), (b, a)):
        assert boxes.iou([first], [second], paired=True)[0] == pytest.approx(expected, abs=1e-9)
        assert boxes.iou([first], [second])[0, 0] == pytest.approx(expected, abs=1e-9)


@thorough
@given(rotated_boxes(st.floats(1e-3, 2000)), st.data())
def test_iou_is_shapelys(a: NDArray, data: st.DataObject) -> None:
    """Pairs that meet: each box against one near it."""
    n = len(a)
    near = st.one_of(st.floats(-1, 1), st.sampled_from([0.0, 0.5, 1.0]))
    shift = data.draw(hnp.arrays(np.float64, (n, 2), elements=near))
    scale = data.draw(hnp.arrays(np.float64, (n, 2), elements=st.one_of(st.floats(0.1, 4), st.just(1.0))))
    turn = data.draw(hnp.arrays(np.float64, n, elements=st.one_of(angles, st.floats(-1e-6, 1e-6))))
    b = a.copy()
    b[:, :2] += shift * a[:, 2:4]
    b[:, 2:4] *= scale
    b[:, 4] += turn
    got = boxes.iou(a, b, paired=True)
    np.testing.assert_allclose(got, shapely_iou(a, b), rtol=0, atol=1e-6)
    np.testing.assert_allclose(boxes.iou(b, a, paired=True), got, rtol=0, atol=1e-6)
    np.testing.assert_allclose(boxes.iou(a, b).diagonal(), got, rtol=0, atol=1e-6)


@thorough
@given(rotated_boxes(st.floats(1e-3, 2000)), rotated_boxes(st.floats(1e-3, 2000)))
def test_iou_matrix_is_the_pairs_and_symmetric(a: NDArray, b: NDArray) -> None:
    matrix = boxes.iou(a, b)
    assert matrix.shape == (len(a), len(b))
    assert matrix.dtype == np.float64
    i, j = (index.ravel() for index in np.indices(matrix.shape))
    paired = boxes.iou(a[i], b[j], paired=True)
    near = np.zeros(matrix.shape, bool)
    near[boxes.near_pairs(a, b)] = True
    np.testing.assert_array_equal(matrix[near], paired[near.ravel()])
    assert (matrix[~near] == 0).all()
    np.testing.assert_allclose(paired, shapely_iou(a[i], b[j]), rtol=0, atol=1e-6)
    np.testing.assert_allclose(boxes.iou(b, a).T, matrix, rtol=0, atol=1e-6)
    # One angle convention or another: the same boxes.
    np.testing.assert_allclose(boxes.iou(boxes.canonical(a), boxes.canonical(b, "oc")), matrix, rtol=0, atol=1e-6)


def test_iou_of_a_scene_in_parts_is_that_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    a, b = (rng.uniform([0, 0, 5, 5, -2], [200, 200, 60, 30, 2], (n, 5)) for n in (90, 70))
    whole = boxes.iou(a, b)
    i, j = (index.ravel() for index in np.indices(whole.shape))
    np.testing.assert_allclose(whole.ravel(), shapely_iou(a[i], b[j]), rtol=0, atol=1e-6)
    monkeypatch.setattr(sys.modules["al_rotate.boxes.iou"], "_PAIRS_AT_ONCE", 13)
    np.testing.assert_array_equal(boxes.iou(a, b), whole)
    rows, columns = boxes.near_pairs(a, b)
    order = np.lexsort((columns, rows))
    np.testing.assert_array_equal(order, np.arange(len(order)))


def test_empty_input_gives_empty_output() -> None:
    assert boxes.iou([], [[1, 2, 3, 4, 0]]).shape == (0, 1)
    assert boxes.iou([[1, 2, 3, 4, 0]], []).shape == (1, 0)
    assert boxes.iou([], [], paired=True).shape == (0,)


def test_input_is_left_alone() -> None:
    rotated = np.array([[10, 20, 4, 8, 9.0]])
    before = rotated.copy()
    boxes.iou(rotated, rotated)
    np.testing.assert_array_equal(rotated, before)


def test_paired_boxes_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="expected as many boxes in a as in b when paired, got 1 and 2"):
        boxes.iou([[1, 2, 3, 4, 0]], [[1, 2, 3, 4, 0]] * 2, paired=True)


@pytest.mark.mm
def test_iou_is_mmcvs() -> None:
    torch = pytest.importorskip("torch")
    ops = pytest.importorskip("mmcv.ops")
    a, b = crowd(7, 150), crowd(8, 120)
    theirs = ops.box_iou_rotated(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    np.testing.assert_allclose(boxes.iou(a, b), theirs, rtol=0, atol=1e-4)
