"""How unsure a detector is of a box: pure functions on arrays, higher means more worth labelling.

Each function takes either of what a detector can say of its ``n`` boxes:

- ``(n,)``: one confidence ``p`` a box, object against background;
- ``(n, C)``: the scores of all ``C`` foreground classes. These are **no distribution over the classes**, and nothing
  here makes them one. One-stage heads (RTMDet-R) give ``C`` independent sigmoids, whose rows sum to anything from 0 to
  ``C``; two-stage heads (Oriented R-CNN) give a softmax without its background column, whose rows sum to at most 1.
  The two cannot be told apart by their values, so that the measures are those that need not know: they neither
  renormalise a row (which would call a box of 0.01 and 0.01 as undecided as one of 0.5 and 0.5) nor add a background.

With one class only the background is left to be confused with, hence a single column ``(n, 1)`` counts as ``(n,)``.
Compare values of one detector and one kind of head only.

The three measures are those of Settles, "Active Learning Literature Survey" (2009), section 3.1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import entr

__all__ = ["entropy", "least_confidence", "margin"]

_BLOCK = 65_536  # rows in float64 at a time, so that millions of boxes of many classes need no second copy

Measure = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def least_confidence(scores: ArrayLike) -> NDArray[np.float64]:
    """One minus the (highest) score.

    Boxes just above the detector's score threshold come out on top, so that the threshold matters here more than
    anywhere else.

    Args:
        scores: (n,) confidences or (n, C) class scores, in [0, 1].

    Returns:
        (n,) in [0, 1].

    Raises:
        ValueError: for another shape, or a row with NaN or a value outside [0, 1].

    >>> least_confidence([0.75, 1.0]).tolist()
    [0.25, 0.0]
    """
    return _measure(scores, one=lambda p: 1 - p, many=lambda p: 1 - p.max(axis=1))


def margin(scores: ArrayLike) -> NDArray[np.float64]:
    """One minus the lead of the best answer over the second best.

    With one confidence the answers are object and background, ``1 - |p - (1 - p)|``; with class scores the two best
    classes, ``1 - (p1 - p2)``, whatever the background's share: a row of small scores is a row of a small lead.

    Args:
        scores: (n,) confidences or (n, C) class scores, in [0, 1].

    Returns:
        (n,) in [0, 1].

    Raises:
        ValueError: for another shape, or a row with NaN or a value outside [0, 1].

    >>> margin([0.5, 0.75]).tolist(), margin([[0.75, 0.5, 0.0]]).tolist()
    ([1.0, 0.5], [0.75])
    """
    return _measure(scores, one=lambda p: 1 - np.abs(2 * p - 1), many=_class_margin)


def entropy(scores: ArrayLike) -> NDArray[np.float64]:
    """Entropy in nats, with ``0 ln 0 = 0``.

    With one confidence the binary entropy ``-p ln p - (1 - p) ln(1 - p)``. With class scores ``-sum_c p_c ln p_c``
    over the foreground classes, not renormalised, as MUS-CDB takes it (arXiv 2212.02804). For both kinds of head that
    is a sum of one bump a class, highest at ``p_c = 1/e``, and no entropy of a distribution in the strict sense: one
    class at 0.5 and the others at 0 give 0.35, where the binary entropy gives 0.69.

    Args:
        scores: (n,) confidences or (n, C) class scores, in [0, 1].

    Returns:
        (n,) from 0 to ln 2 (one confidence) or C/e (class scores).

    Raises:
        ValueError: for another shape, or a row with NaN or a value outside [0, 1].

    >>> entropy([0.5, 1.0]).round(4).tolist(), entropy([[0.5, 0.5, 0.0]]).round(4).tolist()
    ([0.6931, 0.0], [0.6931])
    """
    return _measure(scores, one=lambda p: entr(p) + entr(1 - p), many=lambda p: entr(p).sum(axis=1))


def _class_margin(p: NDArray[np.float64]) -> NDArray[np.float64]:
    best = np.partition(p, -2, axis=1)
    return 1 - (best[:, -1] - best[:, -2])


def _measure(scores: ArrayLike, one: Measure, many: Measure) -> NDArray[np.float64]:
    """`one` of confidences (n,) or `many` of class scores (n, C)."""
    array = np.asarray(scores)
    if array.ndim not in (1, 2):
        raise ValueError(f"expected scores of shape (n,) or (n, C), got {array.shape}")
    result = np.empty(len(array))
    if not len(array):
        return result
    if array.ndim == 2 and array.shape[1] == 0:
        raise ValueError(f"expected scores of one class or more, got {array.shape}")
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    for start in range(0, len(array), _BLOCK):
        block = np.ascontiguousarray(array[start : start + _BLOCK], np.float64)
        ok = (block >= 0) & (block <= 1)  # False for NaN
        if not ok.all():
            row = int(np.flatnonzero(~ok.reshape(len(block), -1).all(axis=1))[0])
            raise ValueError(f"expected scores in [0, 1], got {block[row].tolist()} in row {start + row}")
        result[start : start + _BLOCK] = (one if array.ndim == 1 else many)(block)
    return result
