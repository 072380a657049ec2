"""What strategies asked for, what answers to it cost, and which classes gained by it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from al_rotate import CostModel

from .analysis import REFERENCE, areas, strategy_names

COSTS = {
    "as assumed": CostModel(),
    "drawing takes 35 s": CostModel(added=35.0),
    "an image takes 30 s": CostModel(image=30.0),
    "deleting takes 8 s": CostModel(deleted=8.0),
}


def class_gains(table: pd.DataFrame) -> pd.DataFrame:
    """AP at the end minus random's, by strategy and class: means over the seeds."""
    last = table[table["round"] == table["round"].max()]
    aps = last[["name", *(c for c in last if c.startswith("AP/"))]].groupby("name").mean().loc[strategy_names(table)]
    return (aps - aps.loc[REFERENCE]).rename(columns=lambda name: name.removeprefix("AP/"))


def queried(table: pd.DataFrame) -> pd.DataFrame:
    """What each strategy queried after the first round, and its answers: means over the seeds."""
    later = table[table["round"] > 0].assign(asked_images=lambda rows: rows["asked"].map(len))
    first = table[table["round"] == 0].groupby("name")["boxes"].mean()
    total = later.groupby("name").agg(
        images=("asked_images", "sum"),
        empty=("asked_empty", "sum"),
        added=("asked_added", "sum"),
        moved=("asked_moved", "sum"),
        relabelled=("asked_relabelled", "sum"),
        deleted=("asked_deleted", "sum"),
        query_s=("query_s", "mean"),
    )
    counts = [name for name in total if name != "query_s"]
    total[counts] = total[counts] / table["seed"].nunique()
    last = table[table["round"] == table["round"].max()].groupby("name")[["boxes", "seconds", "mAP"]].mean()
    total.insert(1, "boxes", last["boxes"] - first)
    total["minutes"] = last["seconds"] / 60
    total["mAP_end"] = last["mAP"]
    return total.loc[strategy_names(table)]


def gains_by_cost(table: pd.DataFrame) -> pd.DataFrame:
    """AULC over time minus random's, by strategy, with one column for each of COSTS."""
    gains = {}
    for name, cost in COSTS.items():
        spent = cost.image * table["asked"].map(len)
        for kind in ("added", "moved", "relabelled", "deleted", "kept"):
            if f"asked_{kind}" not in table:  # looking at a box that is right was free when recorded tables were made
                continue
            spent = spent + getattr(cost, kind) * table[f"asked_{kind}"]
        seconds = spent.groupby([table["name"], table["seed"]]).cumsum()
        gains[name] = areas(table.assign(seconds=seconds), "seconds")["difference"]
    return pd.DataFrame(gains)


def likeness(table: pd.DataFrame) -> pd.DataFrame:
    """Jaccard index of all images that two strategies queried after the first round: mean over the seeds."""
    later = table[table["round"] > 0]
    sets = {key: {i for ids in rows["asked"] for i in ids} for key, rows in later.groupby(["name", "seed"])}
    names, seeds = strategy_names(table), sorted(later["seed"].unique())

    def mean_jaccard(a: str, b: str) -> float:
        pairs = [(sets[a, seed], sets[b, seed]) for seed in seeds]
        return float(np.mean([len(first & second) / max(1, len(first | second)) for first, second in pairs]))

    return pd.DataFrame([[mean_jaccard(a, b) for b in names] for a in names], names, names)
