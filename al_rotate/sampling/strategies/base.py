"""The two kinds of strategy that rank: by a score for each image, or by picking images that go well together.

Both give a table of all candidates, best first, with the parts that the order comes from. Both are callables
``(candidates, budget, rng, context) -> image ids``: the table, cut at the budget.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ...data import RotatedInstances
from ..budget import Budget
from ..context import QueryContext, remember_views
from ..deprecated import renamed_argument, renamed_field, renamed_key
from ..measures.aggregate import Empty, place_empty
from ..measures.per_image import sums

__all__ = [
    "DECIMALS",
    "NEEDS",
    "BatchStrategy",
    "Columns",
    "Needs",
    "Picker",
    "Picks",
    "RankingStrategy",
    "Rng",
    "ScoreStrategy",
    "Scorer",
]

Needs = frozenset[str]
NEEDS = ("class_scores", "features", "views", "labelled_features", "labels")
Rng = np.random.Generator | None
Columns = dict[str, NDArray]
Picks = tuple[NDArray, Columns]
Scorer = Callable[[RotatedInstances, Rng, QueryContext], Mapping[str, ArrayLike]]
Picker = Callable[[RotatedInstances, int, Rng, QueryContext], tuple[ArrayLike, Mapping[str, ArrayLike]]]

# The last bits of equal scores differ between machines and with the order of a sum. They must not decide.
DECIMALS = 10


class RankingStrategy(ABC):
    """A strategy that ranks all candidates; a call gives the ranking cut at the budget.

    The order of the ids never decides on a whole query: images among which nothing tells are drawn with the generator,
    and ``drawn`` is True for them.
    """

    needs: Needs
    figure: str | None

    @abstractmethod
    def rank(
        self,
        candidates: RotatedInstances | Iterable[RotatedInstances],
        rng: Rng = None,
        context: QueryContext | None = None,
        budget: Budget | None = None,
    ) -> pd.DataFrame:
        """Rank all candidates, best first, see :func:`al_rotate.sampling.rank`."""

    @renamed_argument("known", "context")
    def __call__(
        self, candidates: RotatedInstances, budget: Budget, rng: Rng = None, context: QueryContext | None = None
    ) -> list[str]:
        ranking = self.rank(candidates, rng, context, budget)
        return budget.take(ranking["image_id"], ranking["n_shown"])


@renamed_field("apart", "per_image")
@dataclass(frozen=True)
class ScoreStrategy(RankingStrategy):
    """A strategy that scores each image and takes the best.

    Args:
        scorer: ``(candidates, rng, context)`` -> columns of (M,) values, in the order of the candidates. One is
            ``score``, higher is better; the others are its parts and go into the ranking.
        empty: where images without a box are placed, see :func:`al_rotate.sampling.aggregate.place_empty`; None: by
            the score that the scorer gives them.
        needs: what it uses besides boxes and scores, some of `NEEDS`; a loop provides it.
        per_image: whether the columns of an image do not depend on other images, so that a pool larger than memory
            can be scored in parts.
        figure: the column that people are told as the strategy's own figure of an image; None: it has none.
    """

    scorer: Scorer
    empty: Empty | None = None
    needs: Needs = field(default_factory=frozenset)
    per_image: bool = False
    figure: str | None = "score"

    @renamed_argument("known", "context")
    def rank(
        self,
        candidates: RotatedInstances | Iterable[RotatedInstances],
        rng: Rng = None,
        context: QueryContext | None = None,
        budget: Budget | None = None,
    ) -> pd.DataFrame:
        """Rank all candidates, best first, see :func:`al_rotate.sampling.rank`; part by part if `per_image`.

        Raises:
            ValueError: for a score that is missing or not finite; names the image.
        """
        context = context or QueryContext()
        parts = [candidates] if isinstance(candidates, RotatedInstances) else candidates
        if not isinstance(candidates, RotatedInstances) and not self.per_image:
            parts = [RotatedInstances.concat(parts)]
        tables = [self._score(part, rng, context) for part in parts]
        table = pd.concat(tables, ignore_index=True) if len(tables) != 1 else tables[0]
        empty = table["empty"].to_numpy()
        score: NDArray = table["score"].to_numpy(np.float64)
        if self.empty:
            score = place_empty(score, empty, self.empty, context.missed_object_rate)
        table["score"] = np.round(score, DECIMALS)
        placement = np.where(empty & bool(self.empty), self.empty or "score", "score")
        table.insert(5, "placement", pd.Series(placement, dtype=object))
        # Equal scores: the rule for images without a box decides first, then the order of the ids (the sort is stable).
        group = {"first": -1, "last": 1}.get(self.empty or "", 0) * empty
        by_id = np.argsort(table["image_id"].to_numpy(), kind="stable")
        order = by_id[np.lexsort((-table["score"].to_numpy()[by_id], group[by_id]))]
        if rng is not None and (n_tied := _tied_for_all(table.take(order), group[order], budget)):
            order[:n_tied] = rng.permutation(order[:n_tied])
            table["drawn"] = np.isin(np.arange(len(table)), order[:n_tied])
        return _number(table.take(order))

    def _score(self, candidates: RotatedInstances, rng: Rng, context: QueryContext) -> pd.DataFrame:
        columns = {name: np.asarray(values) for name, values in self.scorer(candidates, rng, context).items()}
        score = np.asarray(columns.pop("score"), np.float64)
        if score.shape != (len(candidates),):
            raise ValueError(f"expected a score for each of {len(candidates)} images, got {score.shape}")
        bad = ~np.isfinite(score)
        if self.empty:
            bad &= candidates.counts > 0  # images without a box are scored by the rule
        if bad.any():
            position = int(np.flatnonzero(bad)[0])
            raise ValueError(
                f"expected finite scores, got {score[position]} for image {candidates.image_ids[position]!r}"
            )
        return _table(candidates, score, context, columns)


@dataclass(frozen=True)
class BatchStrategy(RankingStrategy):
    """A strategy that picks images together: each for what it adds to those picked before.

    Args:
        picker: ``(candidates, n, rng, context)`` -> the rows of the n images in the order picked (fewer if it wants no
            more), and columns of (M,) values. It sees at least one candidate, sorted by id, and ``1 <= n <= M``. The
            column ``fallback_score``, higher is better, orders the images that were not picked, behind those that
            were; it does not go into the table. Under a budget of boxes or seconds it is called for several n, each
            time with the generator in the same state.
        needs: what it uses besides boxes and scores, some of `NEEDS`; a loop provides it.
        figure: the picker's column that people are told as the strategy's own figure of an image, since ``score`` is
            only its place; None: it has none.
    """

    picker: Picker
    needs: Needs = field(default_factory=frozenset)
    figure: str | None = None

    @renamed_argument("known", "context")
    def rank(
        self,
        candidates: RotatedInstances | Iterable[RotatedInstances],
        rng: Rng = None,
        context: QueryContext | None = None,
        budget: Budget | None = None,
    ) -> pd.DataFrame:
        """Rank all candidates, those picked first, see :func:`al_rotate.sampling.rank`.

        ``score`` falls evenly from 1 over the picked images and is 0 for all others. As many are picked as the budget
        buys in the order in which they are picked, see :meth:`al_rotate.sampling.Budget.settle`; without a budget, all.
        """
        context = context or QueryContext()
        pool = candidates if isinstance(candidates, RotatedInstances) else RotatedInstances.concat(candidates)
        by_id = np.argsort(pool.image_ids, kind="stable")
        if (by_id[1:] < by_id[:-1]).any():  # the picks must not depend on the order in which images come
            pool = pool.subset(pool.image_ids[by_id])
        order, n_picked, columns = self._order(pool, rng, context, budget)
        measures = {name: values for name, values in columns.items() if np.issubdtype(values.dtype, np.number)}
        if rng is not None and measures and self._sees_no_difference(pool, measures, context):
            order, columns = rng.permutation(len(pool)), {**measures, "drawn": np.full(len(pool), True)}
        picked = order[:n_picked]
        score = np.zeros(len(pool))
        score[picked] = 1 - np.arange(n_picked) / max(n_picked, 1)
        table = _table(pool, np.round(score, DECIMALS), context, columns)
        table.insert(5, "placement", pd.Series(np.where(score > 0, "picked", "rest"), dtype=object))
        return _number(table.take(order))

    def _sees_no_difference(self, pool: RotatedInstances, measures: Columns, context: QueryContext) -> bool:
        """Whether its measures, the boxes and their scores are the same for all images.

        Where it looks at features, a measure that it did not take (NaN) says nothing about them.
        """
        if "features" in self.needs and any(np.isnan(values).any() for values in measures.values()):
            return False
        scores = sums(np.zeros(0) if pool.scores is None else pool.scores, pool)
        return all(map(_is_constant, [pool.counts, context.showing.counts(pool), scores, *measures.values()]))

    def _order(
        self, pool: RotatedInstances, rng: Rng, context: QueryContext, budget: Budget | None
    ) -> tuple[NDArray[np.int64], int, Columns]:
        """All rows, best first, how many of them were picked, and the picker's columns."""
        views = None if context.views is None else remember_views(context.views)
        context = replace(context, budget=budget, views=views)
        state = None if rng is None else rng.bit_generator.state
        tried: dict[int, tuple[NDArray[np.int64], int, Columns]] = {0: (np.arange(len(pool)), 0, {})}

        def order_for(n: int) -> NDArray[np.int64]:
            if rng is not None and state is not None:
                rng.bit_generator.state = state
            rows, values = self.picker(pool, n, rng, context)
            picked: NDArray = np.asarray(rows, np.int64)
            columns: Columns = {name: np.asarray(column) for name, column in values.items()}
            renamed_key(columns, "otherwise", "fallback_score")
            fallback = columns.pop("fallback_score", np.zeros(len(pool)))
            rest = np.setdiff1d(np.arange(len(pool)), picked)
            order = np.concatenate([picked, rest[np.argsort(-fallback[rest], kind="stable")]])
            tried[n] = order, len(picked), columns
            return order

        if budget is None and len(pool):
            order_for(n := len(pool))
        else:
            n = 0 if budget is None else budget.settle(order_for, context.showing.counts(pool))
        return tried[n]


