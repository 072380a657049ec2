"""What of a person's seconds is saved, and what saves it.

A person who has no library draws every box from nothing, on images taken at random: this is ``random``, its answers
recounted as drawn, on tiles or on whole photographs, whichever is quicker. Curves start after the first query, which
all arms share. Targets are the mAPs at 50 to 100 % of the way from there to random's end. T are the seconds that it
takes to them, on the mean of the targets. What each further step saves is the share of T by which it comes there
earlier:

1. ``pre-annotation``: the same images at random, with predicted boxes to correct;
2. ``pseudo-labels``: the arm ``random-pseudo``, if the arms of the next steps are trained on pseudo-labels, too;
3. ``detected``: at random among the images in which something is detected;
4. ``control``: another control, where that is the better one;
5. ``selection``: the candidate.

Missed targets count as no saving, which makes a true one smaller. What selection saves is therefore estimated by
:func:`experiments.evidence.analysis.shift` first, over :func:`after_the_shared_query`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from sklearn.isotonic import isotonic_regression

from al_rotate import CostModel

from .analysis import standard_error
from .prices import Way, recounted

RANDOM, DETECTED, PSEUDO, BALANCED = "random", "random-detected", "random-pseudo", "random-class"
TARGETS = tuple(k / 10 for k in range(5, 11))  # shares of the way from random's mAP after the first query to its end
_POINTS = 401  # of a mean curve

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]  # seconds (K,), mAP (..., K)


@dataclass(frozen=True)
class Step:
    """One way to label: an arm, and how its images are labelled."""

    title: str
    arm: str
    way: Way = "corrected"


BY_TILES, BY_PHOTOGRAPHS = (
    Step("from nothing, by tiles", RANDOM, "tiles"),
    Step("from nothing, by whole photographs", RANDOM, "photographs"),
)
PRE_ANNOTATION = Step("pre-annotation", RANDOM)


@dataclass(frozen=True)
class Share:
    """A share with its interval (95 %).

    Attributes:
        value, low, high: NaN: what it is compared with does not rise; NaN bounds: one seed alone says nothing of
            others, or without some seed, or on some draw of test images, it does not rise.
        missed: targets that the step or the one it is compared with misses.
        missed_without: seeds without which they miss one.
        n_targets, n_seeds: of how many.
    """

    value: float
    low: float
    high: float
    missed: int = 0
    missed_without: int = 0
    n_targets: int = 1
    n_seeds: int = 1

    def __str__(self) -> str:
        if np.isnan(self.value):
            return "what it is compared with does not rise"
        bounds = "unknown" if np.isnan(self.low) else f"{100 * self.low:+.0f}, {100 * self.high:+.0f}"
        text = f"{100 * self.value:+.0f} % [{bounds}]"
        if self.missed:
            text += f", misses {self.missed} of {self.n_targets}"
        return f"{text} ({self.missed_without} of {self.n_seeds})" if self.missed_without else text


def after_the_shared_query(table: pd.DataFrame, cost: CostModel, way: Way = "corrected") -> pd.DataFrame:
    """The rows after the first query, which all arms share, with what was `spent` and the logarithm of it."""
    spent = recounted(table, cost, way)
    return table.assign(spent=spent, log_spent=np.log(spent.where(spent > 0)))[table["round"] > 0]


def curves(table: pd.DataFrame, step: Step, cost: CostModel, column: str = "mAP") -> list[Curve]:
    """The curve of each seed, in the order of the seeds; of a `column` of K values, mAP is (K, rounds)."""
    rows = after_the_shared_query(table[table["name"] == step.arm], cost, step.way).sort_values("round")
    groups = [group for _, group in rows.groupby("seed")]
    return [(group["spent"].to_numpy(float), np.array(group[column].tolist(), float).T) for group in groups]


def mean_curve(of_seeds: list[Curve], to_last: bool = False) -> Curve:
    """The mean of the curves of seeds, made to rise by isotonic regression: one lucky round is no arrival.

    Seeds are interpolated over the logarithm of the seconds, as budgets are spaced.

    Args:
        of_seeds: curves, mAP (rounds,).
        to_last: go on to where the last seed ends, and hold the others at their ends; otherwise as far as all go.
            Seeds that start later are held at their starts.
    """
    start, ends = min(x[0] for x, _ in of_seeds), [x[-1] for x, _ in of_seeds]
    at = np.linspace(np.log(start), np.log((max if to_last else min)(ends)), _POINTS)
    mean = isotonic_regression(np.mean([np.interp(at, np.log(x), y) for x, y in of_seeds], axis=0))
    return np.exp(at), mean


def arrivals(curve: Curve, targets: NDArray[np.float64]) -> NDArray[np.float64]:
    """The seconds after which a rising curve first reaches each of T targets, (T,); inf where it does not."""
    seconds, mean = curve
    first = np.searchsorted(mean, np.asarray(targets) - 1e-9)
    found: NDArray[np.float64] = np.full(len(first), np.inf)
    for row, (k, target) in enumerate(zip(first.tolist(), targets, strict=True)):
        if k and k < len(mean):
            part = min(1.0, (target - mean[k - 1]) / (mean[k] - mean[k - 1]))
            found[row] = seconds[k - 1] + part * (seconds[k] - seconds[k - 1])
        elif not k:
            found[row] = seconds[0]
    return found


class Savings:
    """What the steps of a comparison save, on the mean of several targets.

    An arm that misses a target is no gap in the mean: compared with what comes before, it counts as if it saved
    nothing there; where a later step is compared with it, as if it arrived at its end. Both are against what is
    claimed.

    Intervals are Student's, by the jackknife over the seeds, with the variance of drawing the test images anew added as
    in :func:`experiments.evidence.analysis.areas`; targets are estimated again in each case.

    Args:
        table: complete.
        cost: of images and corrections.
        steps: the first is what the others are compared with; targets are on its curve.
        targets: shares of the way from its mAP after the first query to its end.

    Attributes:
        seconds: (S,) to the targets on the mean; if some are missed, as compared with what comes before.
        end: seconds to the last target for the first step.
        target: mAP of the last target.
    """

    def __init__(
        self, table: pd.DataFrame, cost: CostModel, steps: list[Step], targets: tuple[float, ...] = TARGETS
    ) -> None:
        self.steps, self._targets = steps, np.array(targets)
        self._seeds = table["seed"].nunique()
        whole = [curves(table, step, cost) for step in steps]
        drawn = [curves(table, step, cost, "resampled") for step in steps]
        self._whole = self._arrive(whole)
        self.seconds = self._whole.most
        first = mean_curve(whole[0])
        self.target = float(first[1][-1])
        self._rises = bool(first[1][-1] > first[1][0])
        self.end = float(arrivals(first, first[1][-1:])[0])
        self._without = [
            self._arrive([[of for k, of in enumerate(of_seeds) if k != seed] for of_seeds in whole])
            for seed in range(self._seeds if self._seeds > 1 else 0)
        ] or [self._whole]
        self._redrawn = [
            self._arrive([[(x, y[draw]) for x, y in of_seeds] for of_seeds in drawn])
            for draw in range(len(drawn[0][0][1]))
        ]

    def in_all(self, number: int = -1, of: int = 0, paid: float = 0.0) -> Share:
        """The share of the seconds of step `of` that step `number` saves.

        Args:
            number, of: of the steps.
            paid: seconds that both take besides, such as for what is known at the start.
        """
        share = self._share(
            lambda case: np.log((case.most[number] + paid) / (case.least[of] + paid)), number % len(self.steps), of
        )
        values = {"value": 1 - np.exp(share.value), "low": 1 - np.exp(share.high), "high": 1 - np.exp(share.low)}
        return Share(**{**vars(share), **values})

    def brought_by(self, number: int) -> Share:
        """The share of the first step's seconds by which a step comes earlier than the one before it."""
        return self._share(
            lambda case: (case.least[number - 1] - case.most[number]) / case.least[0], number, number - 1
        )

    def _share(self, statistic, number: int, of: int) -> Share:
        if not self._rises:
            return Share(np.nan, np.nan, np.nan)
        value, n = float(statistic(self._whole)), self._seeds
        pseudo = np.array([n * value - (n - 1) * statistic(case) for case in self._without])
        error, freedom = standard_error(pseudo, np.array([statistic(case) for case in self._redrawn]))
        half = float(stats.t.ppf(0.975, freedom) * error) if error else 0.0
        missed, *without = (int(max(case.missed[number], case.missed[of])) for case in (self._whole, *self._without))
        n_without = sum(map(bool, without)) if n > 1 else 0
        return Share(value, value - half, value + half, missed, n_without, len(self._targets), n)

    def _arrive(self, of_steps: list[list[Curve]]) -> _Arrivals:
        """When each step reaches the targets on the mean curve of the first."""
        first = mean_curve(of_steps[0])
        targets = first[1][0] + self._targets * (first[1][-1] - first[1][0])
        others = [mean_curve(of_seeds, to_last=True) for of_seeds in of_steps[1:]]
        seconds = np.stack([arrivals(curve, targets) for curve in (first, *others)])
        ends = np.array([curve[0][-1] for curve in (first, *others)])[:, None]
        missed = np.isinf(seconds)
        least, most = (np.where(missed, late, seconds) for late in (ends, np.maximum(ends, seconds[0])))
        return _Arrivals(least.mean(1), most.mean(1), missed.sum(1))


