"""A strategy that wants something of every kind of object, not of every kind of image."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...data import RotatedInstances
from ..context import QueryContext
from ..measures import coverage, prototypes, uncertainty
from ..measures.per_image import sums
from .base import DECIMALS, BatchStrategy, Picks, Rng

__all__ = ["object_coverage"]


def object_coverage(per_class: int = 20, weight: Literal["probability", "entropy"] = "probability") -> BatchStrategy:
    """Pick images that together hold objects of every class and look, and first what the labels lack.

    After Popp et al., "Object-Focused Data Selection for Dense Prediction Tasks" (arXiv 2412.10032; a summary of the
    method was read): they find that image features do not beat random selection, and features of objects, clustered in
    each class, do. Here the clusters are `per_class` prototypes of the pool's objects, see
    :func:`al_rotate.sampling.prototypes.find`, and images are picked greedily for the largest sum of roots of what is
    held of each, see :func:`al_rotate.sampling.coverage.cover`, with what the detector finds on labelled images held
    already, divided by the share of the budget that the image takes. Both steps are ours.

    Args:
        per_class: prototypes of a class, at least 1.
        weight: what an object counts: its calibrated probability, or the entropy of that.

    Raises:
        ValueError: for options out of range; later, for detections without box_features.
    """
    if weight not in ("probability", "entropy") or per_class < 1:
        raise ValueError(
            f"expected per_class >= 1 and weight to be probability or entropy, got {per_class} and {weight!r}"
        )

    def pick(candidates: RotatedInstances, n: int, rng: Rng, context: QueryContext) -> Picks:
        if rng is None:
            raise ValueError("the strategy 'object-coverage' needs a random generator: rng=np.random.default_rng(seed)")
        p = context.calibration(candidates)
        counted = p if weight == "probability" else uncertainty.entropy(p)
        kinds = prototypes.find(candidates, p, per_class, rng)
        held, have = np.round(kinds.contents(candidates, counted), DECIMALS), None
        if context.labelled_detections is not None:
            found = context.labelled_detections
            # A learner may give no scores where it finds nothing.
            scores = np.ones(found.n_boxes) if found.scores is None else found.scores
            have = kinds.contents(found, scores).sum(axis=0)
        price: NDArray = np.ones(len(candidates))
        if context.budget is not None:
            price = context.budget.price(context.showing.counts(candidates))
        rows = coverage.cover(held, n, have, 1 / price)
        gain = np.round(np.sqrt(held).sum(axis=1), DECIMALS)
        columns = {"object_coverage": gain, "expected_boxes": sums(p, candidates)}
        return rows, {**columns, "fallback_score": gain / price}

    return BatchStrategy(pick, frozenset({"features", "labels", "labelled_features"}), "object_coverage")
