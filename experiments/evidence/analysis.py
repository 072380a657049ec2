"""What the tidy table of a comparison says: areas, paired differences, shifts, savings.

For the columns of a table see :mod:`experiments.comparison.tidy`.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from scipy.interpolate import make_interp_spline

from al_rotate.evaluation import learning_curves

AXES = {"images": "images", "boxes": "boxes", "seconds": "estimated seconds of labelling"}
REFERENCE = "random"

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]  # x, y


def complete(table: pd.DataFrame, reference: str = REFERENCE) -> pd.DataFrame:
    """Keep the cells of the seeds that every strategy has finished, so that all are compared on the same ones.

    Raises:
        ValueError: if there is no such seed, or no `reference`.
    """
    n_rounds = table["round"].max() + 1
    counts = table.groupby(["name", "seed"]).size().unstack(fill_value=0)
    seeds = counts.columns[(counts == n_rounds).all(axis=0)]
    if not len(seeds) or reference not in counts.index:
        raise ValueError(f"expected a finished seed of all strategies and {reference!r} among them, got\n{counts}")
    if len(left_out := counts.columns.difference(seeds)):
        unfinished = counts.index[(counts[left_out] < n_rounds).any(axis=1)]
        warnings.warn(f"seeds {[*left_out]} are left out: {', '.join(unfinished)} have not finished them", stacklevel=2)
    return table[table["seed"].isin(seeds)].sort_values(["seed", "round"], kind="stable")


def strategy_names(table: pd.DataFrame) -> list[str]:
    """Strategies in the order of the config."""
    return list(dict.fromkeys(table["name"]))


def budget_axis(table: pd.DataFrame) -> str:
    """The axis that the budget counted on: images, boxes or seconds."""
    return next(iter(json.loads(table["budget"].iloc[0])))


def curves_by_seed(table: pd.DataFrame, axis: str, column: str = "mAP") -> dict[str, list[Curve]]:
    """Strategy -> the curve of each seed; a `column` of lists of K values gives y as (K, rounds)."""
    curves: dict[str, list[Curve]] = {}
    for (name, _), rows in table.groupby(["name", "seed"], sort=False):
        rows = rows.sort_values("round")
        curves.setdefault(str(name), []).append((rows[axis].to_numpy(float), np.array(rows[column].tolist(), float).T))
    return curves


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """The mean of curves over the range that all of them cover."""
    start, end = learning_curves.common_range([x for x, _ in curves])
    at = np.linspace(start, end, 101)
    return at, np.mean([np.interp(at, *curve) for curve in curves], axis=0)


def areas(table: pd.DataFrame, axis: str, reference: str = REFERENCE) -> pd.DataFrame:
    """Measure AULC of each strategy, and its difference from the reference's over the range that both cover in a seed.

    A strategy that selects images with few boxes ends early and must not shorten the others' curves: each has its own
    common range with the reference.

    The interval (95 %) has two parts: the spread of the seeds' differences, and that of their mean when the test images
    are drawn anew, the same for all. Their variances are added, and the degrees of freedom are Satterthwaite's
    (Biometrics Bulletin, 1946), so that with three seeds that disagree it is as wide as Student's, but at most twice
    those of the seeds: where few seeds agree by chance, Satterthwaite's would be so many that p is far too small. A
    percentile bootstrap over three seeds would be much too narrow. NaN, unknown, with a single seed.

    Returns:
        By strategy: aulc, sd (over seeds), difference, low, high, p (two-sided, of the hypothesis that the difference
        is 0), seeds_better (how many), covered (the share of the reference's range that the two have in common), q (p
        adjusted for the number of strategies: Benjamini and Hochberg, 1995).
    """
    curves, resampled = curves_by_seed(table, axis), curves_by_seed(table, axis, "resampled")
    rows = {}
    for name in curves:
        ranges = _common_ranges(curves, name, reference)
        own = np.array([learning_curves.area(*curve, *ends) for curve, ends in zip(curves[name], ranges, strict=True)])
        paired = _paired_differences(curves, name, reference)
        mean = paired.mean()
        error, freedom = standard_error(paired, _paired_differences(resampled, name, reference).mean(axis=0))
        half = stats.t.ppf(0.975, freedom) * error
        p = 2 * stats.t.sf(abs(mean) / error, freedom) if error else float(mean == 0)
        spread = own.std(ddof=1) if len(own) > 1 else np.nan
        lengths = [x[-1] - x[0] for x, _ in curves[reference]]
        covered = np.mean([(end - start) / length for (start, end), length in zip(ranges, lengths, strict=True)])
        rows[name] = (own.mean(), spread, mean, mean - half, mean + half, p, int((paired > 0).sum()), covered)
    columns = ["aulc", "sd", "difference", "low", "high", "p", "seeds_better", "covered"]
    result = pd.DataFrame.from_dict(rows, "index", columns=columns)
    defined = result["p"].drop(reference).dropna()
    return result.assign(q=pd.Series(stats.false_discovery_control(defined), defined.index))


def differences(table: pd.DataFrame, axis: str, reference: str = REFERENCE) -> pd.DataFrame:
    """The differences of :func:`areas`: one row per strategy, one column per seed."""
    curves = curves_by_seed(table, axis)
    return pd.DataFrame.from_dict({name: _paired_differences(curves, name, reference) for name in curves}, "index")


def _common_ranges(curves: dict[str, list[Curve]], name: str, reference: str) -> list[tuple[float, float]]:
    """The range that a strategy and the reference both cover, in each seed."""
    pairs = zip(curves[name], curves[reference], strict=True)
    return [learning_curves.common_range([x, reference_x]) for (x, _), (reference_x, _) in pairs]


def _paired_differences(curves: dict[str, list[Curve]], name: str, reference: str) -> NDArray[np.float64]:
    """AULC minus the reference's, seeds first."""
    area, ranges = learning_curves.area, _common_ranges(curves, name, reference)
    triples = zip(curves[name], curves[reference], ranges, strict=True)
    return np.array([area(*own, *ends) - area(*other, *ends) for own, other, ends in triples])


