"""Score and rank a pool that streams from Parquet: against a loop over images, and against the memory's speed.

    python -m experiments.benchmarks.sampling.ranking [--images 1000000] [--folder POOL]

The loop is what a notebook does: pandas, one image at a time, on the first shards only; its time is scaled up to the
pool. The memory's speed is what NumPy reaches when it copies arrays of the pool's size, on one core. Peaks are of a
process that does nothing else. With --folder the pool is made there, and kept.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

import al_rotate as al

from ..isolated import alone

BOXES = 50  # per image, on average
SHARD = 5000  # images
BYTES = 5 * 4 + 4 + 4  # per box: position, label, score


def make_pool(folder: Path, n_images: int) -> None:
    """Write shards of detections, those that are not there yet."""
    for number in range(n_images // SHARD):
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


def rank(folder: Path, strategy: str) -> float:
    started = time.perf_counter()
    table = al.rank(folder, strategy)
    assert table["score"].is_monotonic_decreasing
    return time.perf_counter() - started


def read(folder: Path) -> float:
    """Only read the files, into arrays that are thrown away."""
    started = time.perf_counter()
    for shard in al.RotatedInstances.stream(folder):
        assert shard.scores is not None
    return time.perf_counter() - started


def loop_over_images(folder: Path, n_shards: int) -> float:
    """Rank the first shards with pandas, one image at a time."""
    started = time.perf_counter()
    scores: dict[str, float] = {}
    for shard, _ in zip(al.RotatedInstances.stream(folder), range(n_shards), strict=False):
        for image_id, boxes in shard.to_frame().groupby("image_id"):
            p = np.clip(boxes["score"].astype(float), 1e-12, 1 - 1e-12)
            scores[str(image_id)] = float((-p * np.log(p) - (1 - p) * np.log(1 - p)).mean())
    assert sorted(scores, key=scores.__getitem__, reverse=True)
    return time.perf_counter() - started


def copy(gigabytes: float) -> float:
    """Bytes per second read and written, the best of three."""
    source = np.ones(int(gigabytes * 2**30) // 8)
    target = np.empty_like(source)
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        np.copyto(target, source)
        seconds.append(time.perf_counter() - started)
    return 2 * source.nbytes / min(seconds)


def compare(folder: Path, n_images: int) -> None:
    make_pool(folder, n_images)
    size = sum(file.stat().st_size for file in folder.glob("*.parquet"))
    n_bytes = n_images * BOXES * BYTES
    print(f"{n_images:,} images, about {n_images * BOXES:,} boxes: {size / 2**30:.2f} GB on disk, "
          f"{n_bytes / 2**30:.2f} GB in arrays", flush=True)  # fmt: skip
    speed, _ = alone(copy, 1.0)
    bare = n_bytes / speed
    print(
        f"memory: copies at {speed / 2**30:.1f} GB/s, so that touching the arrays once takes {bare:.2f} s", flush=True
    )
    seconds, peak = alone(read, folder)
    print(f"reading the files alone: {seconds:.1f} s, peak {peak:.0f} MB", flush=True)
    n_shards = min(2, n_images // SHARD)
    slow, _ = alone(loop_over_images, folder, n_shards)
    slow *= n_images / SHARD / n_shards
    for strategy in ("entropy", "box-count"):
        seconds, peak = alone(rank, folder, strategy)
        print(f"{strategy}: {seconds:.1f} s, peak {peak:.0f} MB; {seconds / bare:.0f}x the bare memory; "
              f"pandas, image by image, {slow:.0f} s ({slow / seconds:.0f}x)", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1_000_000, help=f"a multiple of {SHARD}")
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    if args.folder:
        args.folder.mkdir(parents=True, exist_ok=True)
        compare(args.folder, args.images)
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder), args.images)


if __name__ == "__main__":
    main()
