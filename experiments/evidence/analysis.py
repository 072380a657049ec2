"""What a table of cells (see compare_strategies) says: areas, paired differences, savings, classes, selections."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from al_rotate import CostModel
from al_rotate.evaluation import learning_curves as curves

AXES = {"images": "images", "boxes": "boxes", "seconds": "estimated seconds of labelling"}
REFERENCE = "random"
COSTS = {
    "as assumed": CostModel(),
    "drawing takes 35 s": CostModel(added=35.0),
    "an image takes 30 s": CostModel(image=30.0),
    "deleting takes 8 s": CostModel(deleted=8.0),
}

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]


def complete(table: pd.DataFrame) -> pd.DataFrame:
    """The cells of the seeds that every strategy has finished; so that all are compared on the same ones.

    Raises:
        ValueError: when there is no such seed, or nothing to compare with.
    """
    rounds = table["round"].max() + 1
    counts = table.groupby(["name", "seed"]).size().unstack(fill_value=0)
    seeds = counts.columns[(counts == rounds).all(axis=0)]
    if not len(seeds) or REFERENCE not in counts.index:
        raise ValueError(f"expected a finished seed of all strategies and {REFERENCE!r} among them, got\n{counts}")
    if len(left := counts.columns.difference(seeds)):
        unfinished = counts.index[(counts[left] < rounds).any(axis=1)]
        warnings.warn(f"seeds {[*left]} are left out: {', '.join(unfinished)} have not finished them", stacklevel=2)
    return table[table["seed"].isin(seeds)].sort_values(["seed", "round"], kind="stable")


def names(table: pd.DataFrame) -> list[str]:
    """Strategies in the order of the config."""
    return list(dict.fromkeys(table["name"]))


def by_seed(table: pd.DataFrame, axis: str, column: str = "mAP") -> dict[str, list[Curve]]:
    """strategy -> the curve of each seed; `column` may hold lists, which become (..., K)."""
    found: dict[str, list[Curve]] = {}
    for (name, _), rows in table.groupby(["name", "seed"], sort=False):
        rows = rows.sort_values("round")
        found.setdefault(str(name), []).append((rows[axis].to_numpy(float), np.array(rows[column].tolist(), float).T))
    return found


def mean_curve(of_seeds: Sequence[Curve]) -> Curve:
    """The mean of the seeds' curves over what all of them cover."""
    start, end = curves.common_range([x for x, _ in of_seeds])
    at = np.linspace(start, end, 101)
    return at, np.mean([np.interp(at, *curve) for curve in of_seeds], axis=0)


def areas(table: pd.DataFrame, axis: str, reference: str = REFERENCE) -> pd.DataFrame:
    """AULC of each strategy, and its difference from random's or another's, over what the two cover in each seed.

    A strategy that asks for few boxes ends early, and must not cut the others' curves short: each is compared over its
    own common stretch with the reference.

    The interval (95 %) has two parts: the spread of the seeds' differences, and that of their mean when the test images
    are drawn anew, the same for all. Their squares are added, and the degrees of freedom are Satterthwaite's
    (Biometrics Bulletin, 1946), so that with three seeds that disagree it is as wide as Student's, but at most twice
    those of the seeds: where few seeds agree by chance, his would be so many that p is far too small. A percentile
    bootstrap over three seeds would be much too narrow. NaN, unknown, with a single seed.

    Returns:
        By strategy: aulc, sd (over seeds), difference, low, high, p (two-sided, of the hypothesis that the difference
        is 0), seeds_better (how many of them), covered (the share of the reference's way that the two have in common),
        q (p adjusted for the number of strategies: Benjamini and Hochberg, 1995).
    """
    plain, drawn = by_seed(table, axis), by_seed(table, axis, "resampled")
    rows = {}
    for name in plain:
        shared = _shared(plain, name, reference)
        mine = np.array([curves.area(*curve, *limits) for curve, limits in zip(plain[name], shared, strict=True)])
        paired = _paired(plain, name, reference)
        mean = paired.mean()
        error, freedom = _error(paired, _paired(drawn, name, reference).mean(axis=0))
        half = stats.t.ppf(0.975, freedom) * error
        p = 2 * stats.t.sf(abs(mean) / error, freedom) if error else float(mean == 0)
        spread = mine.std(ddof=1) if len(mine) > 1 else np.nan
        ways = [x[-1] - x[0] for x, _ in plain[reference]]
        covered = np.mean([(end - start) / way for (start, end), way in zip(shared, ways, strict=True)])
        rows[name] = (mine.mean(), spread, mean, mean - half, mean + half, p, int((paired > 0).sum()), covered)
    columns = ["aulc", "sd", "difference", "low", "high", "p", "seeds_better", "covered"]
    found = pd.DataFrame.from_dict(rows, "index", columns=columns)
    known = found["p"].drop(reference).dropna()
    return found.assign(q=pd.Series(stats.false_discovery_control(known), known.index))


