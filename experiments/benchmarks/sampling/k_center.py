"""Farthest-first selection: ours against scikit-activeml's and a plain NumPy loop, and how it grows with the pool.

    pip install scikit-activeml --no-deps
    python experiments/benchmarks/k_center.py

Features are drawn from a mixture, 256 numbers each, in float32. Peaks are of a process that does this and nothing else.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from al_rotate.sampling.measures.diversity import k_center

WIDTH = 256


def features(n: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    places = rng.normal(0, 1, (300, WIDTH)).astype(np.float32)
    return places[rng.integers(0, 300, n)] + rng.normal(0, 0.7, (n, WIDTH)).astype(np.float32)


def plain(rows: NDArray, picks: int) -> list[int]:
    """The textbook's way: a difference, a square and a sum over the whole pool for each pick."""
    first = int(((rows - rows.mean(axis=0)) ** 2).sum(axis=1).argmin())
    nearest = ((rows - rows[first]) ** 2).sum(axis=1)
    picked = [first]
    while len(picked) < picks:
        picked.append(int(nearest.argmax()))
        np.minimum(nearest, ((rows - rows[picked[-1]]) ** 2).sum(axis=1), out=nearest)
    return picked


def ours(n: int, picks: int) -> float:
    rows = features(n)
    started = time.perf_counter()
    k_center(rows, picks)
    return time.perf_counter() - started


def by_numpy(n: int, picks: int) -> float:
    rows = features(n)
    started = time.perf_counter()
    found = plain(rows, picks)
    took = time.perf_counter() - started
    assert found == k_center(rows, picks).tolist()
    return took


def by_scikit_activeml(n: int, picks: int) -> float:
    from skactiveml.pool import CoreSet

    rows = features(n)
    labels = np.full(n, np.nan)
    labels[0] = 0  # it wants one to begin with
    started = time.perf_counter()
    CoreSet(random_state=0).query(rows, labels, batch_size=picks)
    return time.perf_counter() - started


def alone(function: Callable[[int, int], float], n: int, picks: int) -> tuple[float, float]:
    """Seconds, and the process's peak in MB."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (function, n, picks))


def _measured(function: Callable[[int, int], float], n: int, picks: int) -> tuple[float, float]:
    return function(n, picks), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    for n, picks in ((2000, 200), (10_000, 500)):
        mine = alone(ours, n, picks)
        for name, peer in (("plain NumPy", by_numpy), ("scikit-activeml", by_scikit_activeml)):
            theirs = alone(peer, n, picks)
            print(f"{picks} of {n}: ours {mine[0]:.2f} s, {name} {theirs[0]:.2f} s ({theirs[0] / mine[0]:.0f}x), "
                  f"peaks {mine[1]:.0f} and {theirs[1]:.0f} MB", flush=True)  # fmt: skip
    for n in (10_000, 100_000, 200_000, 1_000_000):
        seconds, peak = alone(ours, n, 1000)
        size = n * WIDTH * 4 / 2**20
        print(f"1000 of {n}: {seconds:.1f} s, {1e9 * seconds / n / 1000:.1f} ns a row and pick, peak {peak:.0f} MB "
              f"beside features of {size:.0f} MB", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
