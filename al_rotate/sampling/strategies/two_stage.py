"""TODO sampling.strategies.two_stage."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon

from ...data.instances import RotatedInstances
from ...data.views import View
from ...evaluation.mean_ap import best_overlaps
from ..context import QueryContext
from ..measures import consistency, distances, diversity, uncertainty
from ..measures.aggregate import aggregate, place_empty
from ..measures.per_image import n_classes, sums, sums_by_class
from .base import BatchStrategy, Rng

_FLIP: Sequence[View] = (View(flip=True),)


def cald(views: Sequence[View] = _FLIP, shortlist: float = 1.2) -> BatchStrategy:
    """Images that a flip changes, and of these the ones whose classes the labels show least.

    Yu et al., "Consistency-based Active Learning for Object Detection" (CVPRW 2022, arXiv 2103.10374). Stage one: the
    box whose agreement is farthest below, or above, the expected 1.3, see
    :func:`al_rotate.sampling.consistency.cald`, in the mean over views. Stage two, of ``shortlist * n`` images: the
    largest Jensen-Shannon divergence between the image's predicted classes and the labels'; from memory in its details.
    They also cut out, resize and shrink; here a flip, or what you give.

    Args:
        views: to compare with.
        shortlist: images of the first stage for each one picked, at least 1.
    """
    if not shortlist >= 1:
        raise ValueError(f"expected a shortlist of at least 1 image for each one picked, got {shortlist}")

    def pick(candidates: RotatedInstances, n: int, rng: Rng, known: QueryContext) -> tuple[NDArray, dict[str, NDArray]]:
        unsteady: NDArray = np.zeros(len(candidates))
        if candidates.n_boxes:
            matches = consistency.match(candidates, known.seen(candidates.image_ids.tolist(), views))
            worst = consistency.cald(matches, np.asarray(candidates.scores))
            unsteady = np.mean([aggregate(column, candidates.offsets, "max") for column in worst.T], axis=0)
        unsteady = np.round(place_empty(unsteady, candidates.counts == 0), 10)
        many = n_classes(candidates, known)
        shown = known.class_counts(many) + 1e-9
        scores = np.zeros(0) if candidates.scores is None else candidates.scores
        mass = sums_by_class(scores, candidates, many) + 1e-9
        divergence = jensenshannon(mass, np.broadcast_to(shown, mass.shape), axis=1, base=2) ** 2
        first = _top(unsteady, int(np.ceil(shortlist * n)))
        rows = first[np.argsort(-np.round(divergence[first], 10), kind="stable")][:n]
        return rows, {"inconsistency": unsteady, "class_divergence": divergence, "otherwise": unsteady}

    return BatchStrategy(pick, frozenset({"views", "labels"}))


def ppal(shortlist: float = 4.0) -> BatchStrategy:
    """Images full of uncertain boxes of difficult classes, and of these the ones amid the others.

    Yang et al., "Plug and Play Active Learning for Object Detection" (CVPR 2024): ``sum_b w_c H(p_b)`` with
    :func:`al_rotate.sampling.uncertainty.class_difficulty`, then k-medoids on
    :func:`al_rotate.sampling.distances.category_matching` among ``shortlist * n`` images. Their class qualities are
    moving averages over the training; here the mean of ``p^0.6 IoU^0.4`` over the labelled objects, by detections
    from before they were trained on, 0 for a missed one. Their filter of small and elongated boxes is left out: it
    would drop ships and vehicles.

    Args:
        shortlist: images of the first stage for each one picked, at least 1.
    """
    if not shortlist >= 1:
        raise ValueError(f"expected a shortlist of at least 1 image for each one picked, got {shortlist}")

    def pick(candidates: RotatedInstances, n: int, rng: Rng, known: QueryContext) -> tuple[NDArray, dict[str, NDArray]]:
        scores = np.zeros(0) if candidates.scores is None else candidates.scores
        weight = uncertainty.class_difficulty(_quality(known, n_classes(candidates, known)))
        unsure = sums(uncertainty.entropy(scores) * weight[candidates.labels], candidates)
        first = np.sort(_top(np.round(unsure, 10), int(np.ceil(shortlist * n))))
        apart = distances.category_matching(candidates.subset(candidates.image_ids[first]))
        rows = first[diversity.k_medoids(apart, n)]
        return rows, {"uncertainty": unsure, "otherwise": np.round(unsure, 10)}

    return BatchStrategy(pick, frozenset({"features", "labels"}))


def _quality(known: QueryContext, many: int) -> NDArray[np.float64]:
    """(C,) how well labelled objects were found, 0 for a class without one."""
    found = np.zeros(known.labels.n_boxes)
    if known.detections.n_boxes:
        overlap, row = best_overlaps(known.detections, known.labels)
        hit = row >= 0
        p = np.asarray(known.detections.scores, np.float64)
        np.maximum.at(found, row[hit], p[hit] ** 0.6 * overlap[hit] ** 0.4)
    looked_at = np.array([image_id in known.detections for image_id in known.labels.image_ids], bool)
    there = looked_at[known.labels.image_index]
    labels = known.labels.labels[there]
    return np.bincount(labels, found[there], minlength=many) / np.maximum(np.bincount(labels, minlength=many), 1)


def _top(values: NDArray, n: int) -> NDArray[np.int64]:
    return np.argsort(-values, kind="stable")[:n]
