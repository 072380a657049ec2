"""Sets of rows that differ from each other: pure functions on feature vectors, for pools of hundreds of thousands.

All take ``features`` (n, d), a row an image, compared by Euclidean distance, and give the indices of rows in the order
in which they were picked; ties go to the lower index. Scale the rows to unit length first where only their directions
count. Beside the features memory is O(n) unless it is said otherwise. Every function raises ValueError for another
shape, for a value that is not finite (it names the row), and for less than one row to pick.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["determinantal", "k_center", "k_means_plus_plus", "k_medoids", "most_typical", "typicality"]

_AHEAD = 16  # rows whose distances are computed together: one pass over the features instead of one each
_BLOCK = 1 << 16  # rows in one product
_FEW_CLUSTERS, _MOST_CLUSTERS = 50, 500  # TypiClust's: k-means below, mini-batches above, and no more than that

Indices = NDArray[np.int64]


def k_center(
    features: ArrayLike, n: int, selected: ArrayLike | None = None, rng: np.random.Generator | None = None
) -> Indices:
    """Farthest first: each pick is the row farthest from all that are picked or selected.

    The greedy 2-approximation of the k-centre problem (Gonzalez 1985), which core-set selection starts from (Sener and
    Savarese, ICLR 2018, algorithm 1). Exact: rows that may come next share a matrix product, which saves passes over
    the features and changes nothing else.

    Args:
        features: (n, d).
        n: rows to pick; all of them where there are fewer.
        selected: (m, d), covered already: the labelled images' vectors.
        rng: draws the first row when nothing is selected; None begins with the row nearest the mean.

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
    """Each pick is drawn with a chance in proportion to its squared distance from all that are picked or selected.

    The seeding of k-means++ (Arthur and Vassilvitskii, SODA 2007); on gradient embeddings the selection of BADGE (Ash
    et al., ICLR 2020, algorithm 1). Rows that coincide with picked ones come last.

    Args:
        features: (n, d).
        n: rows to pick; all of them where there are fewer.
        selected: (m, d), covered already.
        rng: draws; the first row evenly, when nothing is selected.

    Raises:
        ValueError: without rng, too.
    """
    rows, n = _checked(features, n)
    if rng is None:
        raise ValueError("k_means_plus_plus draws from a generator of yours: rng=np.random.default_rng(seed)")
    space = _Space(rows)
    nearest = space.nearest(selected)
    left = np.ones(len(rows), bool)
    picked: list[int] = []
    while len(picked) < n:
        chances = np.where(left, 1.0 if np.isinf(nearest[0]) else nearest, 0.0)
        chances = chances if chances.any() else left.astype(float)
        total = np.cumsum(chances, dtype=np.float64)
        # side="right" steps over the rows of no chance; the last row with one ends where the draw cannot reach.
        following = min(
            int(np.searchsorted(total, rng.random() * total[-1], side="right")), int(chances.nonzero()[0][-1])
        )
        np.minimum(nearest, space.squared(rows[following][None])[:, 0], out=nearest)
        left[following] = False
        picked.append(following)
    return np.array(picked, np.int64)


def k_medoids(distances: ArrayLike, n: int, iterations: int = 100) -> Indices:
    """The n rows that lie amid the others: each row belongs to its nearest medoid, each medoid has the least sum of
    distances to its own.

    Alternating k-medoids (Park and Jun 2009), begun farthest first from the row nearest to all others, as PPAL's CCMS
    does it (Yang et al., CVPR 2024).

    Args:
        distances: (m, m), symmetric, >= 0; memory is O(m^2), so cut the pool down first.
        n: medoids; all rows where there are fewer.
        iterations: at most.

    Returns:
        (n,) indices, the medoid of the largest cluster first.
    """
    apart, n = _checked(distances, n)
    if apart.shape[0] != apart.shape[1] or (apart < 0).any():
        raise ValueError(f"expected distances (m, m) >= 0, got {apart.shape} from {apart.min():g}")
    medoids = [int(apart.sum(axis=1).argmin())]
    nearest = apart[medoids[0]].copy()
    while len(medoids) < n:
        nearest[medoids] = -1
        medoids.append(int(nearest.argmax()))
        np.minimum(nearest, apart[medoids[-1]], out=nearest)
    now = np.sort(np.array(medoids, np.int64))
    for _ in range(iterations):
        own = apart[:, now].argmin(axis=1)
        own[now] = np.arange(n)  # where two medoids coincide each keeps itself
        members = [np.flatnonzero(own == k) for k in range(n)]
        better = np.sort([some[apart[np.ix_(some, some)].sum(axis=1).argmin()] for some in members])
        if (better == now).all():
            break
        now = better
    own = apart[:, now].argmin(axis=1)
    own[now] = np.arange(n)
    return now[np.argsort(-np.bincount(own, minlength=n), kind="stable")]


