"""Good rows that point in different directions: determinantal point processes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .rows import checked

__all__ = ["determinantal"]


def determinantal(
    features: ArrayLike, n: int, quality: ArrayLike | None = None, ridge: float = 0.1
) -> NDArray[np.int64]:
    """Pick good rows that point in different directions: greedily, for the largest determinant of their kernel matrix.

    The fast greedy MAP inference of determinantal point processes (Chen, Zhang and Zhou, NeurIPS 2018, algorithm 1)
    with the kernel ``q_i q_j cos(i, j)``, and `ridge` on the cosines' diagonal, so that a pick is never worthless. A
    copy of a picked row still adds ``ridge (2 + ridge) / (1 + ridge)`` instead of ``1 + ridge``.

    Args:
        features: (n, d); rows of length 0 resemble no other.
        n: rows to pick; all of them if there are fewer. Memory is O(n rows * n picks).
        quality: (n,) > 0; None: all the same.
        ridge: > 0.
    """
    rows, n = checked(features, n)
    q = np.ones(len(rows)) if quality is None else np.asarray(quality, np.float64)
    if q.shape != (len(rows),) or not (q > 0).all() or not np.isfinite(q).all() or not ridge > 0:
        raise ValueError(f"expected a finite quality > 0 for each of {len(rows)} rows and a ridge > 0, got {q.shape}")
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = rows / np.where(lengths > 0, lengths, 1)
    remainder = np.where(lengths[:, 0] > 0, 1.0, 0.0) + ridge  # what a row would add, without its quality
    parts = np.zeros((n, len(rows)), rows.dtype)
    picked: list[int] = []
    while len(picked) < n:
        gain = np.log(q) * 2 + np.log(remainder)
        gain[picked] = -np.inf
        best = int(gain.argmax())
        step = len(picked)
        part = unit @ unit[best] - parts[:step].T @ parts[:step, best]
        part[best] += ridge
        parts[step] = part / np.sqrt(remainder[best])
        remainder = np.maximum(remainder - parts[step].astype(np.float64) ** 2, 1e-12)
        picked.append(best)
    return np.array(picked, np.int64)
