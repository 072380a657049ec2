"""TODO sampling.strategies.class_balance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ...data.instances import RotatedInstances
from ..context import QueryContext
from ..measures import quotas, uncertainty
from ..measures.aggregate import aggregate
from ..measures.per_image import n_classes, sums_by_class
from .base import BatchStrategy, Picker, Rng


def mus_cdb() -> BatchStrategy:
    """Uncertain boxes in unfamiliar images, by quotas for the classes that few labels show.

    Liang et al., "MUS-CDB" (TGRS 2023, arXiv 2212.02804), from the published code's reading: a box is worth
    ``w * H``, the entropy of its class scores times one minus the mean score of the image's boxes above 0.1; the
    classes' quotas are :func:`al_rotate.sampling.quotas.class_balance`. **They query single boxes, this queries
    images**: the best box of a wanted class brings its whole image, which uses up the quotas of all that it holds.
    """

    def worth(candidates: RotatedInstances, known: QueryContext) -> NDArray[np.float64]:
        scores = np.asarray(candidates.scores, np.float64)
        familiar = np.nan_to_num(aggregate(scores, candidates.offsets, weights=scores > 0.1))
        of_boxes = uncertainty.entropy(scores if candidates.class_scores is None else candidates.class_scores)
        return (1 - familiar)[candidates.image_index] * of_boxes

    def shares(candidates: RotatedInstances, known: QueryContext, boxes: float, many: int) -> NDArray[np.float64]:
        return quotas.class_balance(known.class_counts(many), boxes)

    return BatchStrategy(_by_quota(worth, shares), frozenset({"class_scores", "labels"}))


def pal() -> BatchStrategy:
    """Boxes that a calibrated detector is unsure of, by quotas for classes rare among labels and predictions.

    After PAL (arXiv 2605.10349), of which only a digest was read: its main term, with 0.9 of the weight, is the entropy
    of a logistic regression of hit or miss on confidence and the number of neighbours before NMS. Here it is the
    entropy of :mod:`al_rotate.sampling.calibration`, on confidence, size and class; the other terms are left out. The
    quotas are :func:`al_rotate.sampling.quotas.rarity`; as in `mus_cdb` a box brings its image.
    """

    def worth(candidates: RotatedInstances, known: QueryContext) -> NDArray[np.float64]:
        return uncertainty.entropy(known.probabilities(candidates))

    def shares(candidates: RotatedInstances, known: QueryContext, boxes: float, many: int) -> NDArray[np.float64]:
        expected = np.bincount(candidates.labels, candidates.scores, minlength=many)
        return quotas.rarity(known.class_counts(many), expected, boxes)

    return BatchStrategy(_by_quota(worth, shares), frozenset({"labels"}))


def _by_quota(
    worth: Callable[[RotatedInstances, QueryContext], NDArray],
    shares: Callable[[RotatedInstances, QueryContext, float, int], NDArray],
) -> Picker:
    def pick(candidates: RotatedInstances, n: int, rng: Rng, known: QueryContext) -> tuple[NDArray, dict[str, NDArray]]:
        size, many = len(candidates), n_classes(candidates, known)
        if not candidates.n_boxes:
            return np.arange(n), {"uncertainty": np.full(size, np.nan)}
        values = np.round(worth(candidates, known), 10)
        best = np.full((size, many), -np.inf)
        np.maximum.at(best, (candidates.image_index, candidates.labels), values)
        held = sums_by_class(np.asarray(candidates.scores), candidates, many)  # what each is expected to hold
        boxes = max(1.0, float(held.sum()) / size * n)  # what n images hold in the mean
        rows, wanted = quotas.draw(
            np.where(np.isneginf(best), np.nan, best), held, shares(candidates, known, boxes, many), n
        )
        names = candidates.classes or tuple(map(str, range(many)))
        quota = np.full(size, "", object)
        quota[rows] = [names[label] if label >= 0 else "" for label in wanted.tolist()]
        highest = best.max(axis=1)
        uncertain = np.where(np.isneginf(highest), np.nan, highest)
        return rows, {"uncertainty": uncertain, "quota": quota, "otherwise": np.nan_to_num(uncertain, nan=-1.0)}

    return pick
