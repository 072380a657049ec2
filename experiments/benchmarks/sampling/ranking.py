"""Scoring and ranking a pool that streams from Parquet: against a loop over images, and against the memory's speed.

    python experiments/benchmarks/ranking.py [--images 1000000] [--folder POOL]

The loop is what a notebook does: pandas, an image at a time, on the first shards only, and its time is scaled up to the
pool. The memory's speed is what NumPy reaches when it copies arrays of the pool's size, on one core. Peaks are of a
process that does this and nothing else. With --folder the pool is made there, and kept.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import al_rotate as al

BOXES = 50  # an image, in the mean
SHARD = 5000  # images
BYTES = 5 * 4 + 4 + 4  # a box: place, label, score


def make(folder: Path, images: int) -> None:
    for number in range(images // SHARD):
        file = folder / f"part-{number:05d}.parquet"
        if file.exists():
            continue
        rng = np.random.default_rng(number)
        counts = rng.poisson(BOXES, SHARD)
        total = int(counts.sum())
        boxes = rng.random((total, 5), np.float32) * np.float32([1000, 1000, 60, 20, 1.5]) + np.float32([0, 0, 4, 2, 0])
        ids = [f"scene/{number * SHARD + k:07d}" for k in range(SHARD)]
        offsets = np.concatenate([[0], np.cumsum(counts)])
        al.RotatedInstances(ids, offsets, boxes, rng.integers(0, 15, total), rng.random(total, np.float32)).save(file)


def ranked(folder: Path, strategy: str) -> float:
    started = time.perf_counter()
    table = al.rank(folder, strategy)
    assert table["score"].is_monotonic_decreasing
    return time.perf_counter() - started


def read(folder: Path) -> float:
    """Only the files, into arrays that are thrown away."""
    started = time.perf_counter()
    for part in al.RotatedInstances.stream(folder):
        assert part.scores is not None
    return time.perf_counter() - started


def loop(folder: Path, shards: int) -> float:
    """Seconds for these shards."""
    started = time.perf_counter()
    scores: dict[str, float] = {}
    for part, _ in zip(al.RotatedInstances.stream(folder), range(shards), strict=False):
        for image_id, boxes in part.to_frame().groupby("image_id"):
            p = np.clip(boxes["score"].astype(float), 1e-12, 1 - 1e-12)
            scores[str(image_id)] = float((-p * np.log(p) - (1 - p) * np.log(1 - p)).mean())
    assert sorted(scores, key=scores.__getitem__, reverse=True)
    return time.perf_counter() - started


def copied(gigabytes: float) -> float:
    """Bytes a second read and written, the best of three."""
    source = np.ones(int(gigabytes * 2**30) // 8)
    target = np.empty_like(source)
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        np.copyto(target, source)
        seconds.append(time.perf_counter() - started)
    return 2 * source.nbytes / min(seconds)


def alone(function: Callable[..., float], *arguments: object) -> tuple[float, float]:
    """What it returns, and the process's peak in MB."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (function, arguments))


def _measured(function: Callable[..., float], arguments: tuple[object, ...]) -> tuple[float, float]:
    return function(*arguments), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def compare(folder: Path, images: int) -> None:
    make(folder, images)
    size = sum(file.stat().st_size for file in folder.glob("*.parquet"))
    bytes_held = images * BOXES * BYTES
    print(f"{images:,} images, about {images * BOXES:,} boxes: {size / 2**30:.2f} GB on disk, "
          f"{bytes_held / 2**30:.2f} GB in arrays", flush=True)  # fmt: skip
    speed, _ = alone(copied, 1.0)
    bare = bytes_held / speed
    print(
        f"memory: copies at {speed / 2**30:.1f} GB/s, so that touching the arrays once takes {bare:.2f} s", flush=True
    )
    seconds, peak = alone(read, folder)
    print(f"reading the files alone: {seconds:.1f} s, peak {peak:.0f} MB", flush=True)
    few = min(2, images // SHARD)
    slow, _ = alone(loop, folder, few)
    slow *= images / SHARD / few
    for strategy in ("entropy", "box-count"):
        seconds, peak = alone(ranked, folder, strategy)
        print(f"{strategy}: {seconds:.1f} s, peak {peak:.0f} MB; {seconds / bare:.0f}x the bare memory; "
              f"pandas, image by image, {slow:.0f} s ({slow / seconds:.0f}x)", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    if arguments.folder:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        compare(arguments.folder, arguments.images)
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder), arguments.images)


if __name__ == "__main__":
    main()
