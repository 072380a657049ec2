"""Uncertainty of boxes: pure functions on arrays; higher means more worth labelling.

Each function takes either kind of scores of a detector's ``n`` boxes:

- ``(n,)``: one confidence ``p`` per box, object against background;
- ``(n, C)``: the scores of all ``C`` foreground classes. These are **no distribution over the classes**, and nothing
  here makes them one. One-stage heads (RTMDet-R) give ``C`` independent sigmoids, whose rows sum to anything from 0 to
  ``C``; two-stage heads (Oriented R-CNN) give a softmax without its background column, whose rows sum to at most 1.
  The values do not tell the two apart, so the measures are ones that need not know: they neither renormalise a row
  (which would call a box of 0.01 and 0.01 as undecided as one of 0.5 and 0.5) nor add a background.

With one class, only the background is left to be confused with, so a single column ``(n, 1)`` counts as ``(n,)``.
Compare values of one detector and one kind of head only.

The three measures are those of Settles, "Active Learning Literature Survey" (2009), section 3.1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import entr

from ...boxes import iou, near_pairs

__all__ = ["class_difficulty", "entropy", "least_confidence", "margin", "overlap_margin"]

_BLOCK = 65_536  # rows converted to float64 at a time: millions of boxes of many classes need no second copy

Measure = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def least_confidence(scores: ArrayLike) -> NDArray[np.float64]:
    """Compute one minus the (highest) score.

    Boxes just above the detector's score threshold come first, so the threshold matters here more than anywhere else.

    Args:
        scores: (n,) confidences or (n, C) class scores, in [0, 1].

    Returns:
        (n,) in [0, 1].

    Raises:
        ValueError: for another shape, or a row with NaN or a value outside [0, 1].

    >>> least_confidence([0.75, 1.0]).tolist()
    [0.25, 0.0]
    """
    return _measure(scores, lambda p: 1 - p, lambda p: 1 - p.max(axis=1))


def margin(scores: ArrayLike) -> NDArray[np.float64]:
    """Compute one minus the lead of the best answer over the second best.

    With one confidence the answers are object and background, ``1 - |p - (1 - p)|``; with class scores the two best
    classes, ``1 - (p1 - p2)``, whatever the background's share: a row of small scores has a small lead.

    Args:
        scores: (n,) confidences or (n, C) class scores, in [0, 1].

    Returns:
        (n,) in [0, 1].

    Raises:
        ValueError: for another shape, or a row with NaN or a value outside [0, 1].

    >>> margin([0.5, 0.75]).tolist(), margin([[0.75, 0.5, 0.0]]).tolist()
    ([1.0, 0.5], [0.75])
    """
    return _measure(scores, lambda p: 1 - np.abs(2 * p - 1), _class_margin)


def entropy(scores: ArrayLike) -> NDArray[np.float64]:
    """Compute the entropy in nats, with ``0 ln 0 = 0``.

    With one confidence the binary entropy ``-p ln p - (1 - p) ln(1 - p)``. With class scores ``-sum_c p_c ln p_c``
    over the foreground classes, not renormalised, as in MUS-CDB (arXiv 2212.02804). For both kinds of head that is a
    sum of one bump per class, highest at ``p_c = 1/e``, and not the entropy of a distribution: one class at 0.5 and the
    others at 0 give 0.35, where the binary entropy gives 0.69.

    Args:
        scores: (n,) confidences or (n, C) class scores, in [0, 1].

    Returns:
        (n,) from 0 to ln 2 (one confidence) or C/e (class scores).

    Raises:
        ValueError: for another shape, or a row with NaN or a value outside [0, 1].

    >>> entropy([0.5, 1.0]).round(4).tolist(), entropy([[0.5, 0.5, 0.0]]).round(4).tolist()
    ([0.6931, 0.0], [0.6931])
    """
    return _measure(scores, lambda p: entr(p) + entr(1 - p), lambda p: entr(p).sum(axis=1))


def overlap_margin(
    boxes: ArrayLike, labels: ArrayLike, scores: ArrayLike, offsets: ArrayLike, least: float = 0.5
) -> NDArray[np.float64]:
    """Compute one minus the lead over the best box of another class at the same place.

    The class margin for detectors that give a box one class: ``1 - (p - p')``, where p' is the highest score among the
    image's boxes of other classes whose rotated IoU with the box is at least `least`, 0 if there is none. Class-wise
    NMS keeps such pairs. It is 1 if both classes have the same score, and above 1 if the other one's is higher.

    Args:
        boxes: (n, 5).
        labels: (n,) classes.
        scores: (n,) in [0, 1].
        offsets: (M+1,) the boxes of image ``i`` are ``offsets[i]:offsets[i + 1]``.
        least: rotated IoU from which two boxes are at the same place.

    Returns:
        (n,) in [0, 2].

    Raises:
        ValueError: for shapes that do not fit, or a score outside [0, 1].

    >>> two = [[50, 50, 20, 10, 0], [51, 50, 20, 10, 0]]
    >>> overlap_margin(two, [0, 1], [0.75, 0.5], [0, 2]).tolist()
    [0.75, 1.25]
    """
    at, classes = np.asarray(boxes, np.float64).reshape(-1, 5), np.asarray(labels)
    result = least_confidence(scores)
    bounds = np.asarray(offsets)
    if not len(at) == len(classes) == len(result) or result.ndim != 1 or bounds.ndim != 1 or bounds[-1] != len(at):
        raise ValueError(f"expected (n, 5) boxes, n labels and scores, and offsets up to n, got {len(at)} boxes")
    p = 1 - result
    for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        rows, columns = near_pairs(at[start:stop], at[start:stop]) if stop - start > 1 else ((), ())
        a, b = np.asarray(rows, np.int64) + start, np.asarray(columns, np.int64) + start
        rival = classes[a] != classes[b]
        a, b = a[rival], b[rival]
        near = iou(at[a], at[b], paired=True) >= least
        best = np.zeros(stop - start)
        np.maximum.at(best, a[near] - start, p[b[near]])
        result[start:stop] += best
    return result


def class_difficulty(quality: ArrayLike, alpha: float = 0.3, beta: float = 0.2) -> NDArray[np.float64]:
    """Compute PPAL's weight of each class: ``1 + alpha beta ln((e^(1/alpha) - 1) (1 - q_c) + 1)``.

    Yang et al., "Plug and Play Active Learning for Object Detection" (CVPR 2024), difficulty calibrated uncertainty
    sampling: the weight of a box's binary entropy. From 1 for a class that is mastered to ``1 + beta``.

    Args:
        quality: (C,) in [0, 1], how well the detector does on each class: PPAL's moving average of p^0.6 IoU^0.4 over
            its training objects, or the same mean over labelled images.
        alpha, beta: shape and size of the weight.

    Raises:
        ValueError: for a quality outside [0, 1].

    >>> class_difficulty([1.0, 0.0]).round(6).tolist()
    [1.0, 1.2]
    """
    q = np.asarray(quality, np.float64)
    if not ((q >= 0) & (q <= 1)).all():
        raise ValueError(f"expected a quality in [0, 1] for each class, got {quality!r}")
    return 1 + alpha * beta * np.log(np.expm1(1 / alpha) * (1 - q) + 1)


def _class_margin(p: NDArray[np.float64]) -> NDArray[np.float64]:
    best = np.partition(p, -2, axis=1)
    return 1 - (best[:, -1] - best[:, -2])


def _measure(scores: ArrayLike, of_confidences: Measure, of_class_scores: Measure) -> NDArray[np.float64]:
    """Check the scores and apply the measure for their shape, (n,) or (n, C), in blocks."""
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
    measure = of_confidences if array.ndim == 1 else of_class_scores
    for start in range(0, len(array), _BLOCK):
        block = np.ascontiguousarray(array[start : start + _BLOCK], np.float64)
        ok = (block >= 0) & (block <= 1)  # False for NaN
        if not ok.all():
            row = int(np.flatnonzero(~ok.reshape(len(block), -1).all(axis=1))[0])
            raise ValueError(f"expected scores in [0, 1], got {block[row].tolist()} in row {start + row}")
        result[start : start + _BLOCK] = measure(block)
    return result
