"""What of a person's seconds is saved, and what saves it: the claim of a comparison on a pool of tiles.

    python -m experiments.evidence.savings vhr10 ssdd-large --candidate entropy

A person who has no library draws every box from nothing, on images taken at random: this is ``random``, its answers
recounted as drawn. The target is the mAP at which that ends; T are the seconds that it takes. What each further step
saves is the share of T by which it comes there earlier:

1. ``pre-annotation``: the same images at random, with predicted boxes to correct;
2. ``pseudo-labels``: the arm ``random-pseudo``, if the arms of the next steps are trained on pseudo-labels, too;
3. ``detected``: at random among the images in which something is detected;
4. ``selection``: the candidate.

What training as the labels ask for saves is no part of it, and stands beside: the share of the seconds of the arm
``random-short``, where there is one, that ``random`` needs to where that ends, both drawn from nothing. So do
pseudo-labels that are no step: what they would bring after step 1.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from sklearn.isotonic import isotonic_regression

from al_rotate import CostModel

from ..comparison.cells import KINDS
from ..paths import TABLES
from .analysis import complete, standard_error

COSTS: Mapping[str, CostModel] = {
    "12 s": CostModel(added=12.0),
    "35 s": CostModel(added=35.0),
    "12 s, a tile 1 s": CostModel(image=1.0, added=12.0),  # as where people look over photographs, not over tiles
}
RANDOM, DETECTED, PSEUDO, SHORT = "random", "random-detected", "random-pseudo", "random-short"
_POINTS = 401  # of a mean curve

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]  # seconds (K,), mAP (..., K)


@dataclass(frozen=True)
class Step:
    """One way to label: an arm, and whether its boxes were drawn from nothing."""

    title: str
    arm: str
    drawn: bool = False


FIRST = [Step("from nothing", RANDOM, drawn=True), Step("pre-annotation", RANDOM)]
TRAINING = [Step("short", SHORT, drawn=True), Step("training", RANDOM, drawn=True)]


@dataclass(frozen=True)
class Share:
    """A share with its interval (95 %); NaN: the target is not reached, or one seed alone says nothing of others."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if np.isnan(self.value):
            return "not reached"
        return f"{100 * self.value:+.0f} % [{100 * self.low:+.0f}, {100 * self.high:+.0f}]"


def recounted(table: pd.DataFrame, cost: CostModel, drawn: bool = False) -> pd.Series:
    """The seconds spent by the end of each row's round, as if answers had cost so much.

    Which boxes were shown, and which images a budget of seconds bought, is as it was.

    Args:
        table: of a comparison.
        cost: of images and corrections.
        drawn: charge all boxes of an image as drawn, and none as corrected.
    """
    n_images = table["asked"].map(len)
    if drawn:
        spent = cost.image * n_images + cost.added * table["asked_boxes"]
    else:
        spent = cost.image * n_images + sum(getattr(cost, kind) * table[f"asked_{kind}"] for kind in KINDS)
    in_order = spent.groupby([table["name"], table["seed"], table["round"]]).sum().groupby(level=[0, 1]).cumsum()
    keys = pd.MultiIndex.from_frame(table[["name", "seed", "round"]])
    return pd.Series(in_order.reindex(keys).to_numpy(float), table.index)


def curves(table: pd.DataFrame, step: Step, cost: CostModel, column: str = "mAP") -> list[Curve]:
    """The curve of each seed, in the order of the seeds; of a `column` of K values, mAP is (K, rounds)."""
    rows = table[table["name"] == step.arm]
    rows = rows.assign(spent=recounted(rows, cost, step.drawn)).sort_values("round")
    groups = [group for _, group in rows.groupby("seed")]
    return [(group["spent"].to_numpy(float), np.array(group[column].tolist(), float).T) for group in groups]


