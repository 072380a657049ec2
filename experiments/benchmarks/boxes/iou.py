"""Rotated IoU of al_rotate.boxes against mmcv's op and shapely, in one process.

    python -m experiments.benchmarks.boxes.iou

Prints seconds (median of several turns, peers interleaved), the ratio to mmcv, and the largest difference from
shapely in double precision.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import shapely
import torch
from mmcv.ops import box_iou_rotated

from al_rotate import boxes


def scene(rng: np.random.Generator, n: int, side: float) -> np.ndarray:
    """Ships and vehicles spread over a scene of `side` pixels."""
    length = rng.uniform(15, 90, n)
    columns = [rng.uniform(0, side, n), rng.uniform(0, side, n), length, length * rng.uniform(0.2, 0.6, n)]
    return np.column_stack([*columns, rng.uniform(-np.pi / 2, np.pi / 2, n)])


def with_shapely(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    first, second = shapely.polygons(boxes.to_corners(a)), shapely.polygons(boxes.to_corners(b))
    iou = np.zeros((len(a), len(b)))
    rows, columns = shapely.STRtree(second).query(first, predicate="intersects")
    common = shapely.area(shapely.intersection(first[rows], second[columns]))
    iou[rows, columns] = common / (shapely.area(first)[rows] + shapely.area(second)[columns] - common)
    return iou


def with_mmcv(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return box_iou_rotated(torch.from_numpy(a).float(), torch.from_numpy(b).float()).numpy()


PEERS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "al_rotate": boxes.iou,
    "mmcv": with_mmcv,
    "shapely": with_shapely,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    cases = {
        "2000 x 2000 over a scene of 4000 px": (scene(rng, 2000, 4000), scene(rng, 2000, 4000)),
        "300 x 300 in a crowd of 256 px": (scene(rng, 300, 256), scene(rng, 300, 256)),
    }
    for name, (a, b) in cases.items():
        times: dict[str, list[float]] = {peer: [] for peer in PEERS}
        results = {}
        for _ in range(args.turns):
            for peer, function in PEERS.items():
                started = time.perf_counter()
                results[peer] = function(a, b)
                times[peer].append(time.perf_counter() - started)
        print(name)
        for peer, seconds in times.items():
            median = statistics.median(seconds)
            ratio = statistics.median(times["mmcv"]) / median
            difference = np.abs(results[peer] - results["shapely"]).max()
            print(f"  {peer:10} {median:8.4f} s   {ratio:7.1f} x mmcv   largest difference {difference:.1e}")


if __name__ == "__main__":
    main()
