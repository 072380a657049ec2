"""Every strategy, and the options that all have, on a pool of tiles most of which are empty: seconds and peak memory.

    python -m experiments.benchmarks.sampling.strategies [--images 8000] [--only pal "pal duplicates=0.1"]

Three quarters of the tiles are empty, with three faint boxes each; the others hold fifteen of ten classes. Image
features have 256 numbers, those of boxes 96. 400 images are labelled, and 200 are picked. Strategies that detect in
other views are left out. The peer is `entropy`, which only adds up and sorts. Peaks are of a process that does nothing
else, and include the pool.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings

import numpy as np

import al_rotate as al
from al_rotate.sampling import STRATEGIES, NotCalibrated, QueryContext, make_strategy, needs_of

from ..isolated import alone

CLASSES, PICKS, LABELLED = 10, 200, 400
OPTIONS = ("start=typiclust", "per_scene=2", "triage=0.95", "duplicates=0.1")


def pool(n_images: int, prefix: str, seed: int) -> al.RotatedInstances:
    rng = np.random.default_rng(seed)
    filled = rng.random(n_images) < 0.25
    counts = np.where(filled, 15, 3)
    sure = np.repeat(filled, counts)
    n_boxes = int(counts.sum())
    class_scores = rng.random((n_boxes, CLASSES)) * np.where(sure, 0.9, 0.15)[:, None]
    boxes = rng.random((n_boxes, 5)) * [192, 192, 40, 20, 1.5] + [0, 0, 8, 4, 0]
    return al.RotatedInstances(
        [f"{prefix}{i // 50:04d}__{i % 50:02d}" for i in range(n_images)],
        np.concatenate([[0], np.cumsum(counts)]),
        boxes,
        class_scores.argmax(axis=1),
        class_scores.max(axis=1),
        class_scores,
        box_features=rng.normal(0, 1, (n_boxes, 96)),
        image_features=rng.normal(0, 1, (n_images, 256)),
        classes=[f"class{k}" for k in range(CLASSES)],
    )


def rank(n_images: int, name: str) -> float:
    """Rank the pool by ``strategy option=value ...``; return the seconds."""
    candidates, answered = pool(n_images, "P", 0), pool(LABELLED, "L", 1)
    assert answered.scores is not None
    truth = answered.where(np.random.default_rng(2).random(answered.n_boxes) < answered.scores).as_labels()
    context = QueryContext(truth, answered, answered.image_features, labelled_detections=answered)
    strategy, *options = name.split()
    values = {key: value if key == "start" else json.loads(value) for key, value in (o.split("=") for o in options)}
    warnings.simplefilter("ignore", NotCalibrated)
    started = time.perf_counter()
    table = al.rank(candidates, strategy, np.random.default_rng(0), context, PICKS, **values)
    seconds = time.perf_counter() - started
    assert len(table) == n_images
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=8000)
    names = [name for name in STRATEGIES if "views" not in needs_of(make_strategy(name))]
    names += [f"pal {option}" for option in OPTIONS] + [f"pal {' '.join(OPTIONS)}"]
    parser.add_argument("--only", nargs="+", default=names)
    args = parser.parse_args()
    peer, _ = alone(rank, args.images, "entropy")
    for name in args.only:
        seconds, peak = alone(rank, args.images, name)
        print(f"{name}: {seconds:.2f} s ({seconds / peer:.0f}x entropy), peak {peak:.0f} MB", flush=True)


if __name__ == "__main__":
    main()
