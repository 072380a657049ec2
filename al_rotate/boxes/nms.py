"""Rotated non-maximum suppression that looks only at boxes that may overlap."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import boxes as rboxes

__all__ = ["greedy", "nms"]

# rows (P,) and columns (P,) of boxes -> (P,) whether the first suppresses the second
Suppresses = Callable[[NDArray[np.intp], NDArray[np.intp]], NDArray[np.bool_]]


def nms(
    boxes: ArrayLike, scores: ArrayLike, labels: ArrayLike | None = None, iou_threshold: float = 0.1
) -> NDArray[np.intp]:
    """Rows that greedy suppression keeps: a box goes when one of its class with a higher score overlaps it enough.

    Args:
        boxes: (N, 5) rotated boxes.
        scores: (N,); of equal ones the earlier row goes first.
        labels: (N,) boxes of different labels do not suppress each other; None: all are of one.
        iou_threshold: the rotated IoU, computed in float64, from which a box is suppressed; above 0.

    Returns:
        (K,) rows, by descending score.

    Raises:
        ValueError: for a threshold outside (0, 1] or lengths that do not fit.

    >>> nms([[5, 5, 8, 4, 0], [5, 5, 8, 3, 0], [50, 5, 8, 4, 0]], [0.5, 0.9, 0.3]).tolist()
    [1, 2]
    """
    box: NDArray = np.asarray(boxes, np.float64).reshape(-1, 5)
    score = np.asarray(scores)
    label = np.zeros(len(box), np.int64) if labels is None else np.asarray(labels)
    if not 0 < iou_threshold <= 1:
        raise ValueError(f"expected an IoU threshold in (0, 1], got {iou_threshold}")
    if score.shape != (len(box),) or label.shape != (len(box),):
        raise ValueError(f"expected {len(box)} scores and labels, got {score.shape} and {label.shape}")
    order = np.argsort(-score, kind="stable")
    box, label = box[order], label[order]
    rows, columns = rboxes.near_pairs(box)
    same = label[rows] == label[columns]
    overlaps: Suppresses = lambda i, j: rboxes.iou(box[i], box[j], paired=True) >= iou_threshold  # noqa: E731
    return order[greedy(len(box), rows[same], columns[same], overlaps)]


def greedy(n: int, rows: NDArray[np.intp], columns: NDArray[np.intp], suppresses: Suppresses) -> NDArray[np.intp]:
    """What is left of `n` boxes, the best first, when each one left suppresses worse ones.

    Boxes that no undecided better one can touch are left; all of them suppress at once, and so on. So the same
    pairs are compared as one after the other, but in a few large calls.

    Args:
        n: how many boxes, numbered from the best to the worst.
        rows, columns: (P,) the pairs row < column that may suppress.
        suppresses: says of such pairs which really do.

    Returns:
        (K,) numbers of those left, ascending.
    """
    left = np.ones(n, bool)
    while len(rows):
        waits = np.zeros(n, bool)
        waits[columns] = True
        ready = ~waits[rows]
        i, j = rows[ready], columns[ready]
        left[j[suppresses(i, j)]] = False
        going_on = ~ready & left[rows] & left[columns]
        rows, columns = rows[going_on], columns[going_on]
    return np.flatnonzero(left)