def _table(candidates: RotatedInstances, score: NDArray, context: QueryContext, columns: Columns) -> pd.DataFrame:
    counts, n_shown = candidates.counts, context.showing.counts(candidates)
    common = {"rank": 0, "image_id": candidates.image_ids, "score": score, "n_boxes": counts, "empty": counts == 0}
    common |= {"n_shown": n_shown, "expected_seconds": context.cost.seconds(n_shown)}
    if "expected_boxes" not in columns:
        scores = candidates.scores
        common["expected_boxes"] = sums(np.zeros(0) if scores is None else scores, candidates)
    return pd.DataFrame(common | columns)


def _tied_for_all(ranked: pd.DataFrame, group: NDArray, budget: Budget | None) -> int:
    """How many images tie for first, if the order among them would decide on the whole query; else 0."""
    if len(ranked) < 2:
        return 0
    score = ranked["score"].to_numpy()
    n_tied = int(np.sum((score == score[0]) & (group == group[0])))
    decides = n_tied == len(ranked) or (
        budget is not None and n_tied > len(budget.take(ranked["image_id"], ranked["n_shown"]))
    )
    return n_tied * decides


def _is_constant(column: NDArray) -> bool:
    return len(column) > 1 and pd.Series(column).round(DECIMALS).nunique(dropna=False) == 1


def _number(table: pd.DataFrame) -> pd.DataFrame:
    table["rank"] = np.arange(1, len(table) + 1)
    return table.reset_index(drop=True)
