"""Comparison of learning curves: the area under them, labels saved, which strategy beats which.

A curve is mAP against what was labelled: images, boxes or seconds. Curves are compared over the range that all of them
cover; between rounds they are straight lines.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

__all__ = ["area", "common_range", "label_saving", "penalties", "reached"]

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]


def area(x: ArrayLike, y: ArrayLike, start: float | None = None, end: float | None = None) -> NDArray[np.float64]:
    """Compute the normalised area under a learning curve (AULC): its mean height between two points.

    Args:
        x: (K,) what was labelled, strictly ascending.
        y: (..., K) mAP there; several curves on the same x at once.
        start: of the interval; None: the first x.
        end: of the interval; None: the last x.

    Returns:
        (...) in the unit of y.

    Raises:
        ValueError: for x that does not rise, other shapes, or an interval that the curve does not cover.

    >>> float(area([0, 2, 4], [0.25, 0.5, 0.5]))
    0.4375
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    _check(x, y)
    start, end = float(x[0] if start is None else start), float(x[-1] if end is None else end)
    if not x[0] <= start < end <= x[-1]:
        raise ValueError(f"expected an interval within {x[0]:g} to {x[-1]:g}, got {start:g} to {end:g}")
    inside = x[(x > start) & (x < end)]
    at = np.concatenate([[start], inside, [end]])
    heights = _between(x, y, at)
    return ((heights[..., 1:] + heights[..., :-1]) / 2) @ np.diff(at) / (end - start)


def common_range(curves: Sequence[ArrayLike]) -> tuple[float, float]:
    """Return the range that all curves cover: the largest first x, and the smallest last one.

    Raises:
        ValueError: if there is none.
    """
    ends = [(float(np.min(x)), float(np.max(x))) for x in curves]
    start, end = max(first for first, _ in ends), min(last for _, last in ends)
    if start >= end:
        raise ValueError(f"expected curves that overlap, got one that starts at {start:g} and one that ends at {end:g}")
    return start, end


def reached(x: ArrayLike, y: ArrayLike, target: float) -> float:
    """Return the x at which a curve first reaches `target`, on the straight line between two rounds; NaN if never.

    >>> reached([10, 20, 40], [0.25, 0.5, 0.375], 0.375)
    15.0
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    _check(x, y)
    rounds = np.flatnonzero(y >= target)
    if not len(rounds):
        return float("nan")
    k = int(rounds[0])
    if k == 0:
        return float(x[0])
    return float(x[k - 1] + (x[k] - x[k - 1]) * (target - y[k - 1]) / (y[k] - y[k - 1]))


def label_saving(curve: Curve, reference: Curve, target: float | None = None) -> float:
    """Compute the share of labels that a strategy saves against a reference, up to the same mAP.

    Args:
        curve: x and mAP of the strategy.
        reference: those of the reference, usually random.
        target: mAP; None: the highest that the reference reaches.

    Returns:
        ``1 - x / x_reference``, where each first reaches the target; negative if the strategy needs more, NaN if one of
        them does not reach it.

    >>> label_saving(([10, 20, 30], [0.1, 0.3, 0.5]), ([10, 20, 40], [0.1, 0.2, 0.3]))
    0.5
    """
    target = float(np.max(reference[1])) if target is None else target
    return 1 - reached(*curve, target) / reached(*reference, target)


def penalties(curves: Mapping[str, Sequence[Curve]], points: int = 20, level: float = 0.05) -> pd.DataFrame:
    """Compute the pairwise penalty matrix: over which share of the range one strategy beats another, beyond chance.

    After Ash et al., "Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds" (ICLR 2020), section
    4.2: at each of `points` places in the range that both curves of a seed cover, row i scores ``1 / points`` against
    column j if a paired t-test over the seeds, two-sided at `level`, says that i is better. Theirs counts experiments
    on several data sets; this one covers a single one.

    Args:
        curves: strategy -> its curve of each seed, the same seeds in the same order for all.
        points: places to compare at, up to the end of the common range, without its start.
        level: of the test.

    Returns:
        (S, S) shares in [0, 1], strategies by name in the given order; row beats column. The mean of a column says how
        often a strategy is beaten.

    Raises:
        ValueError: for fewer than two seeds, or not the same number for all.
    """
    seeds = {len(of_strategy) for of_strategy in curves.values()}
    if len(seeds) != 1 or min(seeds) < 2:
        raise ValueError(f"expected curves of the same two seeds or more for each strategy, got {sorted(seeds)}")
    limit = float(stats.t.ppf(1 - level / 2, min(seeds) - 1))
    matrix = pd.DataFrame(0.0, list(curves), list(curves))
    for row, column in itertools.permutations(curves, 2):
        lead = np.array([_lead(a, b, points) for a, b in zip(curves[row], curves[column], strict=True)])
        mean, error = lead.mean(axis=0), lead.std(axis=0, ddof=1) / np.sqrt(len(lead))
        matrix.loc[row, column] = np.mean((mean > limit * error) & (mean > 1e-12))
    return matrix


def _lead(a: Curve, b: Curve, points: int) -> NDArray[np.float64]:
    """(points,) how far curve a is above b, over the range that both cover, without its start."""
    start, end = common_range([a[0], b[0]])
    at = np.linspace(start, end, points + 1)[1:]
    return np.interp(at, *a) - np.interp(at, *b)


def _check(x: NDArray, y: NDArray) -> None:
    if x.ndim != 1 or len(x) < 2 or y.shape[-1:] != x.shape or not (np.diff(x) > 0).all():
        raise ValueError(f"expected two points or more with rising x and a y for each, got {x.tolist()}, {y.shape}")


def _between(x: NDArray, y: NDArray, at: NDArray) -> NDArray[np.float64]:
    """Interpolate y (..., K) linearly at these places."""
    right = np.clip(np.searchsorted(x, at, side="left"), 1, len(x) - 1)
    share = (at - x[right - 1]) / (x[right] - x[right - 1])
    return y[..., right - 1] * (1 - share) + y[..., right] * share
