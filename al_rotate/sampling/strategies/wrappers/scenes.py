"""A few images of each scene before the next ones of any."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from ....data import RotatedInstances
from ...budget import Budget
from ...context import QueryContext
from ...measures import coverage
from ..base import RankingStrategy, Rng
from .wrapper import Wrapper, append

__all__ = ["few_of_a_scene"]


def few_of_a_scene(strategy: RankingStrategy, most: int, scene: str | None = None) -> Wrapper:
    """Put images of a scene behind those of all other scenes, once it has had its share of the ranking.

    Overlapping tiles and the frames of a video show the same objects. Unlike near-duplicates these are told by their
    names, and the strategy decides which of a scene come first.

    Args:
        strategy: ranks.
        most: images of a scene before the other scenes have had theirs.
        scene: a regular expression for a whole image id whose first group is the scene, such as ``(.*)/.*`` for
            frames in one folder per video; None: MMRotate's names of tiles.

    Raises:
        ValueError: for less than one image, or an expression without a group.
    """
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise ValueError(f"expected per_scene to be at least one image, got {most!r}")
    coverage.require_scene_pattern(scene)

    def ranker(candidates: RotatedInstances, rng: Rng, context: QueryContext, budget: Budget | None) -> pd.DataFrame:
        table = strategy.rank(candidates, rng, context, budget)
        turns = coverage.turns(table["image_id"], most, partial(coverage.scene_of, pattern=scene))
        order, n_first = np.argsort(turns, kind="stable"), int((turns == 0).sum())
        return append(table.iloc[order[:n_first]], table.iloc[order[n_first:]], "behind its scene's share")

    return Wrapper(ranker, strategy.needs, strategy.figure)
