"""Rank a pool, or select from it, with a strategy.

A strategy is a callable ``(candidates, budget, rng) -> image ids``, best first. Your own is a plain function::

    def most_ships(candidates, budget, rng):
        ships = np.bincount(candidates.image_index, candidates.labels == 0, minlength=len(candidates))
        order = np.lexsort((candidates.image_ids, -ships))
        return budget.take(candidates.image_ids[order], shown(candidates)[order])

    select(detections, most_ships, budget=100, rng=np.random.default_rng(0))

If it has a parameter named ``context`` it gets a `QueryContext`: the labels so far, and more. The strategies named in
`STRATEGIES` are built from the parts in :mod:`al_rotate.sampling`; each is a `ScoreStrategy` (a score for each image)
or a `BatchStrategy` (images picked together). docs/strategies.md has the table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..data import RotatedInstances
from .budget import Budget
from .context import QueryContext
from .deprecated import call_with_context, renamed_argument
from .measures.per_image import shown
from .strategies.base import RankingStrategy
from .strategies.registry import Strategy, make_strategy

__all__ = ["rank", "rank_and_select", "select"]


@renamed_argument("known", "context")
def rank(
    detections: RotatedInstances | str | Path,
    strategy: str | Strategy = "entropy",
    rng: np.random.Generator | None = None,
    context: QueryContext | None = None,
    budget: Budget | int | None = None,
    **options: Any,
) -> pd.DataFrame:
    """Rank all images of a pool, those most worth labelling first.

    Args:
        detections: predictions on the pool, or the folder that they were streamed to. Strategies that score each
            image by itself read such a folder shard by shard, so it may be larger than memory.
        strategy: a name of `STRATEGIES`, a `ScoreStrategy` or a `BatchStrategy`.
        rng: for strategies that draw.
        context: what a strategy may use besides the detections.
        budget: how many images a `BatchStrategy` picks; the others are ranked behind these. None: all of them.
        **options: of the named strategy, such as ``how="top-k", k=3, empty="first", use_class_scores=False``.

    Returns:
        One row per image: rank (from 1), image_id, score (to 10 decimals), n_boxes, empty, placement (``score`` or the
        rule for images without a box; ``picked`` or ``rest``), n_shown (boxes that people are shown and budgets
        charge, by the context's rule, see :mod:`al_rotate.sampling.showing`), expected_seconds of labelling,
        expected_boxes (the sum of the scores, or of the probabilities that they are calibrated to), and the parts of
        the score. Equal scores are in the order of their
        image ids, but where these would decide on the whole query, as when no box is detected in any image, the images
        that are equal are drawn with `rng`: the column ``drawn`` is True for them.

    Raises:
        ValueError: for an unknown name or option, boxes without scores, columns that the strategy needs and the
            detections lack, a strategy that draws without `rng`, or one that does not rank.
    """
    chosen = make_strategy(strategy, **options)
    if not isinstance(chosen, RankingStrategy):
        raise ValueError(f"expected a strategy that ranks, got {_name(strategy)}, which only picks: use select()")
    pool: RotatedInstances | Iterable[RotatedInstances]
    if isinstance(detections, RotatedInstances):
        pool = _check_arguments(detections, rng)
    else:
        pool = (_check_arguments(part, rng) for part in RotatedInstances.stream(detections))
    return chosen.rank(pool, rng, context, Budget(images=budget) if isinstance(budget, int) else budget)


@renamed_argument("known", "context")
def select(
    detections: RotatedInstances,
    strategy: str | Strategy,
    budget: Budget | int,
    rng: np.random.Generator | None = None,
    context: QueryContext | None = None,
    **options: Any,
) -> list[str]:
    """Select the images to label next.

    Args:
        detections: predictions on the pool.
        strategy: a name of `STRATEGIES`, or a callable ``(candidates, budget, rng) -> image ids``.
        budget: a plain number counts images.
        rng: for strategies that draw; required for a function of your own, which is always given one.
        context: what a strategy may use besides the detections.
        **options: of the named strategy, as for `rank`.

    Returns:
        Image ids, best first.

    Raises:
        ValueError: as for `rank`, and when a strategy returns an id that is no candidate, one twice, or more than the
            budget covers.
    """
    _check_arguments(detections, rng)
    budget = budget if isinstance(budget, Budget) else Budget(images=budget)
    chosen = make_strategy(strategy, **options)
    if isinstance(chosen, RankingStrategy):
        return chosen(detections, budget, rng, context)
    if rng is None:
        raise ValueError(f"the strategy {_name(strategy)} needs a random generator: rng=np.random.default_rng(seed)")
    picked = call_with_context(chosen, context or QueryContext(), detections, budget, rng)
    return _check_picks(picked, detections, budget, _name(strategy), context or QueryContext())


@renamed_argument("known", "context")
def rank_and_select(
    detections: RotatedInstances, strategy: Strategy, budget: Budget, rng: np.random.Generator, context: QueryContext
) -> tuple[pd.DataFrame, list[str]]:
    """Return both the table of `rank` and the selection of `select`, by one run of the strategy.

    A strategy that only picks gets a table, too: the picked images from score 1 down, the others without a score.
    """
    if isinstance(strategy, RankingStrategy):
        table = strategy.rank(_check_arguments(detections, rng), rng, context, budget)
        return table, budget.take(table["image_id"], table["n_shown"])
    picked = select(detections, strategy, budget, rng, context)
    ids = [*picked, *sorted({*detections.image_ids} - {*picked})]
    ranks = np.where(np.arange(len(ids)) < len(picked), np.arange(1.0, len(ids) + 1), np.nan)
    columns = {"rank": ranks, "image_id": ids, "score": 1 - (ranks - 1) / max(1, len(picked))}
    ranked = detections.subset(ids)
    return pd.DataFrame({**columns, "n_boxes": ranked.counts, "n_shown": context.showing.counts(ranked)}), picked


def _check_picks(
    picked: object, candidates: RotatedInstances, budget: Budget, name: str, context: QueryContext
) -> list[str]:
    """What a strategy returned, as a list, if it keeps the contract.

    A function without a context cannot know the rule of what is shown: it may count the boxes scored at least 0.3.
    """
    if isinstance(picked, str) or not isinstance(picked, Sequence | np.ndarray | pd.Series | pd.Index):
        raise ValueError(f"expected a list of image ids from the strategy {name}, got {picked!r}")
    ids = list(picked)
    if strange := [i for i in ids if not isinstance(i, str) or i not in candidates]:
        raise ValueError(f"expected ids of candidates from the strategy {name}, got {strange[0]!r}")
    if len(set(ids)) < len(ids):
        repeated, times = Counter(ids).most_common(1)[0]
        raise ValueError(f"expected each image once from the strategy {name}, got {repeated!r} {times} times")
    charged = context.showing.counts(candidates.subset(ids))
    if not (budget.covers(charged) or budget.covers(shown(candidates.subset(ids)))):
        got = f"{len(ids)} images with {charged.sum()} boxes"
        raise ValueError(
            f"expected at most {budget} from the strategy {name}, got {got} (an empty image counts as one)"
        )
    return [str(i) for i in ids]


def _check_arguments(detections: RotatedInstances, rng: np.random.Generator | None) -> RotatedInstances:
    if detections.n_boxes and detections.scores is None:
        raise ValueError(f"expected detections with scores, got {detections!r}: strategies may not see labels")
    if rng is not None and not isinstance(rng, np.random.Generator):
        raise TypeError(f"expected rng to be a np.random.Generator, got {rng!r}: np.random.default_rng(seed)")
    return detections


def _name(strategy: Any) -> str:
    return repr(strategy if isinstance(strategy, str) else getattr(strategy, "__name__", strategy))
