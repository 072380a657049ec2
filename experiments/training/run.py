"""Train the sandbox detector on the same labels in several ways, and measure it on the test images.

    python -m experiments.training.run --data PATH/TO/DATA --seeds 0 1

A seed draws the order in which images are labelled, and the initial weights; all recipes share both. Each training is a
line of ``results/training/DATASET.csv`` as soon as it is done. The same call after a kill goes on where it was.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import al_rotate as al

from ..learners.datasets import small_copies
from ..learners.features import FLIPS, Sandbox, write_features
from ..learners.sandbox import SandboxLearner
from ..paths import RESULTS
from .recipes import RECIPES, SIZES, Recipe

TABLES = RESULTS / "training"
PIXELS = {"scenes": 192, "vhr10": 256}  # of both sides of what the detector sees


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder with vhr10/, in DOTA form")
    parser.add_argument("--work", type=Path, default=Path("work_dirs/training"), help="for features and weights")
    parser.add_argument("--datasets", nargs="+", choices=PIXELS, default=[*PIXELS])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=[*RECIPES])
    parser.add_argument("--most", type=int, choices=SIZES, default=max(SIZES), help="labelled images, at most")
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    for seed in args.seeds:  # outermost: a run that is cut off has whole seeds
        for name in args.datasets:
            sandbox = prepare(name, args.work / name, args.data and args.data / name)
            for recipe in args.recipes:
                run(sandbox, args.work / "weights" / name, TABLES / f"{name}.csv", recipe, seed, args.most)


def prepare(name: str, folder: Path, data: Path | None) -> Sandbox:
    """Make a dataset with the features that are needed here: flips of the pool's images, and the test images."""
    parts, size = small_copies(name, folder, PIXELS[name], data), PIXELS[name]
    used = {part: parts[part] for part in ("pool", "test")}
    views = {i: FLIPS if part == "pool" else FLIPS[:1] for part, (_, files) in used.items() for i in files}
    features = folder / "flips.npy"
    if not features.exists():
        write_features(features, {i: file for _, files in used.values() for i, file in files.items()}, views, size)
    starts = np.cumsum([0, *map(len, views.values())]).tolist()
    sizes = {i: tuple(image.image_sizes[0].tolist()) for labels, _ in used.values() for i, image in labels}
    rows = dict(zip(views, starts, strict=False))
    return Sandbox(size, used, np.load(features, mmap_mode="r"), rows, sizes, FLIPS)


def run(sandbox: Sandbox, work: Path, table: Path, name: str, seed: int, most: int) -> None:
    """Train one recipe with one seed on all sets of labels, except those that are in the table already."""
    recipe, done = RECIPES[name], _done(table)
    labels, files = sandbox.parts["pool"]
    order = np.random.default_rng([seed, 17]).permutation(sorted(labels.image_ids.tolist())).tolist()
    learner = SandboxLearner(sandbox, seed=seed)
    checkpoint, trained = None, 0
    for n in recipe.rounds(most):
        is_measured = n in SIZES
        folder, started = work / f"{name}-{seed}-{n}", time.process_time()
        if (name, seed, n) in done and not recipe.warm:
            continue
        chosen = order[:n]
        checkpoint, metrics = _train(learner, recipe, checkpoint, files, labels.subset(chosen), folder)
        trained = int(metrics["iterations"]) + (trained if recipe.warm else 0)
        if is_measured and (name, seed, n) not in done:
            truth, test_files = sandbox.parts["test"]
            measured = al.evaluate(learner.predict(checkpoint, test_files, folder / "test"), truth).metrics()
            row = {"recipe": name, "seed": seed, "images": n, "boxes": labels.subset(chosen).n_boxes}
            row |= {"iterations": int(metrics["iterations"]), "iterations_in_all": trained, **measured}
            _append(table, {**row, "cpu_s": round(time.process_time() - started, 1)})
            print(table.stem, row["recipe"], f"seed {seed}, {n} images: mAP {100 * measured['mAP']:.1f} %", flush=True)


def _train(
    learner: SandboxLearner, recipe: Recipe, before: Path | None, files: Any, labels: al.RotatedInstances, folder: Path
) -> tuple[Path, dict[str, float]]:
    start = before if recipe.warm else None
    return learner.train(start, files, labels, folder, schedule=recipe.schedule_of(before is None))


def _done(table: Path) -> set[tuple[str, int, int]]:
    if not table.exists():
        return set()
    with table.open(newline="") as file:
        return {(row["recipe"], int(row["seed"]), int(row["images"])) for row in csv.DictReader(file)}


def _append(table: Path, row: dict[str, Any]) -> None:
    """Add a line; the columns are those of the first line, since all have the same test images."""
    table.parent.mkdir(parents=True, exist_ok=True)
    is_new = not table.exists()
    with table.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if is_new:
            writer.writeheader()
        writer.writerow({key: f"{value:.5f}" if isinstance(value, float) else value for key, value in row.items()})


if __name__ == "__main__":
    main()
