"""Rotated mean average precision, equal to that of MMRotate's ``DOTAMetric``, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .. import boxes
from ..data import RotatedInstances

COCO_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))


@dataclass(frozen=True)
class Evaluation:
    """Rotated average precision.

    Attributes:
        mean_ap: mean over the classes that have a label, and over the IoU thresholds; 0 where no class has one.
        per_class: one row per class: class, labels, detections, recall and ap, both averaged over the thresholds;
            ap is NaN for a class without a label.
        thresholds: the rotated IoUs from which a detection counts as a hit.
    """

    mean_ap: float
    per_class: pd.DataFrame
    thresholds: tuple[float, ...]

    def metrics(self) -> dict[str, float]:
        """Return flat values for a log or a JSON file: mAP, and AP/class for every class that has a label."""
        labelled = self.per_class[self.per_class["labels"] > 0]
        return {"mAP": self.mean_ap, **{f"AP/{row['class']}": float(row["ap"]) for _, row in labelled.iterrows()}}


def evaluate(
    detections: RotatedInstances,
    labels: RotatedInstances,
    iou_threshold: float | Sequence[float] = 0.5,
    eval_mode: Literal["11points", "area"] = "11points",
) -> Evaluation:
    """Compute the rotated mAP of detections against labels.

    A detection is a hit when the label of its class that it overlaps most reaches the threshold and no detection
    of a higher score has taken that label. As in ``DOTAMetric``, labels marked difficult count like the others
    and the default is the 11-point average of PASCAL VOC 2007; ``eval_mode="area"`` is VOC 2012's area.

    Args:
        detections: with scores, for at least the images of `labels`; other images are ignored.
        labels: the ground truth; images without a label count (their detections are false positives).
        iou_threshold: one rotated IoU (0.5: AP50), or several to average over
            (``COCO_THRESHOLDS``: 0.5, 0.55, ... 0.95).
        eval_mode: how the precision-recall curve becomes one number.

    Raises:
        ValueError: if classes differ, scores are missing, or an image of `labels` has no entry in `detections`.
    """
    thresholds = tuple(np.atleast_1d(np.asarray(iou_threshold, float)).tolist())
    if not thresholds or not all(0 < t <= 1 for t in thresholds):
        raise ValueError(f"expected iou_threshold in (0, 1], got {iou_threshold}")
    if eval_mode not in ("11points", "area"):
        raise ValueError(f"expected eval_mode 11points or area, got {eval_mode!r}")
    detections = _on_images_of(detections, labels)
    scores = np.zeros(0) if detections.scores is None else detections.scores
    classes = labels.classes or detections.classes
    names = classes or tuple(
        map(str, range(1 + int(max(labels.labels.max(initial=-1), detections.labels.max(initial=-1)))))
    )
    overlap, label_row = best_overlaps(detections, labels)
    order = np.argsort(-scores, kind="stable")

    rows = []
    for number, name in enumerate(names):
        of_class = order[detections.labels[order] == number]
        total = int((labels.labels == number).sum())
        hits = [_hits(overlap[of_class], label_row[of_class], threshold) for threshold in thresholds]
        recall = [hit.sum() / total for hit in hits] if total else [np.nan]
        ap = [average_precision(hit, total, eval_mode) for hit in hits] if total else [np.nan]
        rows.append((name, total, len(of_class), float(np.mean(recall)), float(np.mean(ap))))
    per_class = pd.DataFrame(rows, columns=["class", "labels", "detections", "recall", "ap"])
    aps = per_class.loc[per_class["labels"] > 0, "ap"]
    return Evaluation(float(aps.mean()) if len(aps) else 0.0, per_class, thresholds)


def best_overlaps(detections: RotatedInstances, labels: RotatedInstances) -> tuple[NDArray, NDArray]:
    """Find, for every detection, the label of its image and class that it overlaps most.

    Returns:
        The rotated IoU (N,) and the label's row (N,); 0 and -1 if it overlaps none of that class.
    """
    overlap, row = np.zeros(detections.n_boxes), np.full(detections.n_boxes, -1)
    for position, image_id in enumerate(detections.image_ids):
        start, end = detections.offsets[position : position + 2]
        at = labels.position(image_id)
        first, last = labels.offsets[at : at + 2]
        if start == end or first == last:
            continue
        ious = boxes.iou(detections.boxes[start:end], labels.boxes[first:last])
        ious[detections.labels[start:end, None] != labels.labels[None, first:last]] = 0
        best = ious.argmax(axis=1)
        overlap[start:end] = ious[np.arange(len(best)), best]
        row[start:end] = np.where(overlap[start:end] > 0, best + first, -1)
    return overlap, row


def true_positives(
    detections: RotatedInstances, labels: RotatedInstances, iou_threshold: float = 0.5
) -> NDArray[np.bool_]:
    """Tell which detections are hits, as :func:`evaluate` counts them: of two on one label, the higher-scored one.

    Args:
        detections: with scores, on images of `labels`.
        labels: the ground truth.
        iou_threshold: the rotated IoU from which a detection is a hit.

    Returns:
        (N,) in the order of the detections.

    Raises:
        ValueError: without scores.
        KeyError: for an image without labels.
    """
    if detections.scores is None:
        if detections.n_boxes:
            raise ValueError("expected detections with scores, got labels")
        return np.zeros(0, bool)
    overlap, label_row = best_overlaps(detections, labels)
    order = np.argsort(-detections.scores, kind="stable")
    hits = np.zeros(detections.n_boxes, bool)
    hits[order] = _hits(overlap[order], label_row[order], iou_threshold)
    return hits


def average_precision(hits: NDArray[np.bool_], labels: int, mode: Literal["11points", "area"] = "11points") -> float:
    """Compute the average precision of detections sorted from the most to the least confident.

    Args:
        hits: (N,) whether each is a true positive.
        labels: the number of labels, at least 1.
        mode: ``11points`` (mean of the best precision at recall 0, 0.1, ... 1) or ``area`` (under the curve,
            with precision made monotonically decreasing).
    """
    true_positive = np.cumsum(hits)
    recall, precision = true_positive / labels, true_positive / np.arange(1, len(hits) + 1)
    if mode == "11points":
        points = np.arange(0, 1 + 1e-3, 0.1)
        return float(np.mean([precision[recall >= point].max(initial=0) for point in points]))
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * envelope))


def _hits(overlap: NDArray, label_row: NDArray, threshold: float) -> NDArray[np.bool_]:
    """Which detections, in descending order of score, are the first to reach their label."""
    reach = np.flatnonzero(overlap >= threshold)
    hits = np.zeros(len(overlap), bool)
    _, first = np.unique(label_row[reach], return_index=True)
    hits[reach[first]] = True
    return hits


def _on_images_of(detections: RotatedInstances, labels: RotatedInstances) -> RotatedInstances:
    if detections.scores is None and detections.n_boxes:
        raise ValueError("expected detections with scores, got labels")
    if None not in (detections.classes, labels.classes) and detections.classes != labels.classes:
        raise ValueError(f"expected detections of the classes {labels.classes}, got {detections.classes}")
    missing = [image_id for image_id in labels.image_ids if image_id not in detections]
    if missing:
        hint = detections.skipped.get(missing[0], "predict on it first")
        raise ValueError(
            f"expected detections on all labelled images, got none for {len(missing)}, e.g. {missing[0]!r}: {hint}"
        )
    return detections.subset(labels.image_ids)
