"""How long trainings have to be, and how much of mAP is chance, before comparisons are frozen.

    python -m experiments.comparison.pilot vhr10 ssdd-large --data PATH/TO/DATA

For each seed a set of labels is drawn as an arm has it at its end: the known photographs, and tiles of the pool, at
random (``random``) or at random among those with an object (``filled``). The detector is trained on it at the rate
``--lr`` for several numbers of iterations, each with several orders of the tiles, and measured on the photographs
that choices are measured on. mAP should be flat where the comparisons' number is frozen, and no flatter for one set
than for the other. What two orders differ by is noise that more labels do not remove; seeds differ by their
photographs besides. The table goes to experiments/results/comparisons/pilot.csv; finished rows are not run again.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import al_rotate as al
from al_rotate.detection.training.schedule import Schedule

from ..learners.features import prepare_tiles
from ..learners.pools.tile_pool import POOLS, TilePool, make_pool
from ..paths import TABLES

KNOWN, FIRST = 40, 800  # photographs and iterations of the comparisons' first training
TILES = {"random": 1200, "filled": 600}  # about what is bought in the end
KEYS = ["pool", "seed", "lr", "tiles", "order", "iterations"]


def train_once(
    work: Path, data: Path | None, name: str, seed: int, lr: float, tiles: str, order: int, iterations: int
) -> dict[str, Any]:
    """Train on what a seed draws and measure; a row of the table."""
    import torch

    from ..learners.pools.learner import TileLearner

    torch.set_num_threads(1)
    pool = make_pool(POOLS[name], work / "pools" / name, data)
    sandbox = prepare_tiles(pool, work / "pools" / name)
    draw = pool.draw(seed, "val", KNOWN)
    start = work / "pilot" / f"{name}-{seed}-{lr}"
    known = pool.labels.subset(draw.known)
    if not (start / "trained.json").exists():
        TileLearner(sandbox, start, True, FIRST, lr, seed).train(None, {}, known, start)
    labels = pool.labels.subset(draw.known + _bought(pool, draw.pool, tiles, seed))
    with tempfile.TemporaryDirectory() as folder:
        learner = TileLearner(sandbox, start, lr=lr, seed=seed + 1000 * (order + 1))
        schedule = Schedule(least=iterations, most=iterations)
        checkpoint, metrics = learner.train(None, {}, labels, Path(folder), schedule)
        found = learner.predict(checkpoint, {i: pool.files[i] for i in draw.measured}, Path(folder) / "found")
    measured = al.evaluate(pool.merged(found, draw.photographs), pool.truth.subset(draw.photographs)).metrics()
    row = dict(zip(KEYS, (name, seed, lr, tiles, order, iterations), strict=True))
    return {**row, "images": len(labels), "boxes": labels.n_boxes, "loss": metrics["loss"], "mAP": measured["mAP"]}


def _bought(pool: TilePool, tiles: list[str], kind: str, seed: int) -> list[str]:
    drawn = np.random.default_rng([seed, 31]).permutation(tiles)
    if kind == "filled":
        filled = pool.labels.subset(drawn)
        drawn = filled.image_ids[filled.counts > 0]
    return drawn[: TILES[kind]].tolist()


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Mean mAP over seeds and orders, and the standard deviation of the order alone, in points."""
    kinds = ["pool", "lr", "tiles", "iterations"]
    cells = table.groupby(kinds)
    of_order = table.groupby([*kinds, "seed"])["mAP"].var().groupby(level=kinds).mean()
    return pd.DataFrame({"mAP": 100 * cells["mAP"].mean(), "noise": 100 * of_order**0.5, "n": cells.size()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pools", nargs="+", choices=list(POOLS))
    parser.add_argument("--work", type=Path, default=Path("work_dirs/comparisons"), help="data and workspaces")
    parser.add_argument("--data", type=Path, help="what holds vhr10/ and ssdd/, in DOTA form with splits/")
    parser.add_argument("--seeds", type=int, nargs="+", default=[200, 201])
    parser.add_argument("--lr", type=float, default=0.004, help="the highest learning rate, as comparisons have it")
    parser.add_argument("--orders", type=int, default=2)
    parser.add_argument("--iterations", type=int, nargs="+", default=[150, 300, 600, 1200])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--table", type=Path, default=TABLES / "pilot.csv")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = pd.read_csv(args.table).to_dict("records") if args.table.exists() else []
    finished = {tuple(row[key] for key in KEYS) for row in rows}
    wanted = itertools.product(args.pools, args.seeds, [args.lr], TILES, range(args.orders), args.iterations)
    left = [cell for cell in wanted if cell not in finished]
    for name in {cell[0] for cell in left}:
        prepare_tiles(make_pool(POOLS[name], args.work / "pools" / name, args.data), args.work / "pools" / name)
    # What a seed begins with is trained once, by the process that has all of its cells.
    of_seed = [[cell for cell in left if cell[:2] == seed] for seed in dict.fromkeys(cell[:2] for cell in left)]
    with ProcessPoolExecutor(args.jobs) as processes:
        for group in processes.map(partial(_train_all, args.work, args.data), of_seed):
            rows += group
            _write(rows, args.table)
    print(summary(pd.DataFrame(rows)).to_string(float_format="{:.2f}".format))


def _train_all(work: Path, data: Path | None, cells: list[tuple]) -> list[dict[str, Any]]:
    return [train_once(work, data, *cell) for cell in cells]


def _write(rows: list[dict[str, Any]], table: Path) -> None:
    table.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).sort_values(KEYS).to_csv(table, index=False, float_format="%.5g")


if __name__ == "__main__":
    main()
