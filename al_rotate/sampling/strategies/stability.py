"""Strategies that score how boxes move or turn when the image changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...data import RotatedInstances
from ...data.views import DIHEDRAL, View
from ..context import QueryContext
from ..measures import consistency
from ..measures.aggregate import Empty, aggregate
from .base import Columns, Rng, ScoreStrategy
from .uncertainty import check_rules

__all__ = ["angle_stability", "localisation_stability"]

NOISE = tuple(View(noise=level) for level in (8.0, 16.0, 24.0, 32.0, 40.0, 48.0))
VIEWS: Mapping[str, tuple[View, ...]] = {"noise": NOISE, "dihedral": tuple(DIHEDRAL)}


def localisation_stability(views: Literal["noise", "dihedral"] = "noise", empty: Empty = "last") -> ScoreStrategy:
    """Pick images whose boxes move when the image changes: ``sum_b p_b (1 - S_b) / sum_b p_b``.

    Kao et al., "Localization-Aware Active Learning for Object Detection" (ACCV 2018), equations 3 and 4, turned so that
    higher is less stable. S_b is the mean IoU with the box's match in six noisy copies. Their levels of noise are equal
    steps; which ones is from memory. Here a box has one match per view, theirs the best of all.

    Args:
        views: noise as in the paper, or the seven flips and quarter turns, which change no pixel's value.
        empty: the placement of images without a box.
    """
    return _by_stability(views, empty, lambda matches, candidates: consistency.instability(matches))


def angle_stability(views: Literal["dihedral", "noise"] = "dihedral", empty: Empty = "last") -> ScoreStrategy:
    """Pick images whose boxes turn when the image is flipped, turned or made noisy: the mean angle spread, by score.

    Ours, see :func:`al_rotate.sampling.consistency.angle_spread`: circular with period pi, near-squares weighing less.

    Args:
        views, empty: as for `localisation_stability`.
    """
    return _by_stability(views, empty, lambda matches, candidates: consistency.angle_spread(matches, candidates.boxes))


def _by_stability(
    views: str, empty: Empty, measure: Callable[[consistency.Matches, RotatedInstances], NDArray]
) -> ScoreStrategy:
    if views not in VIEWS:
        raise ValueError(f"expected views to be one of {', '.join(VIEWS)}, got {views!r}")
    check_rules("mean", 1, empty, None)

    def score(candidates: RotatedInstances, rng: Rng, context: QueryContext) -> Columns:
        scores = np.zeros(0) if candidates.scores is None else candidates.scores
        if not candidates.n_boxes:
            return {name: aggregate(scores, candidates.offsets) for name in ("score", "missing_rate")}
        matches = consistency.match(candidates, context.predict_views(candidates.image_ids.tolist(), VIEWS[views]))
        return {
            "score": aggregate(measure(matches, candidates), candidates.offsets, weights=scores),
            "missing_rate": aggregate(consistency.missing_rate(matches), candidates.offsets),
        }

    return ScoreStrategy(score, empty, frozenset({"views"}), per_image=True)
