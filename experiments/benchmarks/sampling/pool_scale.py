"""A pool of a million images: make a workspace, rank it, pick a thousand. The peer is pandas sorting the same ids.

python -m experiments.benchmarks.sampling.pool_scale
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

import al_rotate as al

from ..isolated import peak_mb

BOXES = 5  # per image, on average


@contextmanager
def timed(what: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    print(f"{what:45} {time.perf_counter() - started:6.2f} s   peak {peak_mb() / 1024:.2f} GB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1_000_000)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    ids = [f"scene/{i:07d}" for i in rng.permutation(args.images)]
    counts = rng.poisson(BOXES, args.images)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    boxes = np.tile(np.float32([50, 50, 20, 10, 0.1]), (offsets[-1], 1))
    scores = rng.random(offsets[-1], np.float32)
    with tempfile.TemporaryDirectory() as folder:
        images = {image_id: f"pool/{image_id}.jpg" for image_id in ids}
        with timed("workspace: create"):
            al.Workspace.create(Path(folder) / "work", images, ("ship",), {}).close()
        del images
        with timed("workspace: open, list the unlabelled"):
            workspace = al.Workspace.open(Path(folder) / "work")
            unlabelled = workspace.ids("unlabelled")
        assert len(unlabelled) == args.images
        with timed(f"container: {offsets[-1]:,} detections, validated"):
            detections = al.RotatedInstances(ids, offsets, boxes, np.zeros(len(boxes), int), scores)
        n_picks = min(1000, args.images)
        with timed(f"rank by entropy and pick {n_picks:,}"):
            picks = al.select(detections, "entropy", n_picks)
        with timed("workspace: record the query"):
            workspace.begin_round()
            workspace.record_query(0, picks)
        workspace.close()
    with timed("peer: pandas sorts the ids"):
        pd.Series(ids).sort_values()


if __name__ == "__main__":
    main()
