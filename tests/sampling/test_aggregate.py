"""Boxes -> images: hand values, and a plain loop as the oracle."""

import itertools

import numpy as np
import pytest

from al_rotate.sampling.aggregate import aggregate

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
    assert aggregate(VALUES, OFFSETS, **options).tolist() == [0, first, 0, 0, second, 0]
    high, mean = max(first, second), (first + second) / 2
    assert aggregate(VALUES, OFFSETS, empty="first", **options).tolist() == [high, first, high, high, second, high]
    assert aggregate(VALUES, OFFSETS, empty="mean", **options).tolist() == [mean, first, mean, mean, second, mean]


@pytest.mark.parametrize("empty", ["last", "first", "mean"])
@pytest.mark.parametrize("how", ["mean", "max", "sum", "top-k"])
def test_pools_without_a_box(how, empty):
    assert aggregate([], [0], how, empty=empty).tolist() == []
    assert aggregate([], [0, 0, 0], how, empty=empty).tolist() == [0, 0]


@pytest.mark.parametrize("seed", range(5))
def test_against_a_loop(seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 8, 60) * (rng.random(60) < 0.6)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    values = np.round(rng.random(offsets[-1]), 1)  # with ties
    rules = {"mean": np.mean, "max": np.max, "sum": np.sum, "top-k": lambda boxes: np.sort(boxes)[::-1][:3].mean()}
    for how, rule in rules.items():
        images = [values[a:b] for a, b in itertools.pairwise(offsets)]
        expected = [rule(boxes) if len(boxes) else 0.0 for boxes in images]
        np.testing.assert_allclose(aggregate(values, offsets, how, k=3), expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0], [0, 1], "median"), "expected how to be one of mean, max, sum, top-k, got 'median'"),
        (([1.0], [0, 1], "mean", 1, "drop"), "expected empty to be one of last, first, mean, got 'drop'"),
        (([1.0], [0, 1], "top-k", 0), "expected an integer k >= 1, got 0"),
        (([1.0], [0, 1], "top-k", 1.5), "expected an integer k >= 1, got 1.5"),
        (([1.0, np.nan], [0, 2], "top-k"), "got nan for box 1"),
        (([1.0, -1.0], [0, 2]), "got -1.0 for box 1"),
        (([np.inf], [0, 1]), "got inf for box 0"),
        (([[1.0]], [0, 1]), r"expected one value a box, \(N,\), got \(1, 1\)"),
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
