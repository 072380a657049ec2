"""Strategies that pick images unlike each other, by the detector's features."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ...data import RotatedInstances
from ..context import QueryContext
from ..measures import distances, diversity
from ..measures.per_image import features_of
from .base import BatchStrategy, Picks, Rng

__all__ = ["badge", "core_set", "typiclust"]


def core_set() -> BatchStrategy:
    """Pick the images whose features are farthest from all labelled or picked ones.

    Sener and Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set Approach" (ICLR 2018), the greedy
    k-centre of algorithm 1; their robust version, a mixed integer programme, is left out.
    """
    return _by_features(diversity.k_center)


def typiclust() -> BatchStrategy:
    """Pick the most typical image of each cluster without a label: for the first few labels.

    Hacohen, Dekel and Weinshall, "Active Learning on a Budget" (ICML 2022). Their features come from self-supervised
    learning; these come from the detector's neck, at unit length.
    """

    def choose(features: NDArray, n: int, labelled: NDArray | None, rng: Rng) -> NDArray:
        labelled = None if labelled is None else distances.unit(labelled)
        return diversity.most_typical(distances.unit(features), n, labelled, rng)

    return _by_features(choose)


def badge() -> BatchStrategy:
    """Pick images that would teach the classifier much, and different things: k-means++ on gradient embeddings.

    After Ash et al., "Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds" (ICLR 2020). Only after,
    because the gradient is that of a linear layer on the neck's features: see
    :func:`al_rotate.sampling.distances.gradients`.
    """

    def pick(candidates: RotatedInstances, n: int, rng: Rng, context: QueryContext) -> Picks:
        if rng is None:
            raise ValueError("the strategy 'badge' needs a random generator: rng=np.random.default_rng(seed)")
        gradients = distances.gradients(candidates, rng)
        size = np.linalg.norm(gradients, axis=1)
        if not candidates.n_boxes:  # no image differs from another
            return np.arange(n), {"gradient": size}
        rows = diversity.k_means_plus_plus(gradients, n, rng=rng)
        return rows, {"gradient": size, "diversity_gain": distances.gain(gradients, rows), "fallback_score": size}

    return BatchStrategy(pick, frozenset({"class_scores", "features"}), "gradient")


def _by_features(choose: Callable[[NDArray, int, NDArray | None, Rng], NDArray]) -> BatchStrategy:
    def pick(candidates: RotatedInstances, n: int, rng: Rng, context: QueryContext) -> Picks:
        features = features_of(candidates)
        rows = choose(features, n, context.features, rng)
        return rows, {"diversity_gain": distances.gain(features, rows, context.features)}

    return BatchStrategy(pick, frozenset({"features", "labelled_features"}))
