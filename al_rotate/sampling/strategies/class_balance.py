"""Strategies that share a query out among the classes: more for those that few labels show."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ...data import RotatedInstances
from ..context import QueryContext
from ..measures import quotas, uncertainty
from ..measures.aggregate import aggregate
from ..measures.per_image import n_classes, sums_by_class
from .base import DECIMALS, BatchStrategy, Picker, Picks, Rng

__all__ = ["mus_cdb", "pal"]

Worth = Callable[[RotatedInstances, QueryContext], NDArray[np.float64]]  # (N,) of each box
Shares = Callable[[RotatedInstances, QueryContext, float, int], NDArray[np.float64]]  # boxes, classes -> (C,) quotas


def mus_cdb() -> BatchStrategy:
    """Pick uncertain boxes in unfamiliar images, by quotas for the classes that few labels show.

    Liang et al., "MUS-CDB" (TGRS 2023, arXiv 2212.02804), after reading the published code. A box is worth ``w * H``:
    the entropy of its class scores times one minus the mean score of the image's boxes above 0.1. The quotas of the
    classes are :func:`al_rotate.sampling.quotas.class_balance`. **They query single boxes, this queries images**: the
    best box of a wanted class brings its whole image, which uses up the quotas of all that it holds.
    """

    def worth(candidates: RotatedInstances, context: QueryContext) -> NDArray[np.float64]:
        scores = np.asarray(candidates.scores, np.float64)
        familiarity = np.nan_to_num(aggregate(scores, candidates.offsets, weights=scores > 0.1))
        entropy = uncertainty.entropy(scores if candidates.class_scores is None else candidates.class_scores)
        return (1 - familiarity)[candidates.image_index] * entropy

    def shares(candidates: RotatedInstances, context: QueryContext, boxes: float, n: int) -> NDArray[np.float64]:
        return quotas.class_balance(context.class_counts(n), boxes)

    return BatchStrategy(_by_quota(worth, shares), frozenset({"class_scores", "labels"}), "uncertainty")


def pal() -> BatchStrategy:
    """Pick boxes that a calibrated detector is unsure of, by quotas for classes rare among labels and predictions.

    After PAL (arXiv 2605.10349), of which only a digest was read. Its main term, with 0.9 of the weight, is the entropy
    of a logistic regression of hit or miss on confidence and the number of neighbours before NMS. Here it is the
    entropy of :mod:`al_rotate.sampling.calibration`, on confidence, size and class; the other terms are left out. The
    quotas are :func:`al_rotate.sampling.quotas.rarity`; as in `mus_cdb`, a box brings its image.
    """

    def worth(candidates: RotatedInstances, context: QueryContext) -> NDArray[np.float64]:
        return uncertainty.entropy(context.probabilities(candidates))

    def shares(candidates: RotatedInstances, context: QueryContext, boxes: float, n: int) -> NDArray[np.float64]:
        expected = np.bincount(candidates.labels, candidates.scores, minlength=n)
        return quotas.rarity(context.class_counts(n), expected, boxes)

    return BatchStrategy(_by_quota(worth, shares), frozenset({"labels"}), "uncertainty")


def _by_quota(worth: Worth, shares: Shares) -> Picker:
    def pick(candidates: RotatedInstances, n: int, rng: Rng, context: QueryContext) -> Picks:
        n_images, classes = len(candidates), n_classes(candidates, context.labels)
        if not candidates.n_boxes:
            return np.arange(n), {"uncertainty": np.full(n_images, np.nan)}
        best = np.full((n_images, classes), -np.inf)
        np.maximum.at(best, (candidates.image_index, candidates.labels), np.round(worth(candidates, context), DECIMALS))
        contents = sums_by_class(np.asarray(candidates.scores), candidates, classes)  # expected boxes of each image
        boxes = max(1.0, float(contents.sum()) / n_images * n)  # expected of n images
        wanted = shares(candidates, context, boxes, classes)
        rows, chosen_for = quotas.draw(np.where(np.isneginf(best), np.nan, best), contents, wanted, n)
        names = candidates.classes or tuple(map(str, range(classes)))
        quota = np.full(n_images, "", object)
        quota[rows] = [names[label] if label >= 0 else "" for label in chosen_for.tolist()]
        highest = best.max(axis=1)
        uncertain = np.where(np.isneginf(highest), np.nan, highest)
        return rows, {"uncertainty": uncertain, "quota": quota, "fallback_score": np.nan_to_num(uncertain, nan=-1.0)}

    return pick
