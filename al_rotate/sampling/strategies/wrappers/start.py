"""One strategy while the detector is weak, another from then on."""

from __future__ import annotations

import pandas as pd

from ....data import RotatedInstances
from ...budget import Budget
from ...context import QueryContext
from ..base import RankingStrategy, Rng
from .wrapper import Wrapper, is_number

__all__ = ["is_weak", "start_with"]


def is_weak(context: QueryContext, below: float) -> bool:
    """Tell whether a detector's doubts are worth nothing yet.

    They are not if its scores cannot be calibrated, or if its mAP on the labelled images, by detections from before it
    was trained on them, is below `below`.
    """
    return context.calibration.notice is not None or context.held_out_map < below


def start_with(name: str, first: RankingStrategy, then: RankingStrategy, weak_below: float = 0.1) -> Wrapper:
    """Rank by one strategy for the first few labels, and by another one once the detector is good enough.

    With few labels typical and diverse images teach more than uncertain ones, with many it is the other way round
    (Hacohen, Dekel and Weinshall, "Active Learning on a Budget", ICML 2022). The switch is ours, see :func:`is_weak`.

    Args:
        name: the first strategy's, for the table's column ``start``, which later tables do not have.
        first: such as `typiclust` or `core_set`.
        then: such as `pal`.
        weak_below: mAP in [0, 1].

    Raises:
        ValueError: for an mAP out of range.
    """
    if not is_number(weak_below) or not 0 <= weak_below <= 1:
        raise ValueError(f"expected weak_below to be a mAP in [0, 1], got {weak_below!r}")

    def ranker(candidates: RotatedInstances, rng: Rng, context: QueryContext, budget: Budget | None) -> pd.DataFrame:
        if is_weak(context, weak_below):
            return first.rank(candidates, rng, context, budget).assign(start=name)
        return then.rank(candidates, rng, context, budget)

    return Wrapper(ranker, first.needs | then.needs | {"labels"}, then.figure)