def standard_error(differences: NDArray[np.float64], resampled: NDArray[np.float64]) -> tuple[float, float]:
    """Standard error of the mean of differences, and its degrees of freedom; see :func:`areas`.

    Args:
        differences: one per seed.
        resampled: their mean on each draw of the test images.
    """
    if len(differences) < 2:
        return np.nan, np.nan
    of_seeds, of_images = differences.var(ddof=1) / len(differences), resampled.var(ddof=1)
    total, most = float(of_seeds + of_images), 2.0 * (len(differences) - 1)
    if of_seeds < 1e-12:  # the same in every seed
        return total**0.5, most
    return total**0.5, min(most, total**2 / float(of_seeds**2 / (len(differences) - 1)))


class Shift(NamedTuple):
    """By how much less of what is spent a strategy gets as far as its reference, as a natural logarithm.

    Attributes:
        log: ``-log(1 - saving)``; NaN: the reference does not rise.
        error: its standard error; NaN: one seed alone, or the reference does not rise without some seed, or on some
            draw of test images.
        freedom: degrees of freedom of the error.
    """

    log: float
    error: float
    freedom: float

    @property
    def saving(self) -> tuple[float, float, float]:
        """The share that is saved, and its interval (95 %, Student's)."""
        half = stats.t.ppf(0.975, self.freedom) * self.error if self.error else 0.0
        low, value, high = -np.expm1([half - self.log, -self.log, -half - self.log])
        return float(value), float(low), float(high)

    @property
    def p(self) -> float:
        """Two-sided, of the hypothesis that nothing is saved or lost."""
        return float(2 * stats.t.sf(abs(self.log) / self.error, self.freedom)) if self.error else float(self.log == 0)


