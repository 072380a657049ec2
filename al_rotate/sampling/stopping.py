"""When to stop labelling: by the learning curve, and by how much the detections still change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from .. import boxes
from ..data import SHOWN_SCORE, RotatedInstances

__all__ = ["Advice", "Curve", "advise", "agreement", "fit_curve", "forecasts"]

LEAST_ROUNDS = 4  # measured rounds below which there is no advice
_AXES = ("cost", "n_boxes", "n_labelled")  # the first that rises every round is the axis of the curve
_RATES = np.geomspace(0.05, 2, 4001)[:, None]


@dataclass(frozen=True)
class Curve:
    """``top - drop * n**-rate``, fitted by :func:`fit_curve`."""

    top: float
    drop: float
    rate: float

    def at(self, n: ArrayLike) -> NDArray[np.float64]:
        """Return mAP at these n, in their shape."""
        return self.top - self.drop * np.asarray(n, np.float64) ** -self.rate


@dataclass(frozen=True)
class Advice:
    """The result of :func:`advise`. Gains are of mAP in [0, 1], forecast for another round like the last."""

    stop: bool | None  # None: cannot tell
    reason: str  # for people, with the figures and the rule
    gain: float | None = None  # None without a forecast
    gain_per_hour: float | None = None  # None without a forecast, and if the last round's time is unknown
    agreement: float | None = None  # the last of the given ones


def agreement(
    before: RotatedInstances, after: RotatedInstances, least_score: float = SHOWN_SCORE, iou_threshold: float = 0.5
) -> float:
    """Measure how far two rounds' detections agree: the Dice coefficient ``2 * pairs / (n_before + n_after)``.

    A pair is two boxes of one image and class with a rotated IoU of at least the threshold; boxes are matched one to
    one, for the largest number of pairs. After the "stabilizing predictions" of Bloodgood and Vijay-Shanker (CoNLL
    2009), who take Cohen's kappa of two models' classes on a stop set of unlabelled examples. Kappa corrects for
    chance, which needs a count of what neither model detects; detections have none.

    Args:
        before: detections of one round.
        after: detections of the next on the same images, in any order.
        least_score: detections below it do not count.
        iou_threshold: rotated IoU from which two boxes are one.

    Returns:
        In [0, 1]; 1 if neither has a box.

    Raises:
        ValueError: for different images or classes, detections without scores, thresholds out of range.
    """
    if not (0 <= least_score <= 1 and 0 < iou_threshold <= 1):
        raise ValueError(f"expected limits in [0, 1], iou_threshold above 0, got {least_score}, {iou_threshold}")
    if other := sorted({*before.image_ids} ^ {*after.image_ids}):
        raise ValueError(f"expected the same images in both, got {len(other)} in one only, e.g. {other[0]!r}")
    if None not in (before.classes, after.classes) and before.classes != after.classes:
        raise ValueError(f"expected detections of the same classes, got {before.classes} and {after.classes}")
    if any(d.n_boxes and d.scores is None for d in (before, after)):
        raise ValueError(f"expected detections with scores, got {before!r} and {after!r}")
    before, after = (d if d.scores is None else d.where(d.scores >= least_score) for d in (before, after))
    pairs = 0
    for image_id, a in before:
        b = after[image_id]
        same = (boxes.iou(a.boxes, b.boxes) >= iou_threshold) & (a.labels[:, None] == b.labels)
        if same.any():
            pairs += int((maximum_bipartite_matching(csr_array(same)) >= 0).sum())
    total = before.n_boxes + after.n_boxes
    return 2 * pairs / total if total else 1.0


def fit_curve(n: ArrayLike, measured: ArrayLike) -> Curve:
    """Fit the inverse power law ``mAP = top - drop * n**-rate`` to a learning curve, by least squares.

    With 0 <= top <= 1, drop >= 0 and 0.05 <= rate <= 2. After Cortes et al., "Learning curves: asymptotic values and
    rate of convergence" (NIPS 1993). For a given rate the best top and drop have a closed form; of 4001 rates, 0.1 %
    apart, the best is taken. If mAP does not rise, drop is 0 and the rate means nothing.

    Args:
        n: (K,) labelled so far: seconds, boxes or images, above 0, at least 3 different values.
        measured: (K,) mAP in [0, 1].

    Raises:
        ValueError: for anything else.
    """
    n, measured = np.asarray(n, np.float64), np.asarray(measured, np.float64)
    fits = n.ndim == 1 and n.shape == measured.shape and len(np.unique(n)) >= 3
    if not fits or not (np.isfinite(n) & (n > 0) & (measured >= 0) & (measured <= 1)).all():
        raise ValueError(f"expected mAP in [0, 1] at 3 different n > 0 or more, got {measured.tolist()}, {n.tolist()}")
    z = (n / n.min()) ** -_RATES
    centred = z - z.mean(axis=1, keepdims=True)
    drop = np.maximum(-(centred @ measured) / (centred**2).sum(axis=1), 0)
    top = measured.mean() + drop * z.mean(axis=1)
    # The squared error is convex: if the free solution breaks a bound, the best one lies on it.
    drop = np.where(top > 1, z @ (1 - measured) / (z**2).sum(axis=1), drop)
    top = np.minimum(top, 1)
    best = int(((top[:, None] - drop[:, None] * z - measured) ** 2).sum(axis=1).argmin())
    rate = float(_RATES[best, 0])
    return Curve(float(top[best]), float(drop[best] * n.min() ** rate), rate)


def forecasts(history: pd.DataFrame, x: str | None = None) -> pd.DataFrame:
    """Forecast the gain of each round from the rounds before it, next to the measured gain; and that of the next round.

    The forecast is the rise of the curve between two rounds, not from the last mAP to the curve, which would mistake
    bad luck in the last measurement for gain.

    Args:
        history: of :meth:`al_rotate.Workspace.history`. Rounds count if they are trained, measured and have more
            labelled images than any before.
        x: the axis of the curve: cost, n_boxes or n_labelled; None: the first of them that rises every round.

    Returns:
        From the 4th round that counts: round, `x`, and forecast and measured gain of mAP. The last row is for a next
        round that adds as much as the last one did; its measured gain is NaN. Empty with fewer than 3 such rounds.

    Raises:
        ValueError: for a history without the columns, an `x` that does not rise from above 0, mAP outside [0, 1].
    """
    rounds = _measured(history)
    rising = [name for name in _AXES if (rounds[f"new_{name}"] > 0).all()]
    if (x := x or rising[0]) not in rising:  # n_labelled always rises
        raise ValueError(f"expected x that rises every round, one of {', '.join(rising)}, got {x!r}")
    n, mean_ap, numbers = (rounds[name].tolist() for name in (x, "mAP", "round"))
    gains = np.diff(mean_ap, prepend=np.nan).tolist()
    if n:  # the next round
        n, gains, numbers = [*n, n[-1] + rounds[f"new_{x}"].iloc[-1]], [*gains, np.nan], [*numbers, numbers[-1] + 1]
    rows = []
    for k in range(LEAST_ROUNDS - 1, len(n)):
        start, end = fit_curve(n[:k], mean_ap[:k]).at(n[k - 1 : k + 1])
        rows.append((numbers[k], n[k], end - start, gains[k]))
    return pd.DataFrame(rows, columns=["round", x, "forecast", "measured"])


def advise(
    history: pd.DataFrame, agreements: Sequence[float] = (), least_gain: float = 0.005, stable: float = 0.95
) -> Advice:
    """Advise whether to stop labelling, by a rule of ours.

    Stop if all hold: the forecast gain of another round of the last one's size is below `least_gain`; so is the
    measured gain of the last round; and, if there are agreements, the last two are at least `stable`. With fewer than 4
    measured rounds there is no advice. If no round was measured, stop if the last three agreements are at least
    `stable`. The forecast is the last row of :func:`forecasts`; the others show how good forecasts have been.

    Args:
        history: as for :func:`forecasts`. Its cost counts unknown times as 0, so the hours are too few if some are
            missing.
        agreements: of consecutive rounds, oldest first, by :func:`agreement`.
        least_gain: mAP; 0.005 is half a point.
        stable: the agreement from which two rounds' detections are taken to be the same.

    Raises:
        ValueError: as :func:`forecasts`; for agreements outside [0, 1] or limits out of range.
    """
    if not (0 < least_gain <= 1 and 0 < stable <= 1) or not all(0 <= value <= 1 for value in agreements):
        got = f"{least_gain}, {stable} and {list(agreements)}"
        raise ValueError(f"expected least_gain and stable in (0, 1], agreements in [0, 1], got {got}")
    rounds, latest = _measured(history), float(agreements[-1]) if len(agreements) else None
    needed = 3 if rounds.empty else 2
    settled = len(agreements) >= needed and min(agreements[-needed:]) >= stable
    values = ", ".join(f"{value:.3g}" for value in agreements[-needed:])
    stability = f"the last {needed} agreements {'are' if settled else 'must be'} at least {stable:g} (got {values})"
    if rounds.empty and (history["stage"] == "trained").any():
        if latest is None:
            return Advice(None, "Cannot tell: no round has a measured mAP; give the loop a test set.")
        reason = f"{'Stop' if settled else 'Go on'}: without a measured mAP detections decide; {stability}."
        return Advice(settled, reason, agreement=latest)
    if (n := len(rounds)) < LEAST_ROUNDS:
        rounds_so_far = f"{n} measured round{'' if n == 1 else 's'}"
        reason = f"Too early to tell whether to go on: {rounds_so_far}, {LEAST_ROUNDS} needed."
        return Advice(None, reason, agreement=latest)
    last, gain = rounds.iloc[-1], float(forecasts(history)["forecast"].iloc[-1])
    last_gain, hours = float(rounds["mAP"].diff().iloc[-1]), last["new_cost"] / 3600
    hourly = float(gain / hours) if hours > 0 else None
    forecast_low, measured_low = gain < least_gain, last_gain < least_gain
    both, but = forecast_low and measured_low, "but " if forecast_low != measured_low else ""
    stop = both and (settled or latest is None)
    answered = round(last["new_n_labelled"] + last["new_n_skipped"])
    images = f"{answered} image{'' if answered == 1 else 's'}"
    time, rate = ("", "") if hourly is None else (f", {_figure(hours)} h", f" ({_figure(100 * hourly)} an hour)")
    also = "" if latest is None else f", {'and' if settled else 'but'} {stability}"
    reason = (
        f"{'Stop' if stop else 'Go on'}: another round like the last ({images}{time}) is forecast to gain "
        f"{_figure(100 * gain)} mAP points{rate}, {but}the last one gained {_figure(100 * last_gain)}; "
        f"both {'are' if both else 'must be'} below {_figure(100 * least_gain)}{also if both else ' to stop'}."
    )
    return Advice(stop, reason, gain, hourly, latest)


def _figure(value: float) -> str:
    """With one decimal, below 1 with two; never minus zero."""
    return f"{value:.1f}" if abs(value) >= 1 else f"{round(value, 2) + 0.0:g}"


def _measured(history: pd.DataFrame) -> pd.DataFrame:
    """One row per round that counts: round, mAP, the totals, and what the round added to each (``new_cost``)."""
    needed = ("round", "stage", "n_skipped", *_AXES)
    if missing := [name for name in needed if name not in history]:
        raise ValueError(f"expected a history with {', '.join(needed)}, got none of {', '.join(missing)}")
    trained = history[history["stage"] == "trained"]
    totals = trained[["n_skipped", *_AXES]].astype(float)
    new = (totals - totals.shift(fill_value=0)).add_prefix("new_")
    mean_ap = trained["mAP"].astype(float) if "mAP" in trained else np.nan
    rows = totals.join(new).assign(round=trained["round"], mAP=mean_ap)
    more = totals["n_labelled"] > totals["n_labelled"].cummax().shift(fill_value=0)  # some images were not skipped
    return rows[more].dropna(subset=["mAP"])
