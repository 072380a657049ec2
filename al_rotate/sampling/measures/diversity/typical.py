"""Typical rows of clusters without a label: TypiClust."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .rows import as_selected, checked

__all__ = ["most_typical", "typicality"]

FEW_CLUSTERS, MOST_CLUSTERS = 50, 500  # TypiClust's: k-means below, mini-batches above, and no more than that


def typicality(features: ArrayLike, k: int = 20) -> NDArray[np.float64]:
    """Measure the density around each row: one over the mean distance to its k nearest neighbours.

    Hacohen, Dekel and Weinshall, "Active Learning on a Budget" (ICML 2022), equation 4, from memory of the paper.

    Args:
        features: (n, d).
        k: neighbours; all others if there are fewer.

    Returns:
        (n,) > 0; inf for a row whose neighbours coincide with it, and for a row that is alone.
    """
    rows, k = checked(features, k)
    k = min(k, len(rows) - 1)
    if k < 1:
        return np.full(len(rows), np.inf)
    from sklearn.neighbors import NearestNeighbors  # takes a second to load

    # Beyond a few dimensions no tree is faster than brute force, which scikit-learn does in blocks.
    distances = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(rows).kneighbors()[0]
    with np.errstate(divide="ignore"):
        return 1 / distances.mean(axis=1, dtype=np.float64)


def most_typical(
    features: ArrayLike, n: int, selected: ArrayLike | None = None, rng: np.random.Generator | None = None
) -> NDArray[np.int64]:
    """Pick the most typical row of each of the largest clusters without a selected row: for the first few labels.

    TypiClust (Hacohen, Dekel and Weinshall, ICML 2022, algorithm 1, from memory of the paper): as many clusters as
    selected rows and picks, at most 500. Then, repeatedly, the cluster with the fewest selected or picked rows, the
    largest among these, gives its most typical row, by its 20 nearest neighbours in the cluster.

    Args:
        features: (n, d).
        n: rows to pick; all of them if there are fewer.
        selected: (m, d), already labelled.
        rng: seeds the clustering.

    Raises:
        ValueError: also without rng.
    """
    rows, n = checked(features, n)
    if rng is None:
        raise ValueError("most_typical needs a random generator: rng=np.random.default_rng(seed)")
    from sklearn.cluster import KMeans, MiniBatchKMeans

    labelled = as_selected(selected, rows)
    together = np.concatenate([labelled, rows])
    k = min(len(labelled) + n, MOST_CLUSTERS, len(np.unique(together, axis=0)))
    algorithm, starts = (KMeans, 1) if k <= FEW_CLUSTERS else (MiniBatchKMeans, 3)
    clusters = algorithm(k, n_init=starts, random_state=int(rng.integers(2**31))).fit_predict(together)
    taken = np.bincount(clusters[: len(labelled)], minlength=k)
    own = clusters[len(labelled) :]
    waiting = {c: _by_typicality(rows, np.flatnonzero(own == c)) for c in range(k)}
    picked: list[int] = []
    while len(picked) < n:
        c = min((c for c in waiting if waiting[c]), key=lambda c: (taken[c], -len(waiting[c]), c))
        picked.append(waiting[c].pop(0))
        taken[c] += 1
    return np.array(picked, np.int64)


def _by_typicality(rows: NDArray, members: NDArray[np.int64]) -> list[int]:
    if not len(members):
        return []
    return members[np.argsort(-typicality(rows[members]), kind="stable")].tolist()
