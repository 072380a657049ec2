"""Strategies to compare others with: at random, and the most boxes."""

from __future__ import annotations

import numpy as np

from ...data import RotatedInstances
from ..context import QueryContext
from .base import Columns, Rng, ScoreStrategy

__all__ = ["box_count", "random"]


def random() -> ScoreStrategy:
    """Pick images at random, each as likely as any other: the baseline that a strategy must beat."""

    def score(candidates: RotatedInstances, rng: Rng, context: QueryContext) -> Columns:
        if rng is None:
            raise ValueError("the strategy 'random' needs a random generator: rng=np.random.default_rng(seed)")
        scores = np.empty(len(candidates))
        # Drawn in the order of the ids, so that a seed picks the same images in whatever order they come.
        scores[np.argsort(candidates.image_ids, kind="stable")] = rng.random(len(candidates))
        return {"score": scores, "drawn": np.full(len(candidates), True)}

    return ScoreStrategy(score, figure=None)


def box_count() -> ScoreStrategy:
    """Pick the images with the most boxes that people would be shown: a control.

    It looks good if the budget counts images, only because crowded images carry more labels, and falls behind if the
    budget counts boxes. A strategy that does no better has learnt to count.
    """
    return ScoreStrategy(lambda candidates, rng, context: {"score": context.showing.counts(candidates)}, per_image=True)
