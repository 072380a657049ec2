"""Run a whole comparison in seconds, on a pool whose best order is known; fail when selection does not select.

python -m experiments.evidence.smoke
"""

from __future__ import annotations

import argparse
import shutil

import pandas as pd

import al_rotate as al

from ..comparison.run import run
from ..learners import planted
from ..paths import EXPERIMENTS, REPOSITORY
from .analysis import areas, savings
from .report import write_report

GUIDED = ("entropy", "calibrated-entropy")  # these must select the ferries
CONFIG = EXPERIMENTS / "configs" / "planted.yaml"
WORK = REPOSITORY / "work_dirs" / "evidence_smoke"


def check(table: pd.DataFrame) -> None:
    """Check what must hold for any seeds.

    Raises:
        AssertionError: naming what does not.
    """
    pool = planted.labels(planted.POOL, "pool", 0)
    measured, saved = areas(table, "images"), savings(table, "images")["saving"]
    for name in GUIDED:
        later = table[(table["name"] == name) & (table["round"] > 0)]
        queried = [image_id for ids in later["asked"] for image_id in ids]
        n_ferries = sum(planted.has_ferry(pool, image_id) for image_id in queried)
        # Of 30 the first round selects some by chance: the others come first, and then cars.
        left = sum(
            planted.POOL["ferry"] - _ferries_in_first_round(table, seed, pool) for seed in later["seed"].unique()
        )
        most = min(len(queried), left)
        assert n_ferries >= 0.95 * most, f"{name} queried {n_ferries} ferries of {most} that it could have"
        row = measured.loc[name]
        assert row["low"] > 0.02, f"{name} is not better than random: {row['difference']:.3f}, from {row['low']:.3f}"
        assert saved[name] > 0.3, f"{name} saves {saved[name]:.2f} of the labels"
    random = table[(table["name"] == "random") & (table["round"] > 0)]
    share = sum(planted.has_ferry(pool, i) for ids in random["asked"] for i in ids) / random["asked"].map(len).sum()
    assert share < 0.4, f"random queried {share:.0%} ferries, there are {planted.POOL['ferry'] / len(pool):.0%}"


def _ferries_in_first_round(table: pd.DataFrame, seed: int, pool: al.RotatedInstances) -> int:
    rows = table[(table["seed"] == seed) & (table["round"] == 0)]
    return sum(planted.has_ferry(pool, image_id) for image_id in rows["asked"].iloc[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    if WORK.exists():
        shutil.rmtree(WORK)  # selections of another state of the code prove nothing
    table = run(CONFIG, WORK, None, args.jobs, results=WORK / "results")
    check(table)
    page = write_report([WORK / "results" / "planted.parquet"], None)
    print(areas(table, "images").to_string(float_format="{:.3f}".format))
    print(f"selection selects; page: {page}")


if __name__ == "__main__":
    main()
