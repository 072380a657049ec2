"""A strategy that ranks by another one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ....data import RotatedInstances
from ...budget import Budget
from ...context import QueryContext
from ..base import Needs, RankingStrategy, Rng

__all__ = ["Ranker", "Wrapper", "append", "is_number"]

Ranker = Callable[[RotatedInstances, Rng, QueryContext, Budget | None], pd.DataFrame]


@dataclass(frozen=True)
class Wrapper(RankingStrategy):
    """A strategy that changes what another one ranks, or the ranking that comes of it.

    Args:
        ranker: ``(candidates, rng, context, budget)`` -> the ranking. The candidates come in the order of their ids, on
            which nothing that is picked may depend.
        needs: what it and the other strategy use besides boxes and scores, some of `NEEDS`.
        figure: the column with the other strategy's own figure of an image, see `ScoreStrategy`.
        without_detector: ranks in its place where nothing is detected, because nothing is trained; None: images are
            drawn at random.
    """

    ranker: Ranker
    needs: Needs
    figure: str | None
    without_detector: RankingStrategy | None = None

    def rank(
        self,
        candidates: RotatedInstances | Iterable[RotatedInstances],
        rng: Rng = None,
        context: QueryContext | None = None,
        budget: Budget | None = None,
    ) -> pd.DataFrame:
        """Rank all candidates, best first, see :func:`al_rotate.sampling.rank`."""
        pool = candidates if isinstance(candidates, RotatedInstances) else RotatedInstances.concat(candidates)
        return self.ranker(pool.subset(np.sort(pool.image_ids)), rng, context or QueryContext(), budget)


def is_number(value: object) -> bool:
    """Tell whether an option is a number; from a command line it may be a word."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def append(front: pd.DataFrame, behind: pd.DataFrame, placement: str) -> pd.DataFrame:
    """Put the rows of one ranking behind those of another, with the lowest score of these, and 0 at most."""
    behind = behind.assign(score=min(0.0, front["score"].min()) if len(front) else 0.0, placement=placement)
    for name in front.columns.difference(behind.columns):
        if front[name].dtype == bool:  # what holds of all images holds of these; that some were drawn does not
            behind[name] = name != "drawn" and bool(front[name].all())
    parts = [part for part in (front, behind) if len(part)]
    table = pd.concat(parts, ignore_index=True) if parts else front
    return table.assign(rank=np.arange(1, len(table) + 1))
