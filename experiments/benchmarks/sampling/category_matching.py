"""PPAL's distances between images (CCMS): one product a class against the double loop over pairs of images.

    python experiments/benchmarks/category_matching.py

Images of 20 boxes, 8 classes, features of 96 numbers. Both are checked to say the same.
"""

from __future__ import annotations

import resource
import time

import numpy as np
from numpy.typing import NDArray

import al_rotate as al
from al_rotate.sampling.measures.distances import category_matching

BOXES, CLASSES, WIDTH = 20, 8, 96


def pool(images: int) -> al.RotatedInstances:
    rng = np.random.default_rng(0)
    total = images * BOXES
    return al.RotatedInstances(
        [f"{i:05d}" for i in range(images)],
        np.arange(images + 1) * BOXES,
        np.tile([50, 50, 20, 10, 0], (total, 1)),
        rng.integers(0, CLASSES, total),
        rng.random(total),
        box_features=rng.normal(0, 1, (total, WIDTH)),
    )


def plain(detections: al.RotatedInstances) -> NDArray[np.float64]:
    """A pair at a time, vectorised within the pair."""
    images = []
    for _, one in detections:
        assert one.box_features is not None
        assert one.scores is not None
        unit = one.box_features / np.linalg.norm(one.box_features, axis=1, keepdims=True)
        images.append((unit, one.labels, one.scores.astype(np.float64)))
    way = np.zeros((len(images), len(images)))
    for i, (f, labels, scores) in enumerate(images):
        for j, (g, others, _) in enumerate(images):
            apart = np.where(labels[:, None] == others[None], 1 - f @ g.T, 2).min(axis=1)
            way[i, j] = (scores * apart).sum() / scores.sum()
    found = (way + way.T) / 2
    np.fill_diagonal(found, 0)
    return found


def main() -> None:
    for images in (200, 500, 1000):
        detections = pool(images)
        started = time.perf_counter()
        mine = category_matching(detections)
        ours = time.perf_counter() - started
        started = time.perf_counter()
        theirs = plain(detections)
        loop = time.perf_counter() - started
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
        print(f"{images} images: ours {ours:.2f} s, double loop {loop:.2f} s ({loop / ours:.0f}x)", flush=True)
    for images in (2000, 4000):
        started = time.perf_counter()
        category_matching(pool(images))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{images} images: ours {time.perf_counter() - started:.2f} s, peak {peak:.0f} MB", flush=True)


if __name__ == "__main__":
    main()
