"""What selection saves with AP by area: tables have it at 11 points, which are coarse, most with one class.

    python -m experiments.evidence.by_area vhr10 ssdd-large --candidate pal --control random-class --work WORK

Measures the detections again that the workspaces of these comparisons hold, and prints what
:mod:`experiments.evidence.claim` calls by shift. The mAP of each cell goes to by_area.csv beside the tables.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

import al_rotate as al

from ..comparison.bootstrap import mean_ap
from ..comparison.cells import RESAMPLES
from ..comparison.config import Cell, cell_folder, list_cells, load_config, run_as
from ..learners.pools.tile_pool import POOLS, make_pool
from ..paths import COMPARISONS, TABLES
from . import analysis, claim
from .prices import costs_of
from .savings import DETECTED, Share, after_the_shared_query, steps_to


def measured_by_area(name: str, table: pd.DataFrame, arms: Iterable[str], work: Path) -> pd.DataFrame:
    """The rows of some arms after the first query, with ``mAP`` and ``resampled`` by area.

    Raises:
        FileNotFoundError: if a workspace is gone.
        ValueError: if detections are not those that the table was made of.
    """
    config = load_config(COMPARISONS / f"{name}.yaml")
    pool = make_pool(POOLS[config["pool"]], work / "pools" / config["pool"], None)
    truth = pool.truth.subset(sorted(pool.test))
    cells = {(cell.arm, cell.seed, cell.round): cell for cell in list_cells(config)}
    rows = table[table["name"].isin([*arms]) & (table["round"] > 0)].copy()
    points, draws = [], []
    for row in tqdm(rows.itertuples(), name, len(rows)):
        cell: Cell = run_as(config, cells[row.name, row.seed, row.round])
        folder = cell_folder(work, config, cell) / "rounds" / f"{cell.round:03d}" / "test_detections"
        detections = pool.merged(al.RotatedInstances.load(folder), truth.image_ids.tolist())
        if row.round == rows["round"].max() and not np.isclose(al.evaluate(detections, truth).mean_ap, row.mAP):
            raise ValueError(f"expected detections of mAP {row.mAP} in {folder}, got others")
        points.append(al.evaluate(detections, truth, eval_mode="area").mean_ap)
        draws.append(mean_ap(detections, truth, RESAMPLES, pool.overlaps, eval_mode="area").round(5).tolist())
    return rows.assign(mAP=points, resampled=draws)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+", help="names of comparisons")
    parser.add_argument("--candidate", required=True)
    parser.add_argument("--control", default=DETECTED, help="the best control of the choices (default: %(default)s)")
    parser.add_argument("--work", type=Path, default=Path("work_dirs/comparisons"), help="that they were run in")
    args = parser.parse_args()
    measured, shifts = [], {args.control: [], DETECTED: []}
    for name in args.tables:
        table = claim.read(name, args.candidate, args.control)
        best = steps_to(table, args.candidate, args.control)[-2].arm
        rows = measured_by_area(name, table, {args.candidate, best, DETECTED}, args.work)
        measured.append(rows.assign(comparison=name)[["comparison", "name", "seed", "round", "mAP"]])
        priced = after_the_shared_query(rows, costs_of(rows)["12 s"])
        for other, arm in {args.control: best, DETECTED: DETECTED}.items():
            shifts[other].append(analysis.shift(priced, "log_spent", args.candidate, arm))
    pd.concat(measured).to_csv(TABLES / "by_area.csv", index=False, float_format="%.5f")
    for other, of_each in shifts.items():
        for name, shift in zip([*args.tables, "together"], [*of_each, analysis.pooled(of_each)], strict=True):
            print(f"{name}, against {other}: {Share(*shift.saving)}, p = {shift.p:.2g}")


if __name__ == "__main__":
    main()
