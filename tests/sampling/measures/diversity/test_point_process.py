"""Determinantal point processes: against determinants, step by step."""

import numpy as np

from al_rotate.sampling.measures.diversity import determinantal


def rng(seed=0):
    return np.random.default_rng(seed)


def test_the_largest_determinant_step_by_step():
    rows, quality = rng(4).normal(size=(12, 3)), rng(5).uniform(0.5, 2, 12)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    kernel = quality[:, None] * (unit @ unit.T + 0.1 * np.eye(12)) * quality
    picked = []
    for _ in range(6):
        others = [k for k in range(12) if k not in picked]
        picked.append(max(others, key=lambda k: np.linalg.det(kernel[np.ix_([*picked, k], [*picked, k])])))
    assert determinantal(rows, 6, quality).tolist() == picked


def test_copies_are_worth_little_and_good_ones_more():
    rows = [[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]
    assert determinantal(rows, 3).tolist() == [0, 2, 1]
    assert determinantal(rows, 3, [1, 1.1, 0.9]).tolist() == [1, 2, 0]
    # Worth 0.19 of 1.1 to begin with, a copy goes first where it is three times as good (squares count).
    assert determinantal(rows, 2, [1, 1, 0.3]).tolist() == [0, 1]
    assert sorted(determinantal([[0.0, 0.0]] * 3, 3).tolist()) == [0, 1, 2]
