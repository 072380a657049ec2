"""Quotas: how much of a query each class gets, more for classes with few labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["class_balance", "draw", "rarity"]


def class_balance(labelled: ArrayLike, budget: float) -> NDArray[np.float64]:
    """Compute MUS-CDB's quotas: ``B softmax_c(1 - n_c / sum n)``.

    Liang et al., "MUS-CDB" (TGRS 2023, arXiv 2212.02804), after reading the published code. The exponents lie in
    [0, 1], so no class gets more than e times what another gets.

    Args:
        labelled: (C,) labelled boxes of each class so far.
        budget: boxes to share out.

    Returns:
        (C,) summing to `budget`; even shares if nothing is labelled.

    Raises:
        ValueError: for another shape, negative counts, or a budget that is not positive.

    >>> class_balance([0, 0], 10).tolist()
    [5.0, 5.0]
    """
    counts = _counts(labelled, budget)
    total = counts.sum()
    share = np.exp(1 - counts / total) if total else np.ones(len(counts))
    return budget * share / share.sum()


def rarity(labelled: ArrayLike, unlabelled: ArrayLike, budget: float) -> NDArray[np.float64]:
    """Compute PAL's quotas: ``min(n_cu, B r_c / sum r)`` with ``r_c = 1 - (n_cl / N_l + n_cu / N_u) / 2``.

    From a digest of arXiv 2605.10349, not checked against its code. What a class cannot use, because its predicted
    boxes are fewer than its share, is not given to others.

    Args:
        labelled: (C,) labelled boxes of each class.
        unlabelled: (C,) predicted boxes of each class in the pool.
        budget: boxes to share out.

    Returns:
        (C,) summing to at most `budget`.

    Raises:
        ValueError: as for :func:`class_balance`.
    """
    labels, pool = _counts(labelled, budget), _counts(unlabelled, budget)
    if labels.shape != pool.shape:
        raise ValueError(f"expected counts of the same classes, got {len(labels)} and {len(pool)}")
    rare = 1 - sum(counts / max(counts.sum(), 1) for counts in (labels, pool)) / 2
    even = np.full(len(rare), budget / len(rare))
    return np.minimum(pool, budget * rare / rare.sum() if rare.sum() > 0 else even)


def draw(worth: ArrayLike, contents: ArrayLike, quotas: ArrayLike, n: int) -> tuple[NDArray, NDArray]:
    """Take the images with the best boxes of the classes whose quota is not used up; then, if need be, the best others.

    The first pass goes from the best box down. As long as the quota of its class is not used up, a box brings its
    image, and with it all that the image holds, of whatever class. The second pass ignores the quotas, as MUS-CDB's
    does.

    Args:
        worth: (M, C) the best box of each class in each image; NaN where it holds none.
        contents: (M, C) boxes of each class in each image, expected or counted.
        quotas: (C,) of the whole selection.
        n: images to take; all if there are fewer. Those without a box come last.

    Returns:
        (n,) row numbers in the order taken, and (n,) the class that each was taken for, -1 in the second pass.

    Raises:
        ValueError: for shapes that do not fit.

    >>> draw([[0.9, np.nan], [0.8, np.nan], [np.nan, 0.1]], [[2, 0], [2, 0], [0, 1]], [1, 1], 3)[0].tolist()
    [0, 2, 1]
    """
    values, held = np.asarray(worth, np.float64), np.asarray(contents, np.float64)
    wanted = np.asarray(quotas, np.float64).copy()
    if values.ndim != 2 or held.shape != values.shape or wanted.shape != values.shape[1:]:
        raise ValueError(f"expected (M, C), (M, C) and (C,), got {values.shape}, {held.shape} and {wanted.shape}")
    rows, classes = np.nonzero(~np.isnan(values))
    order = np.lexsort((classes, rows, -values[rows, classes]))
    taken: dict[int, int] = {}
    for row, label in zip(rows[order].tolist(), classes[order].tolist(), strict=True):
        if len(taken) >= n or not (wanted > 0).any():
            break
        if row not in taken and wanted[label] > 0:
            taken[row] = label
            wanted -= held[row]
    best = np.where(np.isnan(values), -np.inf, values).max(axis=1, initial=-np.inf)
    rest = [row for row in np.argsort(-best, kind="stable").tolist() if row not in taken][: max(0, n - len(taken))]
    return np.array([*taken, *rest], np.int64), np.array([*taken.values(), *[-1] * len(rest)], np.int64)


def _counts(values: ArrayLike, budget: float) -> NDArray[np.float64]:
    counts = np.asarray(values, np.float64)
    if counts.ndim != 1 or not len(counts) or not (counts >= 0).all() or not np.isfinite(counts).all():
        raise ValueError(f"expected counts >= 0 of each class, got {values!r}")
    if not budget > 0:
        raise ValueError(f"expected a budget above 0, got {budget}")
    return counts
