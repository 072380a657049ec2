"""Prototypes: what kinds of objects a detector finds, by their features, and how many of each an image holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...data import RotatedInstances
from .distances import unit
from .diversity.rows import blocks

__all__ = ["Prototypes", "find"]

_SAMPLE = 3000  # objects of a class that its prototypes are made from
_BLOCK = 1 << 16  # objects that are assigned together


@dataclass(frozen=True)
class Prototypes:
    """Kinds of objects: for each class the centres of its objects' features, at unit length.

    Attributes:
        centres: (K, D), those of one class after those of another.
        classes: (K,) the class of each.
    """

    centres: NDArray[np.float32]
    classes: NDArray[np.int64]

    def contents(self, detections: RotatedInstances, weights: ArrayLike) -> NDArray[np.float64]:
        """Sum the weights of each image's objects by the nearest prototype of their class, (M, K).

        Args:
            detections: with box_features. Objects of a class without a prototype do not count.
            weights: (N,), such as the probabilities that the objects are there.

        Raises:
            ValueError: without box_features.
        """
        kind = self._nearest(detections)
        known = kind >= 0
        cells = (detections.image_index * len(self.classes) + kind)[known]
        total = np.bincount(cells, np.asarray(weights, np.float64)[known], len(detections) * len(self.classes))
        return total.astype(np.float64, copy=False).reshape(len(detections), len(self.classes))

    def _nearest(self, detections: RotatedInstances) -> NDArray[np.int64]:
        """(N,) the nearest prototype of each object's class; -1 if its class has none."""
        directions, nearest = unit(_features(detections)), np.full(detections.n_boxes, -1)
        for label in np.unique(self.classes):
            own = np.flatnonzero(self.classes == label)
            for rows in blocks(np.flatnonzero(detections.labels == label), _BLOCK):
                nearest[rows] = own[(directions[rows] @ self.centres[own].T).argmax(axis=1)]
        return nearest


def find(detections: RotatedInstances, weights: ArrayLike, per_class: int, rng: np.random.Generator) -> Prototypes:
    """Cluster the objects of each class by their features: k-means on directions.

    After Popp et al., "Object-Focused Data Selection for Dense Prediction Tasks" (arXiv 2412.10032), who cluster the
    objects that a foundation model finds: as many clusters as objects to pick, here a fixed number.

    Args:
        detections: with box_features.
        weights: (N,) >= 0. Of a class with more than 3,000 objects so many are drawn by their weights.
        per_class: prototypes of a class; as many as different objects, if there are fewer.
        rng: draws the objects, and seeds the clustering.

    Raises:
        ValueError: without box_features, or for less than one prototype.
    """
    if per_class < 1:
        raise ValueError(f"expected at least one prototype of a class, got {per_class}")
    from sklearn.cluster import KMeans

    features, chance = _features(detections), np.asarray(weights, np.float64)
    centres: list[NDArray] = [np.zeros((0, features.shape[1]), np.float32)]
    classes: list[int] = []
    for label in np.unique(detections.labels):
        rows = np.flatnonzero((detections.labels == label) & (chance > 0))
        if len(rows) > _SAMPLE:
            rows = np.sort(rng.choice(rows, _SAMPLE, replace=False, p=chance[rows] / chance[rows].sum()))
        objects = unit(features[rows])
        if k := min(per_class, len(np.unique(objects, axis=0))):
            seed = int(rng.integers(2**31))
            found = KMeans(k, n_init=1, random_state=seed).fit(objects, sample_weight=chance[rows])
            centres.append(unit(found.cluster_centers_).astype(np.float32))
            classes += [int(label)] * k
    return Prototypes(np.concatenate(centres), np.array(classes, np.int64))


def _features(detections: RotatedInstances) -> NDArray:
    if detections.box_features is None:
        if detections.n_boxes:
            raise ValueError(f"expected detections with box_features, got {detections!r}: predict(features=True)")
        return np.zeros((0, 1), np.float32)
    return detections.box_features
