"""Farthest-first selection: ours against scikit-activeml's and a plain NumPy loop, and how it grows with the pool.

    pip install scikit-activeml --no-deps
    python -m experiments.benchmarks.sampling.k_center

Features are drawn from a mixture, 256 numbers each, in float32. Peaks are of a process that does nothing else.
"""

from __future__ import annotations

import argparse
import time
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from al_rotate.sampling.measures.diversity import k_center

from ..isolated import alone

WIDTH = 256


def features(n: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 1, (300, WIDTH)).astype(np.float32)
    return centres[rng.integers(0, 300, n)] + rng.normal(0, 0.7, (n, WIDTH)).astype(np.float32)


def textbook(rows: NDArray, n_picks: int) -> list[int]:
    """A difference, a square and a sum over the whole pool for each pick."""
    first = int(((rows - rows.mean(axis=0)) ** 2).sum(axis=1).argmin())
    nearest = ((rows - rows[first]) ** 2).sum(axis=1)
    picks = [first]
    while len(picks) < n_picks:
        picks.append(int(nearest.argmax()))
        np.minimum(nearest, ((rows - rows[picks[-1]]) ** 2).sum(axis=1), out=nearest)
    return picks


def ours(n: int, n_picks: int) -> float:
    rows = features(n)
    started = time.perf_counter()
    k_center(rows, n_picks)
    return time.perf_counter() - started


def by_numpy(n: int, n_picks: int) -> float:
    rows = features(n)
    started = time.perf_counter()
    picks = textbook(rows, n_picks)
    seconds = time.perf_counter() - started
    assert picks == k_center(rows, n_picks).tolist()
    return seconds


def by_scikit_activeml(n: int, n_picks: int) -> float:
    from skactiveml.pool import CoreSet

    rows = features(n)
    labels = np.full(n, np.nan)
    labels[0] = 0  # it needs a label to begin with
    started = time.perf_counter()
    CoreSet(random_state=0).query(rows, labels, batch_size=n_picks)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compared", type=int, nargs="*", default=[2000, 10_000], help="sizes of pools, all ways")
    parser.add_argument(
        "--large", type=int, nargs="*", default=[10_000, 100_000, 200_000, 1_000_000], help="our way alone"
    )
    args = parser.parse_args()
    peers = {"plain NumPy": by_numpy}
    if find_spec("skactiveml"):
        peers["scikit-activeml"] = by_scikit_activeml
    else:
        print("scikit-activeml is not installed: it is left out")
    for n in args.compared:
        n_picks = min(500, n // 10)
        seconds, peak = alone(ours, n, n_picks)
        for name, peer in peers.items():
            their_seconds, their_peak = alone(peer, n, n_picks)
            ratio = their_seconds / seconds
            print(f"{n_picks} of {n}: ours {seconds:.2f} s, {name} {their_seconds:.2f} s ({ratio:.0f}x), "
                  f"peaks {peak:.0f} and {their_peak:.0f} MB", flush=True)  # fmt: skip
    for n in args.large:
        n_picks = min(1000, n)
        seconds, peak = alone(ours, n, n_picks)
        size = n * WIDTH * 4 / 2**20
        print(f"{n_picks} of {n}: {seconds:.1f} s, {1e9 * seconds / n / n_picks:.1f} ns per row and pick, "
              f"peak {peak:.0f} MB with features of {size:.0f} MB", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
