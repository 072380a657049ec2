"""Named strategies: which images to have labelled next.

A strategy is a callable ``(candidates, budget, rng) -> image ids``, best first, and one of your own is a plain
function::

    def most_ships(candidates, budget, rng):
        ships = np.bincount(candidates.image_index, candidates.labels == 0, minlength=len(candidates))
        order = np.lexsort((candidates.image_ids, -ships))
        return budget.take(candidates.image_ids[order], shown(candidates)[order])

    select(detections, most_ships, budget=100, rng=np.random.default_rng(0))

One that takes a fourth argument named ``known`` is given what is known beside the detections, such as the labels so
far: see `Known`. Those named in `STRATEGIES` are made of the parts in :mod:`al_rotate.sampling`, each a `Ranking` (a
score an image) or a `Batch` (images picked for what they are together); docs/strategies.md has the table.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..data.instances import RotatedInstances
from .budget import Budget
from .context import QueryContext
from .measures.per_image import shown
from .strategies.base import BatchStrategy, ScoreStrategy
from .strategies.registry import Strategy, make_strategy

__all__ = ["rank", "rank_and_select", "select"]


def rank(
    detections: RotatedInstances | str | Path,
    strategy: str | Strategy = "entropy",
    rng: np.random.Generator | None = None,
    known: QueryContext | None = None,
    budget: Budget | int | None = None,
    **options: Any,
) -> pd.DataFrame:
    """All images of a pool, most worth labelling first.

    Args:
        detections: predictions on the pool, or the folder that they were streamed to. Strategies that score each
            image by itself take such a folder shard by shard, so that it may be larger than memory.
        strategy: a name of `STRATEGIES`, a `Ranking` or a `Batch`.
        rng: for strategies that draw.
        known: what is known beside the detections.
        budget: how many images a `Batch` picks; the others stand behind these. None: all of them.
        **options: of the named strategy, such as ``how="top-k", k=3, empty="first", use_class_scores=False``.

    Returns:
        A row an image: rank (from 1), image_id, score (to 10 decimals), n_boxes, empty, placed (``score`` or the rule
        for images without a box; ``picked`` or ``rest``), n_shown (boxes scored at least 0.3, which
        people are shown and budgets charge), expected_seconds of labelling, expected_boxes (the sum of the
        scores, or of what they are calibrated to), and the parts of the score. Equal scores stand in the order of their
        image ids.

    Raises:
        ValueError: for an unknown name or option, boxes without scores, columns that the strategy needs and the
            detections have not, a strategy that draws without `rng`, or one that gives no ranking.
    """
    chosen = make_strategy(strategy, **options)
    if not isinstance(chosen, ScoreStrategy | BatchStrategy):
        raise ValueError(f"expected a strategy that ranks, got {_name(strategy)}, which only picks: use select()")
    pool: RotatedInstances | Iterable[RotatedInstances]
    if isinstance(detections, RotatedInstances):
        pool = _check(detections, rng)
    else:
        pool = (_check(part, rng) for part in RotatedInstances.stream(detections))
    return chosen.rank(pool, rng, known, Budget(images=budget) if isinstance(budget, int) else budget)


def select(
    detections: RotatedInstances,
    strategy: str | Strategy,
    budget: Budget | int,
    rng: np.random.Generator | None = None,
    known: QueryContext | None = None,
    **options: Any,
) -> list[str]:
    """The images to have labelled next.

    Args:
        detections: predictions on the pool.
        strategy: a name of `STRATEGIES`, or a callable ``(candidates, budget, rng) -> image ids``.
        budget: a plain number counts images.
        rng: for strategies that draw; a function of your own always gets one.
        known: what is known beside the detections.
        **options: of the named strategy, as for `rank`.

    Returns:
        Image ids, best first.

    Raises:
        ValueError: as for `rank`, and when a strategy returns an id that is no candidate, one twice, or more than the
            budget covers.
    """
    _check(detections, rng)
    budget = budget if isinstance(budget, Budget) else Budget(images=budget)
    chosen = make_strategy(strategy, **options)
    if isinstance(chosen, ScoreStrategy | BatchStrategy):
        return chosen(detections, budget, rng, known)
    if rng is None:
        raise ValueError(f"the strategy {_name(strategy)} is given a generator: rng=np.random.default_rng(seed)")
    more = {"known": known or QueryContext()} if "known" in inspect.signature(chosen).parameters else {}
    return _checked(chosen(detections, budget, rng, **more), detections, budget, _name(strategy))


def rank_and_select(
    detections: RotatedInstances, strategy: Strategy, budget: Budget, rng: np.random.Generator, known: QueryContext
) -> tuple[pd.DataFrame, list[str]]:
    """The table of `rank` and the choice of `select`, by one run of the strategy.

    One that only picks has a table, too: those it picked, from score 1 down, and behind them the others, without one.
    """
    if isinstance(strategy, ScoreStrategy | BatchStrategy):
        table = strategy.rank(_check(detections, rng), rng, known, budget)
        return table, budget.take(table["image_id"], table["n_shown"])
    chosen = select(detections, strategy, budget, rng, known)
    ids = [*chosen, *sorted({*detections.image_ids} - {*chosen})]
    ranks = np.where(np.arange(len(ids)) < len(chosen), np.arange(1.0, len(ids) + 1), np.nan)
    columns = {"rank": ranks, "image_id": ids, "score": 1 - (ranks - 1) / max(1, len(chosen))}
    sorted_out = detections.subset(ids)
    return pd.DataFrame({**columns, "n_boxes": sorted_out.counts, "n_shown": shown(sorted_out)}), chosen


def _checked(picked: object, candidates: RotatedInstances, budget: Budget, name: str) -> list[str]:
    """What a strategy returned, if it keeps the contract."""
    if isinstance(picked, str) or not isinstance(picked, Sequence | np.ndarray | pd.Series | pd.Index):
        raise ValueError(f"expected a list of image ids from the strategy {name}, got {picked!r}")
    ids = list(picked)
    if strange := [i for i in ids if not isinstance(i, str) or i not in candidates]:
        raise ValueError(f"expected ids of candidates from the strategy {name}, got {strange[0]!r}")
    if len(set(ids)) < len(ids):
        twice, times = Counter(ids).most_common(1)[0]
        raise ValueError(f"expected each image once from the strategy {name}, got {twice!r} {times} times")
    charged = shown(candidates.subset(ids))
    if not budget.covers(charged):
        got = f"{len(ids)} images with {charged.sum()} boxes"
        raise ValueError(
            f"expected at most {budget} from the strategy {name}, got {got} (an empty image counts as one)"
        )
    return [str(i) for i in ids]


def _check(detections: RotatedInstances, rng: np.random.Generator | None) -> RotatedInstances:
    if detections.n_boxes and detections.scores is None:
        raise ValueError(f"expected detections with scores, got {detections!r}: strategies may not see labels")
    if rng is not None and not isinstance(rng, np.random.Generator):
        raise TypeError(f"expected rng to be a np.random.Generator, got {rng!r}: np.random.default_rng(seed)")
    return detections


def _name(strategy: Any) -> str:
    return repr(strategy if isinstance(strategy, str) else getattr(strategy, "__name__", strategy))
