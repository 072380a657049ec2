"""Strategies to compare others with: at random, at random where something is detected, and the most boxes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...data import RotatedInstances
from ..context import QueryContext
from .base import Columns, Rng, ScoreStrategy

__all__ = ["box_count", "random", "random_detected"]


def random() -> ScoreStrategy:
    """Pick images at random, each as likely as any other: the baseline that a strategy must beat."""

    def score(candidates: RotatedInstances, rng: Rng, context: QueryContext) -> Columns:
        return {"score": _draw("random", candidates, rng), "drawn": np.full(len(candidates), True)}

    return ScoreStrategy(score, figure=None)


def random_detected() -> ScoreStrategy:
    """Pick at random among the images in which people would be shown a box, and the others after them: a control.

    Where most images are empty, any strategy that looks at detections avoids the empty ones. One that does no better
    than this has learnt to find objects, not which of them teach most.
    """

    def score(candidates: RotatedInstances, rng: Rng, context: QueryContext) -> Columns:
        detected = context.showing.counts(candidates) > 0
        columns: Columns = {"score": _draw("random-detected", candidates, rng) + detected}
        return columns if detected.any() else {**columns, "drawn": np.full(len(candidates), True)}

    return ScoreStrategy(score, figure=None)


def box_count() -> ScoreStrategy:
    """Pick the images with the most boxes that people would be shown: a control.

    It looks good if the budget counts images, only because crowded images carry more labels, and falls behind if the
    budget counts boxes. A strategy that does no better has learnt to count.
    """
    return ScoreStrategy(lambda candidates, rng, context: {"score": context.showing.counts(candidates)}, per_image=True)


def _draw(name: str, candidates: RotatedInstances, rng: Rng) -> NDArray[np.float64]:
    """(M,) numbers in [0, 1), drawn in the order of the ids: a seed draws the same in whatever order images come."""
    if rng is None:
        raise ValueError(f"the strategy {name!r} needs a random generator: rng=np.random.default_rng(seed)")
    drawn = np.empty(len(candidates))
    drawn[np.argsort(candidates.image_ids, kind="stable")] = rng.random(len(candidates))
    return drawn