class _Arrivals(NamedTuple):
    """The mean seconds of each step to the targets, (S,), and how many it misses."""

    least: NDArray[np.float64]  # a missed target counts as reached at the arm's end
    most: NDArray[np.float64]  # a missed target counts as reached when the first step reaches it, or later
    missed: NDArray[np.int64]


def from_nothing(table: pd.DataFrame, cost: CostModel) -> tuple[Step, dict[str, float]]:
    """The quicker way to draw from nothing, and the seconds that each way takes to random's end, by title."""
    ways = {step: Savings(table, cost, [step]) for step in (BY_TILES, BY_PHOTOGRAPHS)}
    quickest = min(ways, key=lambda step: ways[step].seconds[0])
    return quickest, {step.title: saved.end for step, saved in ways.items()}


def steps_to(table: pd.DataFrame, candidate: str, control: str = DETECTED, first: Step = BY_TILES) -> list[Step]:
    """The steps from drawing at random to a candidate.

    Args:
        table: of a comparison.
        candidate: the arm whose selection is claimed.
        control: the arm that the selection is measured by; with one class, ``random-class`` is ``random-detected``,
            which stands in for it.
        first: from nothing.

    Raises:
        ValueError: if an arm is missing, or differs from the one before it in more than the step says: the
            selection would be credited with its training.
    """
    if control == BALANCED and sum(column.startswith("AP/") for column in table) == 1:
        control = DETECTED
    arms = {*table["name"]}
    if missing := [arm for arm in (RANDOM, DETECTED, control, candidate) if arm not in arms]:
        raise ValueError(f"expected the arms {', '.join(missing)} in the table, got {', '.join(sorted(arms))}")
    with_pseudo = PSEUDO in arms and _of(table, PSEUDO, "loop") == _of(table, DETECTED, "loop")
    alike = [(arm, DETECTED, key) for arm in (control, candidate) for key in ("loop", "training")]
    alike += [(DETECTED, RANDOM, "training"), *([] if with_pseudo else [(DETECTED, RANDOM, "loop")])]
    alike += [(PSEUDO, RANDOM, "training")] * with_pseudo
    for arm, other, key in alike:
        if (got := _of(table, arm, key)) != (expected := _of(table, other, key)):
            raise ValueError(
                f"expected of {arm!r} the {key} of {other!r}, {expected}, got {got}: what that brings would count as "
                f"a merit of its selection. Run the comparison with arms that differ in their strategy alone"
            )
    steps = [first, PRE_ANNOTATION, *[Step("pseudo-labels", PSEUDO)] * with_pseudo, Step("detected", DETECTED)]
    return [*steps, *[Step("control", control)] * (control != DETECTED), Step("selection", candidate)]


def _of(table: pd.DataFrame, arm: str, key: str) -> object:
    """`training`, or the further arguments `loop`, of an arm, parsed: the order of the arguments says nothing."""
    return json.loads(table.loc[table["name"] == arm, key].iloc[0])
