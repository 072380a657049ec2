"""Strategies that pick images for what they are together: unlike each other, or of the classes that are rare."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon

from ..evaluation import best_overlaps
from ..instances import RotatedInstances
from ..views import View
from . import consistency, distances, diversity, quotas, uncertainty
from .aggregate import aggregate, place_empty
from .distances import gain, unit
from .known import Known
from .ranking import Batch, Picker, Rng, features_of, n_classes, sums, sums_by_class

__all__ = ["badge", "cald", "core_set", "mus_cdb", "pal", "ppal", "typiclust"]

_FLIP: Sequence[View] = (View(flip=True),)


def core_set() -> Batch:
    """Images farthest, by their features, from all that are labelled or picked.

    Sener and Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set Approach" (ICLR 2018), the greedy
    k-centre of algorithm 1; their robust version, a mixed integer programme, is left out.
    """
    return _by_features(diversity.k_center)


def typiclust() -> Batch:
    """The most typical image of each cluster without a label: for the first few labels.

    Hacohen, Dekel and Weinshall, "Active Learning on a Budget" (ICML 2022); their features come from self-supervised
    learning, these from the detector's neck, at unit length.
    """

    def choose(rows: NDArray, n: int, known: NDArray | None, rng: Rng) -> NDArray:
        return diversity.most_typical(unit(rows), n, None if known is None else unit(known), rng)

    return _by_features(choose)


def badge() -> Batch:
    """Images that would teach the classifier much, and different things: k-means++ on gradient embeddings.

    After Ash et al., "Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds" (ICLR 2020); badge-like,
    because the gradient is that of a linear layer on the neck's features: see
    :func:`al_rotate.sampling.distances.gradients`.
    """

    def pick(candidates: RotatedInstances, n: int, rng: Rng, known: Known) -> tuple[NDArray, dict[str, NDArray]]:
        if rng is None:
            raise ValueError("the strategy 'badge' draws from a generator of yours: rng=np.random.default_rng(seed)")
        embedded = distances.gradients(candidates, rng)
        size = np.linalg.norm(embedded, axis=1)
        rows = diversity.k_means_plus_plus(embedded, n, rng=rng)
        return rows, {"gradient": size, "diversity_gain": gain(embedded, rows), "otherwise": size}

    return Batch(pick, frozenset({"class_scores", "features"}))


def cald(views: Sequence[View] = _FLIP, shortlist: float = 1.2) -> Batch:
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

    def pick(candidates: RotatedInstances, n: int, rng: Rng, known: Known) -> tuple[NDArray, dict[str, NDArray]]:
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

    return Batch(pick, frozenset({"views", "labels"}))


def mus_cdb() -> Batch:
    """Uncertain boxes in unfamiliar images, by quotas for the classes that few labels show.

    Liang et al., "MUS-CDB" (TGRS 2023, arXiv 2212.02804), from the published code's reading: a box is worth
    ``w * H``, the entropy of its class scores times one minus the mean score of the image's boxes above 0.1; the
    classes' quotas are :func:`al_rotate.sampling.quotas.class_balance`. **They query single boxes, this queries
    images**: the best box of a wanted class brings its whole image, which uses up the quotas of all that it holds.
    """

    def worth(candidates: RotatedInstances, known: Known) -> NDArray[np.float64]:
        scores = np.asarray(candidates.scores, np.float64)
        familiar = np.nan_to_num(aggregate(scores, candidates.offsets, weights=scores > 0.1))
        of_boxes = uncertainty.entropy(scores if candidates.class_scores is None else candidates.class_scores)
        return (1 - familiar)[candidates.image_index] * of_boxes

    def shares(candidates: RotatedInstances, known: Known, boxes: float, many: int) -> NDArray[np.float64]:
        return quotas.class_balance(known.class_counts(many), boxes)

    return Batch(_by_quota(worth, shares), frozenset({"class_scores", "labels"}))


def pal() -> Batch:
    """Boxes that a calibrated detector is unsure of, by quotas for classes rare among labels and predictions.

    After PAL (arXiv 2605.10349), of which only a digest was read: its main term, with 0.9 of the weight, is the entropy
    of a logistic regression of hit or miss on confidence and the number of neighbours before NMS. Here it is the
    entropy of :mod:`al_rotate.sampling.calibration`, on confidence, size and class; the other terms are left out. The
    quotas are :func:`al_rotate.sampling.quotas.rarity`; as in `mus_cdb` a box brings its image.
    """

    def worth(candidates: RotatedInstances, known: Known) -> NDArray[np.float64]:
        return uncertainty.entropy(known.probabilities(candidates))

    def shares(candidates: RotatedInstances, known: Known, boxes: float, many: int) -> NDArray[np.float64]:
        expected = np.bincount(candidates.labels, candidates.scores, minlength=many)
        return quotas.rarity(known.class_counts(many), expected, boxes)

    return Batch(_by_quota(worth, shares), frozenset({"labels"}))


def ppal(shortlist: float = 4.0) -> Batch:
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

    def pick(candidates: RotatedInstances, n: int, rng: Rng, known: Known) -> tuple[NDArray, dict[str, NDArray]]:
        scores = np.zeros(0) if candidates.scores is None else candidates.scores
        weight = uncertainty.class_difficulty(_quality(known, n_classes(candidates, known)))
        unsure = sums(uncertainty.entropy(scores) * weight[candidates.labels], candidates)
        first = np.sort(_top(np.round(unsure, 10), int(np.ceil(shortlist * n))))
        apart = distances.category_matching(candidates.subset(candidates.image_ids[first]))
        rows = first[diversity.k_medoids(apart, n)]
        return rows, {"uncertainty": unsure, "otherwise": np.round(unsure, 10)}

    return Batch(pick, frozenset({"features", "labels"}))


def _by_features(choose: Callable[[NDArray, int, NDArray | None, Rng], NDArray]) -> Batch:
    def pick(candidates: RotatedInstances, n: int, rng: Rng, known: Known) -> tuple[NDArray, dict[str, NDArray]]:
        features = features_of(candidates)
        rows = choose(features, n, known.features, rng)
        return rows, {"diversity_gain": gain(features, rows, known.features)}

    return Batch(pick, frozenset({"features", "labelled_features"}))


def _by_quota(
    worth: Callable[[RotatedInstances, Known], NDArray],
    shares: Callable[[RotatedInstances, Known, float, int], NDArray],
) -> Picker:
    def pick(candidates: RotatedInstances, n: int, rng: Rng, known: Known) -> tuple[NDArray, dict[str, NDArray]]:
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


def _quality(known: Known, many: int) -> NDArray[np.float64]:
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
