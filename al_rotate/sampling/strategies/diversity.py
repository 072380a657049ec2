"""Strategies that pick images for what they are together: unlike each other, or of the classes that are rare."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ...data.instances import RotatedInstances
from ..context import QueryContext
from ..measures import distances, diversity
from ..measures.distances import gain, unit
from ..measures.per_image import features_of
from .base import BatchStrategy, Rng

__all__ = ["badge", "core_set", "typiclust"]


def core_set() -> BatchStrategy:
    """Images farthest, by their features, from all that are labelled or picked.

    Sener and Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set Approach" (ICLR 2018), the greedy
    k-centre of algorithm 1; their robust version, a mixed integer programme, is left out.
    """
    return _by_features(diversity.k_center)


def typiclust() -> BatchStrategy:
    """The most typical image of each cluster without a label: for the first few labels.

    Hacohen, Dekel and Weinshall, "Active Learning on a Budget" (ICML 2022); their features come from self-supervised
    learning, these from the detector's neck, at unit length.
    """

    def choose(rows: NDArray, n: int, known: NDArray | None, rng: Rng) -> NDArray:
        return diversity.most_typical(unit(rows), n, None if known is None else unit(known), rng)

    return _by_features(choose)


def badge() -> BatchStrategy:
    """Images that would teach the classifier much, and different things: k-means++ on gradient embeddings.

    After Ash et al., "Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds" (ICLR 2020); badge-like,
    because the gradient is that of a linear layer on the neck's features: see
    :func:`al_rotate.sampling.distances.gradients`.
    """

    def pick(candidates: RotatedInstances, n: int, rng: Rng, known: QueryContext) -> tuple[NDArray, dict[str, NDArray]]:
        if rng is None:
            raise ValueError("the strategy 'badge' draws from a generator of yours: rng=np.random.default_rng(seed)")
        embedded = distances.gradients(candidates, rng)
        size = np.linalg.norm(embedded, axis=1)
        rows = diversity.k_means_plus_plus(embedded, n, rng=rng)
        return rows, {"gradient": size, "diversity_gain": gain(embedded, rows), "otherwise": size}

    return BatchStrategy(pick, frozenset({"class_scores", "features"}))


def _by_features(choose: Callable[[NDArray, int, NDArray | None, Rng], NDArray]) -> BatchStrategy:
    def pick(candidates: RotatedInstances, n: int, rng: Rng, known: QueryContext) -> tuple[NDArray, dict[str, NDArray]]:
        features = features_of(candidates)
        rows = choose(features, n, known.features, rng)
        return rows, {"diversity_gain": gain(features, rows, known.features)}

    return BatchStrategy(pick, frozenset({"features", "labelled_features"}))
