"""PPAL's distances between images (CCMS): one product per class against the double loop over pairs of images.

    python -m experiments.benchmarks.sampling.category_matching

Images of 20 boxes, 8 classes, features of 96 numbers. Both must give the same distances.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from numpy.typing import NDArray

import al_rotate as al
from al_rotate.sampling.measures.distances import category_matching

from ..isolated import peak_mb

BOXES, CLASSES, WIDTH = 20, 8, 96


def pool(n_images: int) -> al.RotatedInstances:
    rng = np.random.default_rng(0)
    n_boxes = n_images * BOXES
    return al.RotatedInstances(
        [f"{i:05d}" for i in range(n_images)],
        np.arange(n_images + 1) * BOXES,
        np.tile([50, 50, 20, 10, 0], (n_boxes, 1)),
        rng.integers(0, CLASSES, n_boxes),
        rng.random(n_boxes),
        box_features=rng.normal(0, 1, (n_boxes, WIDTH)),
    )


def double_loop(detections: al.RotatedInstances) -> NDArray[np.float64]:
    """The same distances pair by pair, vectorised within the pair."""
    images = []
    for _, image in detections:
        assert image.box_features is not None
        assert image.scores is not None
        unit = image.box_features / np.linalg.norm(image.box_features, axis=1, keepdims=True)
        images.append((unit, image.labels, image.scores.astype(np.float64)))
    one_way = np.zeros((len(images), len(images)))
    for i, (f, labels, scores) in enumerate(images):
        for j, (g, others, _) in enumerate(images):
            nearest = np.where(labels[:, None] == others[None], 1 - f @ g.T, 2).min(axis=1)
            one_way[i, j] = (scores * nearest).sum() / scores.sum()
    distances = (one_way + one_way.T) / 2
    np.fill_diagonal(distances, 0)
    return distances


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compared", type=int, nargs="*", default=[200, 500, 1000], help="images, both ways")
    parser.add_argument("--large", type=int, nargs="*", default=[2000, 4000], help="images, our way alone")
    args = parser.parse_args()
    for n_images in args.compared:
        detections = pool(n_images)
        started = time.perf_counter()
        ours = category_matching(detections)
        our_seconds = time.perf_counter() - started
        started = time.perf_counter()
        theirs = double_loop(detections)
        seconds = time.perf_counter() - started
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
        ratio = seconds / our_seconds
        print(f"{n_images} images: ours {our_seconds:.2f} s, double loop {seconds:.2f} s ({ratio:.0f}x)", flush=True)
    for n_images in args.large:
        started = time.perf_counter()
        category_matching(pool(n_images))
        seconds = time.perf_counter() - started
        print(f"{n_images} images: ours {seconds:.2f} s, peak {peak_mb():.0f} MB", flush=True)


if __name__ == "__main__":
    main()