def typicality(features: ArrayLike, k: int = 20) -> NDArray[np.float64]:
    """How dense it is around each row: one over the mean distance to its k nearest others.

    Hacohen, Dekel and Weinshall, "Active Learning on a Budget" (ICML 2022), equation 4; from memory of the paper.

    Args:
        features: (n, d).
        k: neighbours; all others where there are fewer.

    Returns:
        (n,) > 0; inf for a row whose neighbours coincide with it, and for a row that is alone.
    """
    rows, k = _checked(features, k)
    k = min(k, len(rows) - 1)
    if k < 1:
        return np.full(len(rows), np.inf)
    from sklearn.neighbors import NearestNeighbors  # scikit-learn takes a second to load: not with the package

    # Beyond a few dimensions no tree is faster than the plain products, which scikit-learn does in blocks.
    distances = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(rows).kneighbors()[0]
    with np.errstate(divide="ignore"):
        return 1 / distances.mean(axis=1, dtype=np.float64)


def most_typical(
    features: ArrayLike, n: int, selected: ArrayLike | None = None, rng: np.random.Generator | None = None
) -> Indices:
    """The most typical row of each of the largest clusters that nothing selected lies in: for the first few labels.

    TypiClust (Hacohen, Dekel and Weinshall, ICML 2022, algorithm 1; from memory of the paper): as many clusters as
    rows are selected and wanted, at most 500; then again and again the cluster with the fewest selected or picked
    rows, the largest among these, gives its most typical row, by its 20 nearest neighbours in the cluster.

    Args:
        features: (n, d).
        n: rows to pick; all of them where there are fewer.
        selected: (m, d), labelled already.
        rng: seeds the clustering.

    Raises:
        ValueError: without rng, too.
    """
    rows, n = _checked(features, n)
    if rng is None:
        raise ValueError("most_typical seeds its clusters from a generator of yours: rng=np.random.default_rng(seed)")
    from sklearn.cluster import KMeans, MiniBatchKMeans

    known = _like(() if selected is None else selected, rows)
    everything = np.concatenate([known, rows])
    k = min(len(known) + n, _MOST_CLUSTERS, len(np.unique(everything, axis=0)))
    maker = KMeans if k <= _FEW_CLUSTERS else MiniBatchKMeans
    found = maker(k, n_init=1 if maker is KMeans else 3, random_state=int(rng.integers(2**31))).fit_predict(everything)
    taken = np.bincount(found[: len(known)], minlength=k)
    own = found[len(known) :]
    waiting = {c: _by_typicality(rows, np.flatnonzero(own == c)) for c in range(k)}
    picked: list[int] = []
    while len(picked) < n:
        c = min((c for c in waiting if waiting[c]), key=lambda c: (taken[c], -len(waiting[c]), c))
        picked.append(waiting[c].pop(0))
        taken[c] += 1
    return np.array(picked, np.int64)


def determinantal(features: ArrayLike, n: int, quality: ArrayLike | None = None, ridge: float = 0.1) -> Indices:
    """Good rows that point in different directions: greedy for the largest determinant of their kernel matrix.

    The fast greedy MAP inference of determinantal point processes (Chen, Zhang and Zhou, NeurIPS 2018, algorithm 1)
    with the kernel ``q_i q_j cos(i, j)``, and `ridge` on the cosines' diagonal: so a pick is never worthless, however
    many directions are used up. A copy of a picked row still adds ``ridge (2 + ridge) / (1 + ridge)`` instead of
    ``1 + ridge``.

    Args:
        features: (n, d); rows of length 0 resemble nothing.
        n: rows to pick; all of them where there are fewer. Memory is O(n rows * n picks).
        quality: (n,) > 0; None: all alike.
        ridge: > 0.
    """
    rows, n = _checked(features, n)
    good = np.ones(len(rows)) if quality is None else np.asarray(quality, np.float64)
    if good.shape != (len(rows),) or not (good > 0).all() or not np.isfinite(good).all() or not ridge > 0:
        raise ValueError(
            f"expected a finite quality > 0 for each of {len(rows)} rows and a ridge > 0, got {good.shape}"
        )
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = rows / np.where(lengths > 0, lengths, 1)
    left = np.where(lengths[:, 0] > 0, 1.0, 0.0) + ridge  # what a row would add, without its quality
    parts = np.zeros((n, len(rows)), rows.dtype)
    picked: list[int] = []
    while len(picked) < n:
        gain = np.log(good) * 2 + np.log(left)
        gain[picked] = -np.inf
        best = int(gain.argmax())
        step = len(picked)
        part = unit @ unit[best] - parts[:step].T @ parts[:step, best]
        part[best] += ridge
        parts[step] = part / np.sqrt(left[best])
        left = np.maximum(left - parts[step].astype(np.float64) ** 2, 1e-12)
        picked.append(best)
    return np.array(picked, np.int64)


class _Space:
    """Squared distances to all rows, by ``|x|^2 - 2 x c + |c|^2``."""

    def __init__(self, rows: NDArray) -> None:
        self.rows, self.lengths = rows, np.einsum("ij,ij->i", rows, rows)

    def squared(self, centres: NDArray) -> NDArray:
        """(n, c)."""
        found = self.rows @ (-2 * centres.T)
        found += self.lengths[:, None]
        found += np.einsum("ij,ij->i", centres, centres)
        return np.maximum(found, 0, out=found)  # rounding

    def nearest(self, selected: ArrayLike | None) -> NDArray:
        """(n,) to the nearest selected row; inf where none is selected."""
        best = np.full(len(self.rows), np.inf, self.rows.dtype)
        for some in _blocks(_like(() if selected is None else selected, self.rows), _AHEAD):
            np.minimum(best, self.squared(some).min(axis=1), out=best)
        return best


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
