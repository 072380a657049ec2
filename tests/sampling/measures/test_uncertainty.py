"""Per-box uncertainty: values worked by hand."""

import math

import numpy as np
import pytest

from al_rotate.sampling.measures.uncertainty import class_difficulty, entropy, least_confidence, margin, overlap_margin

MEASURES = [least_confidence, margin, entropy]
LN2 = math.log(2)


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        (least_confidence, [1.0, 0.75, 0.5, 0.25, 0.0]),
        (margin, [0.0, 0.5, 1.0, 0.5, 0.0]),
        # H(1/4) = 1/4 ln 4 + 3/4 ln 4/3 = 2 ln 2 - 3/4 ln 3
        (entropy, [0.0, 2 * LN2 - 0.75 * math.log(3), LN2, 2 * LN2 - 0.75 * math.log(3), 0.0]),
    ],
)
def test_one_confidence(measure, expected):
    confidences = np.array([0.0, 0.25, 0.5, 0.75, 1.0], np.float32)
    values = measure(confidences)
    assert values.dtype == np.float64
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-15)
    # with one class there is only the background to confuse it with
    np.testing.assert_array_equal(measure(confidences[:, None]), values)


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        (least_confidence, [0.5, 0.25, 0.0, 1.0]),
        (margin, [0.75, 0.75, 0.0, 1.0]),
        # -(1/2 ln 1/2 + 1/4 ln 1/4) = ln 2;  -(3/4 ln 3/4 + 1/2 ln 1/2 + 1/4 ln 1/4)
        (entropy, [LN2, LN2 + 0.75 * math.log(4 / 3), 0.0, 0.0]),
    ],
)
def test_class_scores(measure, expected):
    rows = [
        [0.5, 0.25, 0.0],  # softmax without its background
        [0.25, 0.75, 0.5],  # sigmoids, sum > 1
        [0.0, 0.0, 1.0],
        [0.0, 0.0, 0.0],
    ]
    np.testing.assert_allclose(measure(rows), expected, rtol=0, atol=1e-15)


def test_rows_are_not_renormalised():
    assert entropy([[0.01, 0.01]])[0] < entropy([[0.5, 0.5]])[0]


@pytest.mark.parametrize("measure", MEASURES)
def test_no_boxes(measure):
    for nothing in (np.zeros(0), np.zeros((0, 4)), np.zeros((0, 0))):
        assert measure(nothing).shape == (0,)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("bad", [np.nan, -0.25, 1.25, np.inf])
def test_bad_values_name_their_row(measure, bad):
    confidences = np.full(70_000, 0.5)  # more than one block
    confidences[69_999] = bad
    with pytest.raises(ValueError, match=rf"scores in \[0, 1\], got {bad} in row 69999"):
        measure(confidences)
    with pytest.raises(ValueError, match=r"in row 1$"):
        measure([[0.5, 0.5], [0.5, bad]])


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("shape", [(), (2, 3, 4), (2, 0)])
def test_bad_shapes(measure, shape):
    with pytest.raises(ValueError, match="expected scores of"):
        measure(np.zeros(shape))


@pytest.mark.parametrize("measure", MEASURES)
def test_a_box_does_not_depend_on_its_neighbours(measure):
    rows = np.random.default_rng(0).random((70_000, 5)).astype(np.float32)
    order = np.random.default_rng(1).permutation(len(rows))
    np.testing.assert_array_equal(measure(rows)[order], measure(rows[order]))
    np.testing.assert_array_equal(measure(rows)[-3:], measure(rows[-3:]))


# Between boxes, and between classes.


def test_overlap_margin():
    """A ship and a harbour at one place, another ship there, the same pair in the next image, a lone box."""
    here, near, far = [50, 50, 40, 10, 0.3], [51, 50, 40, 10, 0.3], [200, 50, 40, 10, 0]
    boxes = [here, near, near, here, here, far]
    margins = overlap_margin(boxes, [0, 1, 0, 0, 1, 1], [0.75, 0.5, 0.625, 0.25, 0.5, 0.125], [0, 3, 3, 6])
    # 1 - p, and what another class has there: ships see the harbour's 0.5, the harbour the better ship's 0.75.
    assert margins.tolist() == [0.25 + 0.5, 0.5 + 0.75, 0.375 + 0.5, 0.75 + 0.5, 0.5 + 0.25, 0.875]
    crossed = [[50, 50, 40, 10, 0], [50, 50, 40, 10, 1.5]]  # their hulls overlap, they do not: 100 of 700 pixels
    assert overlap_margin(crossed, [0, 1], [0.75, 0.5], [0, 2]).tolist() == [0.25, 0.5]
    assert overlap_margin(crossed, [0, 1], [0.75, 0.5], [0, 2], least=0.1).tolist() == [0.75, 1.25]
    assert overlap_margin(np.zeros((0, 5)), [], [], [0, 0]).tolist() == []


@pytest.mark.parametrize(
    ("labels", "scores", "offsets"), [([0], [0.5, 0.5], [0, 2]), ([0, 1], [0.5], [0, 2]), ([0, 1], [0.5, 0.5], [0, 1])]
)
def test_overlap_margin_refuses(labels, scores, offsets):
    with pytest.raises(ValueError, match=r"expected \(n, 5\) boxes"):
        overlap_margin([[5, 5, 4, 2, 0]] * 2, labels, scores, offsets)


def test_class_difficulty():
    """With alpha 1 and beta 1: 1 + ln((e - 1) / 2 + 1) for a class half mastered."""
    assert class_difficulty([0.5], 1, 1).tolist() == pytest.approx([1 + math.log((math.e - 1) / 2 + 1)])
    weights = class_difficulty(np.linspace(0, 1, 11))
    assert (np.diff(weights) < 0).all()
    for bad in ([1.1], [-0.1], [math.nan]):
        with pytest.raises(ValueError, match=r"expected a quality in \[0, 1\]"):
            class_difficulty(bad)