def differences(table: pd.DataFrame, axis: str, reference: str = REFERENCE) -> pd.DataFrame:
    """The differences of :func:`areas`: a row each strategy, a column each seed."""
    plain = by_seed(table, axis)
    return pd.DataFrame.from_dict({name: _paired(plain, name, reference) for name in plain}, "index")


def _shared(found: dict[str, list[Curve]], name: str, reference: str) -> list[tuple[float, float]]:
    """What a strategy and the reference both cover, in each seed."""
    return [curves.common_range([a[0], b[0]]) for a, b in zip(found[name], found[reference], strict=True)]


def _paired(found: dict[str, list[Curve]], name: str, reference: str) -> NDArray[np.float64]:
    """AULC less the reference's, seeds first."""
    three = zip(found[name], found[reference], _shared(found, name, reference), strict=True)
    return np.array([curves.area(*mine, *limits) - curves.area(*other, *limits) for mine, other, limits in three])


def _error(differences: NDArray[np.float64], drawn: NDArray[np.float64]) -> tuple[float, float]:
    """Standard error of the differences' mean, and its degrees of freedom."""
    if len(differences) < 2:
        return np.nan, np.nan
    of_seeds, of_images = differences.var(ddof=1) / len(differences), drawn.var(ddof=1)
    whole, most = float(of_seeds + of_images), 2.0 * (len(differences) - 1)
    if of_seeds < 1e-12:  # the same in every seed
        return whole**0.5, most
    return whole**0.5, min(most, whole**2 / float(of_seeds**2 / (len(differences) - 1)))


def savings(table: pd.DataFrame, axis: str) -> pd.DataFrame:
    """Label saving against random at the mAP that random ends with.

    Returns:
        By strategy: saving, on the curves' means, NaN if they do not come so high; reached, in how many seeds the
        strategy comes to what random ends with in that seed.
    """
    found = by_seed(table, axis)
    means = {name: mean_curve(of_seeds) for name, of_seeds in found.items()}
    target = float(means[REFERENCE][1][-1])
    saved = {name: curves.label_saving(curve, means[REFERENCE], target) for name, curve in means.items()}
    ends = [y[-1] for _, y in found[REFERENCE]]
    there = {
        name: sum(y.max() >= end for (_, y), end in zip(of_seeds, ends, strict=True))
        for name, of_seeds in found.items()
    }
    return pd.DataFrame({"saving": saved, "reached": there})


def penalties(table: pd.DataFrame, axis: str) -> pd.DataFrame:
    """See :func:`al_rotate.curves.penalties`."""
    return curves.penalties(by_seed(table, axis))


def class_gains(table: pd.DataFrame) -> pd.DataFrame:
    """AP at the end less random's, by strategy and class, means over the seeds."""
    last = table[table["round"] == table["round"].max()]
    aps = last[["name", *(c for c in last if c.startswith("AP/"))]].groupby("name").mean().loc[names(table)]
    return (aps - aps.loc[REFERENCE]).rename(columns=lambda name: name.removeprefix("AP/"))


def asked(table: pd.DataFrame) -> pd.DataFrame:
    """What each strategy asked for after the first round: means over the seeds."""
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
    seeds = table["seed"].nunique()
    counts = [name for name in total if name != "query_s"]
    total[counts] = total[counts] / seeds
    last = table[table["round"] == table["round"].max()].groupby("name")[["boxes", "seconds", "mAP"]].mean()
    total.insert(1, "boxes", last["boxes"] - first)
    total["minutes"] = last["seconds"] / 60
    total["mAP_end"] = last["mAP"]
    return total.loc[names(table)]


def by_cost(table: pd.DataFrame) -> pd.DataFrame:
    """AULC over time less random's, by strategy, had the same answers cost something else: one column each of COSTS."""
    found = {}
    for name, cost in COSTS.items():
        spent = cost.image * table["asked"].map(len)
        for kind in ("added", "moved", "relabelled", "deleted"):
            spent = spent + getattr(cost, kind) * table[f"asked_{kind}"]
        seconds = spent.groupby([table["name"], table["seed"]]).cumsum()
        found[name] = areas(table.assign(seconds=seconds), "seconds")["difference"]
    return pd.DataFrame(found)


def likeness(table: pd.DataFrame) -> pd.DataFrame:
    """How alike the selections are: Jaccard index of all images asked for after the first round, mean over seeds."""
    later = table[table["round"] > 0]
    sets = {key: {i for ids in rows["asked"] for i in ids} for key, rows in later.groupby(["name", "seed"])}
    order, seeds = names(table), sorted(later["seed"].unique())
    values = [
        [np.mean([len(sets[a, s] & sets[b, s]) / max(1, len(sets[a, s] | sets[b, s])) for s in seeds]) for b in order]
        for a in order
    ]
    return pd.DataFrame(values, order, order)
