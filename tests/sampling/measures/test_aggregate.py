"""Boxes -> images: hand values, and a plain loop as the oracle."""

import itertools

import numpy as np
import pytest

from al_rotate.sampling.measures.aggregate import aggregate, place_empty

# images: none | 1, 3, 2 | none | none | 8 | none
VALUES, OFFSETS = [1.0, 3.0, 2.0, 8.0], [0, 0, 3, 3, 3, 4, 4]


@pytest.mark.parametrize(
    ("options", "first", "second"),
    [
        ({}, 2.0, 8.0),
        ({"how": "mean"}, 2.0, 8.0),
        ({"how": "max"}, 3.0, 8.0),
        ({"how": "sum"}, 6.0, 8.0),
        ({"how": "top-k", "k": 1}, 3.0, 8.0),
        ({"how": "top-k", "k": 2}, 2.5, 8.0),
        ({"how": "top-k", "k": 9}, 2.0, 8.0),
    ],
)
def test_how_and_empty(options, first, second):
    scores = aggregate(VALUES, OFFSETS, **options)
    np.testing.assert_array_equal(scores, [np.nan, first, np.nan, np.nan, second, np.nan])
    high, mean = max(first, second), (first + second) / 2
    for rule, value in (("last", 0), ("first", high), ("mean", mean), ("missed", mean / 4)):
        placed = place_empty(scores, np.isnan(scores), rule, missed_rate=0.25)
        assert placed.tolist() == [value, first, value, value, second, value]


def test_last_is_below_negative_scores_too():
    assert place_empty([-1.0, 7.0, -3.0], [False, True, False], "last").tolist() == [-1, -3, -3]


@pytest.mark.parametrize("how", ["mean", "max", "sum", "top-k"])
def test_pools_without_a_box(how):
    assert aggregate([], [0], how).tolist() == []
    assert np.isnan(aggregate([], [0, 0, 0], how)).all()
    for rule in ("last", "first", "mean", "missed"):
        assert place_empty([np.nan, np.nan], [True, True], rule).tolist() == [0, 0]
        assert place_empty([], [], rule).tolist() == []


def test_weights_of_boxes():
    """Of 1, 3 and 2 that weigh 1, 0 and 3: (1 + 6) / 4; boxes that weigh nothing have the mean 0."""
    weights = [1, 0, 3, 0]
    np.testing.assert_array_equal(aggregate(VALUES, OFFSETS, "mean", weights=weights)[[1, 4]], [7 / 4, 0])
    np.testing.assert_array_equal(aggregate(VALUES, OFFSETS, "sum", weights=weights)[[1, 4]], [7, 0])
    for bad in ([1, 2], [1, 2, -1, 1], [1, 2, np.nan, 1]):
        with pytest.raises(ValueError, match="expected a finite weight >= 0 for each of 4 boxes"):
            aggregate(VALUES, OFFSETS, weights=bad)
    with pytest.raises(ValueError, match="expected how to be mean or sum with weights of boxes, got 'max'"):
        aggregate(VALUES, OFFSETS, "max", weights=[1, 1, 1, 1])


@pytest.mark.parametrize("seed", range(5))
def test_against_a_loop(seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 8, 60) * (rng.random(60) < 0.6)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    values = np.round(rng.random(offsets[-1]), 1)  # with ties
    rules = {"mean": np.mean, "max": np.max, "sum": np.sum, "top-k": lambda boxes: np.sort(boxes)[::-1][:3].mean()}
    for how, rule in rules.items():
        images = [values[a:b] for a, b in itertools.pairwise(offsets)]
        expected = [rule(boxes) if len(boxes) else np.nan for boxes in images]
        np.testing.assert_allclose(aggregate(values, offsets, how, k=3), expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0], [0, 1], "median"), "expected how to be one of mean, max, sum, top-k, got 'median'"),
        (([1.0], [0, 1], "top-k", 0), "expected an integer k >= 1, got 0"),
        (([1.0], [0, 1], "top-k", 1.5), "expected an integer k >= 1, got 1.5"),
        (([1.0, np.nan], [0, 2], "top-k"), "got nan for box 1"),
        (([np.inf], [0, 1]), "got inf for box 0"),
        (([[1.0]], [0, 1]), r"expected one value per box, \(N,\), got \(1, 1\)"),
        (([1.0], [0, 2]), "expected offsets to ascend from 0 to the 1 values"),
        (([1.0], [1, 1]), "expected offsets to ascend"),
        (([1.0, 1.0], [0, 2, 1, 2]), "expected offsets to ascend"),
        (([1.0], [0.0, 1.0]), "expected offsets of M.1 integers"),
        (([], []), "expected offsets of M.1 integers"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=message):
        aggregate(*arguments)


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="expected empty to be one of last, first, mean, missed, got 'drop'"):
        place_empty([1.0], [False], "drop")
