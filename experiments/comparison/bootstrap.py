"""mAP on many draws of the test images, for intervals: Efron's bootstrap, paired by its common draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

import al_rotate as al
from al_rotate.evaluation import true_positives

from ..learners.pools.overlaps import group

_RECALLS = np.arange(0, 1 + 1e-3, 0.1)  # al_rotate.evaluate averages the precision over these


def mean_ap(
    detections: al.RotatedInstances,
    labels: al.RotatedInstances,
    resamples: int,
    overlaps: Sequence[tuple[str, str]] = (),
    seed: int = 0,
    eval_mode: Literal["11points", "area"] = "11points",
) -> NDArray[np.float64]:
    """Evaluate mAP (rotated IoU 0.5) on each of `resamples` draws of the images with replacement.

    An image drawn twice counts twice. Draw k is the same for all detections on the same images, so that differences
    of two detectors are paired. A class without a label in a draw is left out of that draw's mean.

    Args:
        detections: with scores, on the images of `labels`.
        labels: the truth.
        resamples: draws.
        overlaps: pairs of images that show the same ground: they are drawn together.
        seed: of the draws.
        eval_mode: as of :func:`al_rotate.evaluate`.

    Returns:
        (resamples,).
    """
    detections = detections.subset(labels.image_ids)
    scores = np.zeros(0) if detections.scores is None else detections.scores
    ids = labels.image_ids.tolist()
    inside = {*ids}
    of = group(ids, [pair for pair in overlaps if {*pair} <= inside])
    numbers, member = np.unique([of[i] for i in ids], return_inverse=True)
    rng, m = np.random.default_rng(seed), len(numbers)
    weights = np.stack([np.bincount(rng.integers(0, m, m), minlength=m)[member] for _ in range(resamples)])
    return _weighted_mean_ap(detections, labels, scores, weights, eval_mode)


def _weighted_mean_ap(
    detections: al.RotatedInstances, labels: al.RotatedInstances, scores: NDArray, weights: NDArray, eval_mode: str
) -> NDArray[np.float64]:
    """mAP for each row of `weights` (draws x images), the number of times that each image counts."""
    hits = true_positives(detections, labels)
    order = np.argsort(-scores, kind="stable")
    n_classes = len(labels.classes or ()) or 1 + int(labels.labels.max(initial=0))
    label_counts = np.zeros((len(labels), n_classes))
    np.add.at(label_counts, (labels.image_index, labels.labels), 1)
    totals = weights @ label_counts  # (draws, classes)
    aps = np.full((len(weights), n_classes), np.nan)
    for number in range(n_classes):
        rows = order[detections.labels[order] == number]
        drawn = weights[:, detections.image_index[rows]]
        n_hits, n_drawn = np.cumsum(drawn * hits[rows], axis=1), np.cumsum(drawn, axis=1)
        precision = n_hits / np.maximum(n_drawn, 1)
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1] if len(rows) else np.zeros((len(weights), 0))
        for k, total in enumerate(totals[:, number]):
            if total and eval_mode == "area":
                aps[k, number] = best[k] @ np.diff(n_hits[k], prepend=0) / total
            elif total:
                # Where each recall is first reached; the best precision from there on counts.
                at = np.searchsorted(n_hits[k] / total, _RECALLS)
                aps[k, number] = np.mean(np.append(best[k], 0)[at])
    return np.nanmean(aps, axis=1)
