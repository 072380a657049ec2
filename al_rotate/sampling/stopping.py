"""When to stop labelling: by how much the detections still change.

Nothing here forecasts what another round would gain. An inverse power law through the rounds so far did so until 0.2;
on the learning curves of docs/older_comparisons.md it missed by 4.2 points in the mean, and a constant by 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from .. import boxes
from ..data import SHOWN_SCORE, RotatedInstances
from ..storage.plurals import many
from ..storage.user_warnings import warn_user

__all__ = ["Advice", "advise", "agreement"]

AGREEMENTS = 3  # in a row that must be high


@dataclass(frozen=True)
class Advice:
    """The result of :func:`advise`."""

    stop: bool | None  # None: cannot tell
    reason: str  # for people, with the figures and the rule
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


def advise(
    history: pd.DataFrame, agreements: Sequence[float] = (), least_gain: float | None = None, stable: float = 0.95
) -> Advice:
    """Advise whether to stop labelling: if the last three agreements are at least `stable`.

    After Bloodgood and Vijay-Shanker (CoNLL 2009), who stop once the mean of the last three is high enough. That
    detections have settled says that more labels like the last ones change little, not that other ones would not.

    Args:
        history: of :meth:`al_rotate.Workspace.history`; the reason names what the last round measured.
        agreements: of consecutive rounds, oldest first, by :func:`agreement`.
        least_gain: has no effect any more, will go in 0.3.
        stable: the agreement from which two rounds' detections are taken to be the same.

    Raises:
        ValueError: for agreements outside [0, 1], a limit out of range, a history without the columns.
    """
    if least_gain is not None:
        warn_user(
            "least_gain= has no effect, as gains are not forecast any more; it will go in 0.3", DeprecationWarning
        )
    if not 0 < stable <= 1 or not all(0 <= value <= 1 for value in agreements):
        raise ValueError(f"expected stable in (0, 1], agreements in [0, 1], got {stable} and {list(agreements)}")
    last, measured = [float(value) for value in agreements[-AGREEMENTS:]], _last_round(history)
    if len(last) < AGREEMENTS:
        compared = f"detections of consecutive rounds were compared {many(len(last), 'time')}, {AGREEMENTS} are needed"
        return Advice(None, f"Too early to tell: {compared}.{measured}", *last[-1:])
    settled = min(last) >= stable
    values = ", ".join(f"{value:.3g}" for value in last)
    reason = (
        f"{'Stop' if settled else 'Go on'}: detections of the last {AGREEMENTS + 1} rounds "
        f"{'agree' if settled else 'have to agree'}, each with the one before, by at least {stable:g}"
        f"{'' if settled else ' to stop'} (got {values})."
    )
    return Advice(settled, reason + measured, last[-1])


def _last_round(history: pd.DataFrame) -> str:
    """What the last of the measured rounds cost and gained, as a sentence; nothing if fewer than two were."""
    needed = ("stage", "n_labelled", "n_skipped", "cost")
    if missing := [name for name in needed if name not in history]:
        raise ValueError(f"expected a history with {', '.join(needed)}, got none of {', '.join(missing)}")
    trained = history[history["stage"] == "trained"]
    if "mAP" not in trained or len(rows := trained.dropna(subset=["mAP"])) < 2:
        return ""
    new = rows[["n_labelled", "n_skipped", "cost", "mAP"]].astype(float).diff().iloc[-1]
    images = round(new["n_labelled"] + new["n_skipped"])
    time = f", {_figure(new['cost'] / 3600)} h" if new["cost"] > 0 else ""
    points = _figure(100 * new["mAP"])
    change = f"lost {points[1:]}" if points.startswith("-") else f"gained {points}"
    return (
        f" The last round ({images} image{'' if images == 1 else 's'}{time}) {change} mAP points; "
        "what another one would gain is not forecast."
    )


def _figure(value: float) -> str:
    """With one decimal, below 1 with two; never minus zero."""
    return f"{value:.1f}" if abs(value) >= 1 else f"{round(value, 2) + 0.0:g}"