def reached(of_seeds: list[Curve], target: float | None = None) -> tuple[float, float, bool]:
    """Where the mean curve of seeds first reaches a target.

    Seeds are interpolated over the logarithm of the seconds, as budgets are spaced, and averaged as far as all go. The
    mean is made to rise by isotonic regression: one lucky round is no arrival.

    Args:
        of_seeds: curves, mAP (rounds,).
        target: None: the end of the mean curve.

    Returns:
        The seconds, the target, and whether it is reached; if not, the seconds are those of the curve's end.
    """
    unit = min(x[x > 0].min() for x, _ in of_seeds)
    end = min(x[-1] for x, _ in of_seeds)
    at = np.linspace(0, np.log1p(end / unit), _POINTS)
    mean = isotonic_regression(np.mean([np.interp(at, np.log1p(x / unit), y) for x, y in of_seeds], axis=0))
    target = float(mean[-1]) if target is None else target
    above = np.flatnonzero(mean >= target - 1e-9)
    if not len(above):
        return end, target, False
    k = int(above[0])
    if k and mean[k] > mean[k - 1]:
        at_target = at[k - 1] + (at[k] - at[k - 1]) * (target - mean[k - 1]) / (mean[k] - mean[k - 1])
    else:
        at_target = at[k]
    return float(unit * np.expm1(at_target)), target, True


class Savings:
    """What the steps of a comparison save.

    Intervals are Student's, by the jackknife over the seeds, with the variance of drawing the test images anew added as
    in :func:`experiments.evidence.analysis.areas`. A seed left out where an arm then misses the target counts as if it
    came there at its end, so that intervals are rather too narrow there, and never where the value says "not reached".

    Args:
        table: complete.
        cost: of images and corrections.
        steps: the first is what the others are compared with; its end is the target.
    """

    def __init__(self, table: pd.DataFrame, cost: CostModel, steps: list[Step]) -> None:
        self.steps = steps
        self._seeds = table["seed"].nunique()
        whole = [curves(table, step, cost) for step in steps]
        drawn = [curves(table, step, cost, "resampled") for step in steps]
        n_draws = len(drawn[0][0][1])
        self.seconds, self.is_reached = _arrivals(whole)
        self.target = reached(whole[0])[1]
        left_out = [
            [of for k, of in enumerate(of_seeds) if k != seed] for seed in range(self._seeds) for of_seeds in whole
        ]
        n = len(steps)
        self._without = [
            _arrivals(left_out[k : k + n])[0] if self._seeds > 1 else self.seconds for k in range(0, len(left_out), n)
        ]
        self._redrawn = [
            _arrivals([[(x, y[draw]) for x, y in of_seeds] for of_seeds in drawn])[0] for draw in range(n_draws)
        ]

    def in_all(self, number: int = -1, of: int = 0) -> Share:
        """The share of the seconds of step `of` that step `number` saves, at the target."""
        share = self._share(lambda seconds: np.log(seconds[number] / seconds[of]), [number, of])
        return Share(1 - np.exp(share.value), 1 - np.exp(share.high), 1 - np.exp(share.low))

    def brought_by(self, number: int) -> Share:
        """The share of the first step's seconds by which a step comes earlier than the one before it."""
        return self._share(lambda seconds: (seconds[number - 1] - seconds[number]) / seconds[0], [number, number - 1])

    def _share(self, statistic, numbers: list[int]) -> Share:
        if not all(self.is_reached[number] for number in numbers):
            return Share(np.nan, np.nan, np.nan)
        value, n = float(statistic(self.seconds)), self._seeds
        pseudo = np.array([n * value - (n - 1) * statistic(seconds) for seconds in self._without])
        error, freedom = standard_error(pseudo, np.array([statistic(seconds) for seconds in self._redrawn]))
        half = float(stats.t.ppf(0.975, freedom) * error) if error else 0.0
        return Share(value, value - half, value + half)