def shift(table: pd.DataFrame, axis: str, name: str, reference: str = REFERENCE) -> Shift:
    """Estimate by how much the curve of a strategy is shifted against its reference's, along a logarithmic axis.

    In each seed, over the range that both curves cover: d is the difference of their mean heights (trapezoid), and r
    the reference's height at the end less that at the start, divided by the length of the range. D and R are their
    means over the seeds, D / R is the shift, and 1 - exp(-D / R) the share that is saved, NaN if R is not above 0. This
    is exact where the reference is a straight line over the axis and the strategy the same line, shifted.

    The error is the jackknife's over the seeds, with the variance over the draws of test images added, see
    :func:`standard_error`.

    Args:
        table: complete.
        axis: a column of logarithms.
        name, reference: of strategies.
    """
    curves, drawn = curves_by_seed(table, axis), curves_by_seed(table, axis, "resampled")
    d, r = _paired_differences(curves, name, reference), _rises(curves, name, reference)
    drawn_d, drawn_r = (of(drawn, name, reference).mean(axis=0) for of in (_paired_differences, _rises))
    value, n = float(_ratio(d.mean(), r.mean())), len(d)
    pseudo = n * value - (n - 1) * _ratio(d.sum() - d, r.sum() - r)
    return Shift(value, *standard_error(pseudo, _ratio(drawn_d, drawn_r)))


def lead_at_end(table: pd.DataFrame, axis: str, name: str, reference: str = REFERENCE) -> tuple[float, float, float]:
    """The difference from the reference where the shorter of both curves ends, and its interval (95 %) as of areas."""

    def leads(curves: dict[str, list[Curve]]) -> NDArray[np.float64]:
        ends = [end for _, end in _common_ranges(curves, name, reference)]
        pairs = zip(curves[name], curves[reference], ends, strict=True)
        return np.array([_height(*own, end) - _height(*other, end) for own, other, end in pairs])

    of_seeds = leads(curves_by_seed(table, axis))
    error, freedom = standard_error(of_seeds, leads(curves_by_seed(table, axis, "resampled")).mean(axis=0))
    half = float(stats.t.ppf(0.975, freedom) * error)
    return float(of_seeds.mean()), float(of_seeds.mean()) - half, float(of_seeds.mean()) + half


def _height(x: NDArray[np.float64], y: NDArray[np.float64], at: float) -> NDArray[np.float64]:
    return make_interp_spline(x, y, k=1, axis=-1)(at)


def pooled(shifts: Sequence[Shift]) -> Shift:
    """The mean of independent shifts, each with the same weight; degrees of freedom are Satterthwaite's."""
    variances = np.array([shift.error**2 for shift in shifts])
    freedom = (
        variances.sum() ** 2 / np.sum(variances**2 / [shift.freedom for shift in shifts]) if variances.any() else 1
    )
    return Shift(float(np.mean([shift.log for shift in shifts])), float(variances.sum() ** 0.5 / len(shifts)), freedom)


def _rises(curves: dict[str, list[Curve]], name: str, reference: str) -> NDArray[np.float64]:
    """The reference's rise per unit of the axis, over the range that both cover, seeds first."""
    rises = []
    for (x, y), ends in zip(curves[reference], _common_ranges(curves, name, reference), strict=True):
        start, end = ends
        rises.append((_height(x, y, end) - _height(x, y, start)) / (end - start))
    return np.array(rises)


def _ratio(differences: NDArray[np.float64], rises: NDArray[np.float64]) -> NDArray[np.float64]:
    """NaN where the reference does not rise."""
    return np.where(rises > 0, differences / np.where(rises > 0, rises, 1), np.nan)


def savings(table: pd.DataFrame, axis: str) -> pd.DataFrame:
    """Measure the labels saved against random at the mAP that random ends with.

    Returns:
        By strategy: saving, on the mean curves, NaN where they do not rise so high; reached, the number of seeds in
        which the strategy reaches what random ends with in that seed.
    """
    curves = curves_by_seed(table, axis)
    means = {name: mean_curve(of_seeds) for name, of_seeds in curves.items()}
    target = float(means[REFERENCE][1][-1])
    saved = {name: learning_curves.label_saving(curve, means[REFERENCE], target) for name, curve in means.items()}
    ends = [y[-1] for _, y in curves[REFERENCE]]
    reached = {
        name: sum(y.max() >= end for (_, y), end in zip(of_seeds, ends, strict=True))
        for name, of_seeds in curves.items()
    }
    return pd.DataFrame({"saving": saved, "reached": reached})


def penalties(table: pd.DataFrame, axis: str) -> pd.DataFrame:
    """See :func:`al_rotate.curves.penalties`."""
    return learning_curves.penalties(curves_by_seed(table, axis))
