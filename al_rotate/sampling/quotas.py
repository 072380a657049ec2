"""How much of a query each class shall have: more for the classes that few labels show."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["class_balance", "fill", "rarity"]


def class_balance(labelled: ArrayLike, budget: float) -> NDArray[np.float64]:
    """MUS-CDB's quotas: ``B softmax_c(1 - n_c / sum n)``.

    Liang et al., "MUS-CDB" (TGRS 2023, arXiv 2212.02804); from the published code's reading. The exponents lie in
    [0, 1], so that no class gets more than e times what another gets.

    Args:
        labelled: (C,) labelled boxes of each class so far.
        budget: boxes to share out.

    Returns:
        (C,) summing to `budget`; even shares when nothing is labelled.

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
    """PAL's quotas: ``min(n_cu, B r_c / sum r)`` with ``r_c = 1 - (n_cl / N_l + n_cu / N_u) / 2``.

    From the digest of arXiv 2605.10349, not checked against its code. What a class cannot use (its predicted boxes are
    fewer than its share) is not given to others.

    Args:
        labelled: (C,) labelled boxes of each class.
        unlabelled: (C,) predicted boxes of each class in the pool.
        budget: boxes to share out.

    Returns:
        (C,) summing to at most `budget`.

    Raises:
        ValueError: as for :func:`class_balance`.
    """
    known, pool = _counts(labelled, budget), _counts(unlabelled, budget)
    if known.shape != pool.shape:
        raise ValueError(f"expected counts of the same classes, got {len(known)} and {len(pool)}")
    common = sum(counts / max(counts.sum(), 1) for counts in (known, pool)) / 2
    rare = 1 - common
    even = np.full(len(rare), budget / len(rare))
    return np.minimum(pool, budget * rare / rare.sum() if rare.sum() > 0 else even)


def fill(order: ArrayLike, contents: ArrayLike, quotas: ArrayLike, n: int) -> NDArray[np.int64]:
    """Walk down a ranking and take the rows whose classes are still wanted; then, if need be, the best of the rest.

    A row is wanted as long as one of the classes that it holds has not reached its quota. The second walk ignores the
    quotas, as MUS-CDB's second pass does.

    Args:
        order: (M,) row numbers, best first.
        contents: (M, C) what each row holds of each class, by row number.
        quotas: (C,) of the whole selection.
        n: rows to take; all where there are fewer.

    Returns:
        (n,) row numbers in the order in which they were taken.

    Raises:
        ValueError: for shapes that do not fit, or when `order` is no order of the rows.

    >>> fill([2, 0, 1], [[1, 0], [0, 1], [3, 0]], [2, 1], 2).tolist()
    [2, 1]
    """
    rows, held = np.asarray(order), np.asarray(contents, np.float64)
    wanted = np.asarray(quotas, np.float64).copy()
    if held.ndim != 2 or wanted.shape != held.shape[1:] or sorted(rows.tolist()) != list(range(len(held))):
        raise ValueError(f"expected an order of (M, C) contents and (C,) quotas, got {held.shape} and {wanted.shape}")
    first: list[int] = []
    rest: list[int] = []
    for row in rows.tolist():
        if len(first) < n and ((held[row] > 0) & (wanted > 0)).any():
            first.append(row)
            wanted -= held[row]
        else:
            rest.append(row)
    return np.array([*first, *rest][:n], np.int64)


def _counts(values: ArrayLike, budget: float) -> NDArray[np.float64]:
    counts = np.asarray(values, np.float64)
    if counts.ndim != 1 or not len(counts) or not (counts >= 0).all() or not np.isfinite(counts).all():
        raise ValueError(f"expected counts >= 0 of each class, got {values!r}")
    if not budget > 0:
        raise ValueError(f"expected a budget above 0, got {budget}")
    return counts
