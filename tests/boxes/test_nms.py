"""Greedy rotated suppression against the sequential algorithm with shapely's IoU."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.shapes import shapely_iou
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from al_rotate.boxes.nms import greedy, nms


def sequential(box: NDArray, scores: NDArray, labels: NDArray, threshold: float) -> list[int]:
    left: list[int] = []
    for row in np.argsort(-scores, kind="stable").tolist():
        rivals = [k for k in left if labels[k] == labels[row]]
        if not rivals or shapely_iou(box[rivals], box[[row] * len(rivals)]).max() < threshold:
            left.append(row)
    return left


@pytest.mark.parametrize(("n", "side", "classes"), [(1, 50, 1), (60, 60, 1), (120, 150, 3), (200, 900, 2)])
@pytest.mark.parametrize("threshold", [0.1, 0.5])
def test_keeps_what_the_sequential_algorithm_keeps(n: int, side: int, classes: int, threshold: float):
    rng = np.random.default_rng(n + classes)
    box = rng.uniform([0, 0, 8, 4, -2], [side, side, 40, 20, 2], (n, 5))
    scores = rng.integers(1, 9, n) / 10  # many ties
    labels = rng.integers(0, classes, n)
    assert nms(box, scores, labels, threshold).tolist() == sequential(box, scores, labels, threshold)


def test_a_chain_of_overlaps_leaves_every_other_box():
    """Each box overlaps the next one only; the best suppresses the second, which can no longer suppress the third."""
    box = np.array([[6.0 * k, 0, 10, 4, 0] for k in range(7)])
    scores = np.linspace(0.9, 0.3, 7)
    assert nms(box, scores, iou_threshold=0.2).tolist() == [0, 2, 4, 6]
    assert nms(box, scores[::-1], iou_threshold=0.2).tolist() == [6, 4, 2, 0]
    assert nms(box, scores, np.arange(7), 0.2).tolist() == list(range(7))


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_greedy_on_any_graph(data: st.DataObject):
    n = data.draw(st.integers(1, 12))
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n)]
    near = sorted(data.draw(st.sets(st.sampled_from(pairs)))) if pairs else []
    real = set(data.draw(st.lists(st.sampled_from(near)))) if near else set()
    left: list[int] = []
    for j in range(n):
        if not any((i, j) in real for i in left):
            left.append(j)
    compared: list[tuple[int, int]] = []

    def suppresses(i: NDArray, j: NDArray) -> NDArray:
        compared.extend(zip(i.tolist(), j.tolist(), strict=True))
        return np.array([pair in real for pair in zip(i.tolist(), j.tolist(), strict=True)], bool)

    rows, columns = np.array(near, np.intp).reshape(-1, 2).T
    assert greedy(n, rows, columns, suppresses).tolist() == left
    assert len(compared) == len(set(compared))
    # Only pairs that the sequential algorithm compares are compared.
    assert {i for i, _ in compared} <= set(left)


def test_nothing_in_nothing_out():
    assert nms([], []).tolist() == []


def test_what_does_not_fit_is_refused():
    for threshold in (0, -0.1, 1.5):
        with pytest.raises(ValueError, match=r"an IoU threshold in \(0, 1\], got"):
            nms([[5, 5, 4, 2, 0]], [0.5], iou_threshold=threshold)
    with pytest.raises(ValueError, match=r"expected 1 scores and labels, got \(2,\) and \(1,\)"):
        nms([[5, 5, 4, 2, 0]], [0.5, 0.4])
