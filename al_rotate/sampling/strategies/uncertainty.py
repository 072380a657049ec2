"""Strategies that score each image by how unsure the detector is of its boxes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ... import boxes
from ...data import RotatedInstances
from ..context import QueryContext
from ..measures import quotas, uncertainty
from ..measures.aggregate import Empty, How, aggregate, place_empty
from ..measures.per_image import sums
from .base import Columns, Rng, ScoreStrategy

__all__ = ["by_uncertainty", "calibrated_entropy", "check_rules"]

Weight = Literal["area", "class"]


def by_uncertainty(
    measure: Callable[[ArrayLike], NDArray],
    how: How = "mean",
    k: int = 5,
    empty: Empty = "last",
    use_class_scores: bool | Literal["auto"] = "auto",
    weight: Weight | None = None,
) -> ScoreStrategy:
    """Pick images whose boxes the detector is least sure of (Settles, "Active Learning Literature Survey", 2009).

    The parts of the score are ``uncertainty_mean`` and ``uncertainty_max`` over the image's boxes, NaN where it has
    none.

    Args:
        measure: scores of boxes -> (N,), a function like those in :mod:`al_rotate.sampling.uncertainty`.
        how: boxes -> image, see :func:`al_rotate.sampling.aggregate.aggregate`. The strategy ``entropy`` takes the
            max, for which docs/older_comparisons.md has the reason.
        k: the same.
        empty: the placement of images without a box, see `ScoreStrategy`.
        use_class_scores: whether `measure` gets the scores of all classes instead of one confidence per box; auto: if
            the detections carry them.
        weight: the weight of a box in ``mean`` and ``sum``: ``area``, its area over the mean of the image's boxes;
            ``class``, more for a class with few labels so far (MUS-CDB's shares, times the number of classes).

    Raises:
        ValueError: for an unknown rule; later, when class scores are required and the detections carry none.
    """
    if use_class_scores not in (True, False, "auto"):
        raise ValueError(f"expected use_class_scores to be True, False or 'auto', got {use_class_scores!r}")
    check_rules(how, k, empty, weight)

    def score(candidates: RotatedInstances, rng: Rng, context: QueryContext) -> Columns:
        scores = candidates.scores
        if use_class_scores is True and candidates.class_scores is None and candidates.n_boxes:
            raise ValueError(
                "expected detections with class_scores, got none: predict them, or use_class_scores='auto'"
            )
        if use_class_scores and candidates.class_scores is not None:
            scores = candidates.class_scores
        values = measure(np.zeros(0) if scores is None else scores)
        return _score_images(values, candidates, how, k, _weights(weight, candidates, context))

    needs = {"class_scores": use_class_scores is True, "labels": weight == "class"}
    return ScoreStrategy(score, empty, frozenset(name for name, needed in needs.items() if needed), per_image=True)


def calibrated_entropy(
    how: How = "mean", k: int = 5, empty: Empty = "missed", weight: Weight | None = None
) -> ScoreStrategy:
    """Pick images by the binary entropy of each box's calibrated probability of being right.

    What a detector scores 0.6 may be right nine times in ten for planes and never for small vehicles; see
    :mod:`al_rotate.sampling.calibration` for the method and its sources. Ours as a composition. As long as there are
    too few labels the raw scores are used, with a warning, and ``calibrated`` is False.

    Args:
        how, k, empty, weight: as for `by_uncertainty`.
    """
    check_rules(how, k, empty, weight)

    def score(candidates: RotatedInstances, rng: Rng, context: QueryContext) -> Columns:
        p = context.probabilities(candidates)
        weights = _weights(weight, candidates, context)
        columns = _score_images(uncertainty.entropy(p), candidates, how, k, weights)
        calibrated = np.full(len(candidates), context.calibration.notice is None)
        return {**columns, "expected_boxes": sums(p, candidates), "calibrated": calibrated}

    return ScoreStrategy(score, empty, frozenset({"labels"}), per_image=True)


def check_rules(how: How, k: int, empty: Empty, weight: Weight | None) -> None:
    """Refuse a wrong rule now, not after hours of prediction."""
    aggregate([], [0], how, k, [] if weight else None)
    place_empty([], [], empty)
    if weight not in (None, "area", "class"):
        raise ValueError(f"expected weight to be area, class or None, got {weight!r}")


def _score_images(
    values: NDArray, candidates: RotatedInstances, how: How, k: int, weights: NDArray | None
) -> dict[str, NDArray]:
    return {
        "score": aggregate(values, candidates.offsets, how, k, weights),
        "uncertainty_mean": aggregate(values, candidates.offsets, "mean"),
        "uncertainty_max": aggregate(values, candidates.offsets, "max"),
    }


def _weights(weight: Weight | None, candidates: RotatedInstances, context: QueryContext) -> NDArray[np.float64] | None:
    if weight is None or not candidates.n_boxes:
        return None
    if weight == "class":
        n_classes = len(candidates.classes) if candidates.classes else int(candidates.labels.max()) + 1
        return quotas.class_balance(context.class_counts(n_classes), n_classes)[candidates.labels]
    area = np.maximum(boxes.area(candidates.boxes.astype(np.float64)), 1e-9)
    return area / np.repeat(aggregate(area, candidates.offsets), candidates.counts)