def _arrivals(of_steps: list[list[Curve]]) -> tuple[NDArray[np.float64], list[bool]]:
    """When each step reaches the end of the first."""
    seconds, target, _ = reached(of_steps[0])
    arrivals = [(seconds, target, True), *(reached(of_seeds, target) for of_seeds in of_steps[1:])]
    return np.array([arrival[0] for arrival in arrivals]), [arrival[2] for arrival in arrivals]


def steps_to(table: pd.DataFrame, candidate: str) -> list[Step]:
    """The steps from drawing at random to a candidate."""
    pseudo = [Step("pseudo-labels", PSEUDO)] * (_loop_of(table, PSEUDO) == _loop_of(table, DETECTED))
    return [*FIRST, *pseudo, Step("detected", DETECTED), Step("selection", candidate)]


def _loop_of(table: pd.DataFrame, arm: str) -> str:
    """The further arguments of an arm's loops, which say whether it is trained on pseudo-labels."""
    return next(iter(table.loc[table["name"] == arm, "loop"]), "")


def claim(tables: Mapping[str, pd.DataFrame], candidate: str) -> str:
    """The table of the claim, in Markdown: a row for each comparison and each time that a drawn box takes."""
    titles = ["pre-annotation", "pseudo-labels", "detected", "selection"]
    head = ["pool", "drawing a box", "from nothing", "mAP", "saved in all", *titles]
    head += [f"`{candidate}` against `{DETECTED}`", "beside it: training", "beside it: pseudo-labels"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name, table in tables.items():
        steps = steps_to(table, candidate)
        for about, cost in COSTS.items():
            saved = Savings(table, cost, steps)
            brought = {step.title: str(saved.brought_by(k)) for k, step in enumerate(steps) if k}
            detected = [step.arm for step in steps].index(DETECTED)
            cells = [name, about, f"{saved.seconds[0] / 3600:.1f} h", f"{100 * saved.target:.1f}", str(saved.in_all())]
            cells += [*(brought.get(title, "") for title in titles), str(saved.in_all(-1, detected))]
            arms = {*table["name"]}
            beside = [*FIRST, Step("pseudo-labels", PSEUDO)]
            cells.append(str(Savings(table, cost, TRAINING).in_all()) if SHORT in arms else "")
            cells.append(
                str(Savings(table, cost, beside).brought_by(2)) if PSEUDO in arms - {s.arm for s in steps} else ""
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def training_lead(table: pd.DataFrame) -> pd.DataFrame:
    """How much longer each arm was trained than random at equal seconds, and how far it is ahead.

    Returns:
        By arm: iterations, the mean over the seeds' common range of the logarithm of iterations over random's (0: as
        long, 0.1: 10 % longer); ahead, the same of mAP less random's. If the two go together over the arms, a lead may
        be one in training.
    """
    cost = COSTS["12 s"]
    rows = {}
    for arm in dict.fromkeys(table["name"]):
        leads = []
        pairs = [
            (curves(table, Step("", name), cost, column)) for name in (arm, RANDOM) for column in ("iterations", "mAP")
        ]
        for (x, n), (_, y), (base, base_n), (_, base_y) in zip(*pairs, strict=True):
            at = np.linspace(max(x[1], base[1]), min(x[-1], base[-1]), _POINTS)
            longer = np.log(np.interp(at, x, n) / np.interp(at, base, base_n)).mean()
            leads.append((longer, (np.interp(at, x, y) - np.interp(at, base, base_y)).mean()))
        rows[arm] = np.mean(leads, axis=0)
    return pd.DataFrame.from_dict(rows, "index", columns=["iterations", "ahead"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+", help="names of comparisons")
    parser.add_argument("--candidate", required=True, help="the arm whose savings are claimed")
    args = parser.parse_args()
    tables = {name: complete(pd.read_parquet(TABLES / f"{name}.parquet")) for name in args.tables}
    print(claim(tables, args.candidate))
    for name, table in tables.items():
        print(f"\n{name}: training and lead at equal seconds")
        print(training_lead(table).to_string(float_format="{:+.3f}".format))


if __name__ == "__main__":
    main()
