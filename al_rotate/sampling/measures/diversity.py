"""Pick rows that differ from each other: pure functions on feature vectors, for pools of hundreds of thousands.

All take ``features`` (n, d), one row per image, compared by Euclidean distance, and return the indices of rows in the
order in which they are picked; ties go to the lower index. Scale the rows to unit length first if only their directions
count. Besides the features, memory is O(n) unless stated otherwise. Every function raises ValueError for another shape,
for a value that is not finite (naming the row), and for less than one row to pick.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["determinantal", "k_center", "k_means_plus_plus", "k_medoids", "most_typical", "typicality"]

_AHEAD = 16  # rows whose distances are computed together: one pass over the features, not one each
_BLOCK = 1 << 16  # rows in one product
_FEW_CLUSTERS, _MOST_CLUSTERS = 50, 500  # TypiClust's: k-means below, mini-batches above, and no more than that

Indices = NDArray[np.int64]


def k_center(
    features: ArrayLike, n: int, selected: ArrayLike | None = None, rng: np.random.Generator | None = None
) -> Indices:
    """Pick farthest first: each time the row farthest from all that are picked or selected.

    The greedy 2-approximation of the k-centre problem (Gonzalez 1985), which core-set selection starts from (Sener and
    Savarese, ICLR 2018, algorithm 1). The result is exact: rows that may come next share a matrix product, which only
    saves passes over the features.

    Args:
        features: (n, d).
        n: rows to pick; all of them if there are fewer.
        selected: (m, d), already covered: the labelled images' features.
        rng: draws the first row if nothing is selected; None: start with the row nearest to the mean.

    >>> k_center([[0.0], [1.0], [10.0], [12.0]], 2, selected=[[0.5]]).tolist()
    [3, 2]
    """
    rows, n = _checked(features, n)
    space = _Space(rows)
    nearest = space.nearest(selected)
    picked: list[int] = []
    ahead: dict[int, NDArray] = {}
    while len(picked) < n:
        following = _first(rows, rng) if np.isinf(nearest[0]) else int(nearest.argmax())
        if following not in ahead:
            far = np.argpartition(-nearest, min(_AHEAD, len(rows)) - 1)[:_AHEAD] if picked else np.zeros(0, int)
            wanted = np.unique([following, *far])
            ahead = dict(zip(wanted.tolist(), space.squared(rows[wanted]).T, strict=True))
        np.minimum(nearest, ahead[following], out=nearest)
        nearest[following] = -1  # below all distances, so that equal rows do not bring it back
        picked.append(following)
    return np.array(picked, np.int64)


def k_means_plus_plus(
    features: ArrayLike, n: int, selected: ArrayLike | None = None, rng: np.random.Generator | None = None
) -> Indices:
    """Draw each pick with a probability in proportion to its squared distance from all that are picked or selected.

    The seeding of k-means++ (Arthur and Vassilvitskii, SODA 2007); on gradient embeddings the selection of BADGE (Ash
    et al., ICLR 2020, algorithm 1). Rows that coincide with picked ones come last.

    Args:
        features: (n, d).
        n: rows to pick; all of them if there are fewer.
        selected: (m, d), already covered.
        rng: draws; the first row uniformly, if nothing is selected.

    Raises:
        ValueError: also without rng.
    """
    rows, n = _checked(features, n)
    if rng is None:
        raise ValueError("k_means_plus_plus needs a random generator: rng=np.random.default_rng(seed)")
    space = _Space(rows)
    nearest = space.nearest(selected)
    remaining = np.ones(len(rows), bool)
    picked: list[int] = []
    while len(picked) < n:
        weights = np.where(remaining, 1.0 if np.isinf(nearest[0]) else nearest, 0.0)
        weights = weights if weights.any() else remaining.astype(float)
        total = np.cumsum(weights, dtype=np.float64)
        # side="right" steps over rows of probability 0; rounding must not step past the last other row.
        following = min(
            int(np.searchsorted(total, rng.random() * total[-1], side="right")), int(weights.nonzero()[0][-1])
        )
        np.minimum(nearest, space.squared(rows[following][None])[:, 0], out=nearest)
        remaining[following] = False
        picked.append(following)
    return np.array(picked, np.int64)


def k_medoids(distances: ArrayLike, n: int, iterations: int = 100) -> Indices:
    """Pick the n medoids: rows belong to their nearest medoid, and no other has a smaller sum of distances to its rows.

    Alternating k-medoids (Park and Jun 2009), started farthest first from the row nearest to all others, as PPAL's CCMS
    is (Yang et al., CVPR 2024).

    Args:
        distances: (m, m), symmetric, >= 0; memory is O(m^2), so cut the pool down first.
        n: medoids; all rows if there are fewer.
        iterations: at most.

    Returns:
        (n,) indices, the medoid of the largest cluster first.
    """
    matrix, n = _checked(distances, n)
    if matrix.shape[0] != matrix.shape[1] or (matrix < 0).any():
        raise ValueError(f"expected distances (m, m) >= 0, got {matrix.shape} from {matrix.min():g}")
    medoids = [int(matrix.sum(axis=1).argmin())]
    nearest = matrix[medoids[0]].copy()
    while len(medoids) < n:
        nearest[medoids] = -1
        medoids.append(int(nearest.argmax()))
        np.minimum(nearest, matrix[medoids[-1]], out=nearest)
    current = np.sort(np.array(medoids, np.int64))
    for _ in range(iterations):
        nearest_medoid = _nearest_medoid(matrix, current)
        clusters = [np.flatnonzero(nearest_medoid == k) for k in range(n)]
        better = np.sort([rows[matrix[np.ix_(rows, rows)].sum(axis=1).argmin()] for rows in clusters])
        if (better == current).all():
            break
        current = better
    return current[np.argsort(-np.bincount(_nearest_medoid(matrix, current), minlength=n), kind="stable")]


def typicality(features: ArrayLike, k: int = 20) -> NDArray[np.float64]:
    """Measure the density around each row: one over the mean distance to its k nearest neighbours.

    Hacohen, Dekel and Weinshall, "Active Learning on a Budget" (ICML 2022), equation 4, from memory of the paper.

    Args:
        features: (n, d).
        k: neighbours; all others if there are fewer.

    Returns:
        (n,) > 0; inf for a row whose neighbours coincide with it, and for a row that is alone.
    """
    rows, k = _checked(features, k)
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
) -> Indices:
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
    rows, n = _checked(features, n)
    if rng is None:
        raise ValueError("most_typical needs a random generator: rng=np.random.default_rng(seed)")
    from sklearn.cluster import KMeans, MiniBatchKMeans

    labelled = _like(() if selected is None else selected, rows)
    together = np.concatenate([labelled, rows])
    k = min(len(labelled) + n, _MOST_CLUSTERS, len(np.unique(together, axis=0)))
    algorithm, starts = (KMeans, 1) if k <= _FEW_CLUSTERS else (MiniBatchKMeans, 3)
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


def determinantal(features: ArrayLike, n: int, quality: ArrayLike | None = None, ridge: float = 0.1) -> Indices:
    """Pick good rows that point in different directions: greedily, for the largest determinant of their kernel matrix.

    The fast greedy MAP inference of determinantal point processes (Chen, Zhang and Zhou, NeurIPS 2018, algorithm 1)
    with the kernel ``q_i q_j cos(i, j)``, and `ridge` on the cosines' diagonal, so that a pick is never worthless. A
    copy of a picked row still adds ``ridge (2 + ridge) / (1 + ridge)`` instead of ``1 + ridge``.

    Args:
        features: (n, d); rows of length 0 resemble no other.
        n: rows to pick; all of them if there are fewer. Memory is O(n rows * n picks).
        quality: (n,) > 0; None: all the same.
        ridge: > 0.
    """
    rows, n = _checked(features, n)
    q = np.ones(len(rows)) if quality is None else np.asarray(quality, np.float64)
    if q.shape != (len(rows),) or not (q > 0).all() or not np.isfinite(q).all() or not ridge > 0:
        raise ValueError(f"expected a finite quality > 0 for each of {len(rows)} rows and a ridge > 0, got {q.shape}")
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = rows / np.where(lengths > 0, lengths, 1)
    remainder = np.where(lengths[:, 0] > 0, 1.0, 0.0) + ridge  # what a row would add, without its quality
    parts = np.zeros((n, len(rows)), rows.dtype)
    picked: list[int] = []
    while len(picked) < n:
        gain = np.log(q) * 2 + np.log(remainder)
        gain[picked] = -np.inf
        best = int(gain.argmax())
        step = len(picked)
        part = unit @ unit[best] - parts[:step].T @ parts[:step, best]
        part[best] += ridge
        parts[step] = part / np.sqrt(remainder[best])
        remainder = np.maximum(remainder - parts[step].astype(np.float64) ** 2, 1e-12)
        picked.append(best)
    return np.array(picked, np.int64)


class _Space:
    """Squared distances to all rows, by ``|x|^2 - 2 x c + |c|^2``."""

    def __init__(self, rows: NDArray) -> None:
        self.rows, self.lengths = rows, np.einsum("ij,ij->i", rows, rows)

    def squared(self, centres: NDArray) -> NDArray:
        """(n, c)."""
        distances = self.rows @ (-2 * centres.T)
        distances += self.lengths[:, None]
        distances += np.einsum("ij,ij->i", centres, centres)
        return np.maximum(distances, 0, out=distances)  # rounding

    def nearest(self, selected: ArrayLike | None) -> NDArray:
        """(n,) to the nearest selected row; inf where none is selected."""
        best = np.full(len(self.rows), np.inf, self.rows.dtype)
        for centres in _blocks(_like(() if selected is None else selected, self.rows), _AHEAD):
            np.minimum(best, self.squared(centres).min(axis=1), out=best)
        return best


def _nearest_medoid(distances: NDArray, medoids: Indices) -> Indices:
    """(m,) which medoid is nearest to each row; a medoid is its own, even if another one coincides with it."""
    nearest = distances[:, medoids].argmin(axis=1)
    nearest[medoids] = np.arange(len(medoids))
    return nearest


def _first(rows: NDArray, rng: np.random.Generator | None) -> int:
    if rng is not None:
        return int(rng.integers(len(rows)))
    return int(_Space(rows).squared(rows.mean(axis=0, dtype=np.float64)[None].astype(rows.dtype))[:, 0].argmin())


def _by_typicality(rows: NDArray, members: Indices) -> list[int]:
    if not len(members):
        return []
    return members[np.argsort(-typicality(rows[members]), kind="stable")].tolist()


def _blocks(rows: NDArray, size: int) -> Iterator[NDArray]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _like(selected: ArrayLike, rows: NDArray) -> NDArray:
    array = np.asarray(selected, rows.dtype)
    if array.size == 0:
        return np.zeros((0, rows.shape[1]), rows.dtype)
    if array.ndim != 2 or array.shape[1] != rows.shape[1]:
        raise ValueError(f"expected selected rows of {rows.shape[1]} numbers like the features, got {array.shape}")
    return _finite(array)


def _checked(features: ArrayLike, n: int) -> tuple[NDArray, int]:
    array = np.asarray(features)
    if array.ndim != 2 or not array.size:
        raise ValueError(f"expected features (n, d), got {array.shape}")
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise ValueError(f"expected to pick at least one row, got {n!r}")
    return _finite(array), min(int(n), len(array))


def _finite(array: NDArray) -> NDArray:
    for start, block in zip(range(0, len(array), _BLOCK), _blocks(array, _BLOCK), strict=True):
        if not np.isfinite(block).all():
            row = start + int(np.flatnonzero(~np.isfinite(block).all(axis=1))[0])
            raise ValueError(f"expected finite features, got {array[row]} in row {row}")
    return array
