"""Rotated non-maximum suppression that compares only boxes that can overlap."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .iou import iou, near_pairs

__all__ = ["greedy", "nms"]

# rows (P,) and columns (P,) of boxes -> (P,) whether the first of each pair suppresses the second
Suppresses = Callable[[NDArray[np.intp], NDArray[np.intp]], NDArray[np.bool_]]


def nms(
    boxes: ArrayLike, scores: ArrayLike, labels: ArrayLike | None = None, iou_threshold: float = 0.1
) -> NDArray[np.intp]:
    """Suppress greedily every box that a kept box of its class with a higher score overlaps.

    Args:
        boxes: (N, 5) rotated boxes.
        scores: (N,); of equal scores the earlier row ranks first.
        labels: (N,); boxes of different labels do not suppress each other. None: all have the same label.
        iou_threshold: rotated IoU (computed in float64) from which a box is suppressed; above 0.

    Returns:
        (K,) rows of the kept boxes, by descending score.

    Raises:
        ValueError: for a threshold outside (0, 1] or different numbers of boxes, scores and labels.

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
    rows, columns = near_pairs(box)
    same = label[rows] == label[columns]

    def suppresses(i: NDArray[np.intp], j: NDArray[np.intp]) -> NDArray[np.bool_]:
        return iou(box[i], box[j], paired=True) >= iou_threshold

    return order[greedy(len(box), rows[same], columns[same], suppresses)]


def greedy(n: int, rows: NDArray[np.intp], columns: NDArray[np.intp], suppresses: Suppresses) -> NDArray[np.intp]:
    """Decide which of `n` ranked boxes remain when each one that remains suppresses worse ones.

    A box that no undecided better box could suppress remains. All such boxes suppress in one call, then the next ones
    are decided. Only pairs whose first box remains are compared, as in the sequential algorithm, but in few large
    calls.

    Args:
        n: number of boxes, numbered from the best to the worst.
        rows, columns: (P,) pairs row < column of which the first may suppress the second.
        suppresses: tells for such pairs whether it does.

    Returns:
        (K,) numbers of the boxes that remain, ascending.
    """
    remains = np.ones(n, bool)
    while len(rows):
        undecided = np.zeros(n, bool)
        undecided[columns] = True
        decided = ~undecided[rows]
        i, j = rows[decided], columns[decided]
        remains[j[suppresses(i, j)]] = False
        pending = ~decided & remains[rows] & remains[columns]
        rows, columns = rows[pending], columns[pending]
    return np.flatnonzero(remains)
