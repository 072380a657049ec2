"""Strategies that first shorten the pool by uncertainty, then pick from the shortlist."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon

from ...data import RotatedInstances
from ...data.views import View
from ...evaluation import best_overlaps
from ..context import QueryContext
from ..measures import consistency, distances, diversity, uncertainty
from ..measures.aggregate import aggregate, place_empty
from ..measures.per_image import n_classes, sums, sums_by_class
from .base import DECIMALS, BatchStrategy, Picks, Rng

__all__ = ["cald", "ppal"]

_FLIP: Sequence[View] = (View(flip=True),)


def cald(views: Sequence[View] = _FLIP, shortlist: float = 1.2) -> BatchStrategy:
    """Pick images that a flip changes, and of these the ones whose classes the labels show least.

    Yu et al., "Consistency-based Active Learning for Object Detection" (CVPRW 2022, arXiv 2103.10374). Stage one: the
    box whose agreement is farthest below, or above, the expected 1.3, see
    :func:`al_rotate.sampling.consistency.cald`, in the mean over views. Stage two, of ``shortlist * n`` images: the
    largest Jensen-Shannon divergence between the image's predicted classes and the labels'; from memory in its details.
    They also cut out, resize and shrink; here a flip, or the views that you give.

    Args:
        views: to compare with.
        shortlist: images of the first stage for each one picked, at least 1.
    """
    _check_shortlist(shortlist)

    def pick(candidates: RotatedInstances, n: int, rng: Rng, context: QueryContext) -> Picks:
        inconsistency: NDArray = np.zeros(len(candidates))
        if candidates.n_boxes:
            matches = consistency.match(candidates, context.predict_views(candidates.image_ids.tolist(), views))
            per_view = consistency.cald(matches, np.asarray(candidates.scores)).T
            inconsistency = np.mean([aggregate(values, candidates.offsets, "max") for values in per_view], axis=0)
        inconsistency = np.round(place_empty(inconsistency, candidates.counts == 0), DECIMALS)
        divergence = _class_divergence(candidates, context)
        first = _highest(inconsistency, int(np.ceil(shortlist * n)))
        rows = first[_highest(np.round(divergence[first], DECIMALS), n)]
        parts = {"inconsistency": inconsistency, "class_divergence": divergence}
        return rows, {**parts, "fallback_score": inconsistency}

    return BatchStrategy(pick, frozenset({"views", "labels"}), "inconsistency")


def ppal(shortlist: float = 4.0) -> BatchStrategy:
    """Pick images full of uncertain boxes of difficult classes, and of these the ones in the middle of the others.

    Yang et al., "Plug and Play Active Learning for Object Detection" (CVPR 2024): ``sum_b w_c H(p_b)`` with
    :func:`al_rotate.sampling.uncertainty.class_difficulty`, then k-medoids on
    :func:`al_rotate.sampling.distances.category_matching` among ``shortlist * n`` images. Their class qualities are
    moving averages over the training; here the mean of ``p^0.6 IoU^0.4`` over the labelled objects, by detections
    from before they were trained on, 0 for a missed one. Their filter of small and elongated boxes is left out: it
    would drop ships and vehicles.

    Args:
        shortlist: images of the first stage for each one picked, at least 1.
    """
    _check_shortlist(shortlist)

    def pick(candidates: RotatedInstances, n: int, rng: Rng, context: QueryContext) -> Picks:
        scores = np.zeros(0) if candidates.scores is None else candidates.scores
        quality = _class_quality(context, n_classes(candidates, context.labels))
        weights = uncertainty.class_difficulty(quality)
        total = sums(uncertainty.entropy(scores) * weights[candidates.labels], candidates)
        rounded = np.round(total, DECIMALS)
        first = np.sort(_highest(rounded, int(np.ceil(shortlist * n))))
        between = distances.category_matching(candidates.subset(candidates.image_ids[first]))
        return first[diversity.k_medoids(between, n)], {"uncertainty": total, "fallback_score": rounded}

    return BatchStrategy(pick, frozenset({"features", "labels"}), "uncertainty")


def _check_shortlist(shortlist: float) -> None:
    if not shortlist >= 1:
        raise ValueError(f"expected a shortlist of at least 1 image for each one picked, got {shortlist}")


def _class_divergence(candidates: RotatedInstances, context: QueryContext) -> NDArray[np.float64]:
    """(M,) Jensen-Shannon divergence, in bits, of the image's predicted classes and the labels'."""
    n = n_classes(candidates, context.labels)
    labelled = context.class_counts(n) + 1e-9
    scores = np.zeros(0) if candidates.scores is None else candidates.scores
    predicted = sums_by_class(scores, candidates, n) + 1e-9
    return jensenshannon(predicted, np.broadcast_to(labelled, predicted.shape), axis=1, base=2) ** 2


def _class_quality(context: QueryContext, n: int) -> NDArray[np.float64]:
    """(C,) how well labelled objects of each class were detected, 0 for a class without one."""
    labels, detections = context.labels, context.detections
    quality = np.zeros(labels.n_boxes)
    if detections.n_boxes:
        overlap, row = best_overlaps(detections, labels)
        hit = row >= 0
        p = np.asarray(detections.scores, np.float64)
        np.maximum.at(quality, row[hit], p[hit] ** 0.6 * overlap[hit] ** 0.4)
    detected_on = np.array([image_id in detections for image_id in labels.image_ids], bool)[labels.image_index]
    classes = labels.labels[detected_on]
    total = np.bincount(classes, quality[detected_on], minlength=n)
    return total / np.maximum(np.bincount(classes, minlength=n), 1)


def _highest(values: NDArray, n: int) -> NDArray[np.int64]:
    return np.argsort(-values, kind="stable")[:n]
