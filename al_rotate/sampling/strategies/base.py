"""What a strategy is made of: a score an image (`ScoreStrategy`), or a choice of images for what they are together (`BatchStrategy`).

Both give a table of all candidates, best first, with the parts that its order comes from, and both are strategies:
callables ``(candidates, budget, rng) -> image ids``, which is the table cut at the budget.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ...data.instances import RotatedInstances
from ..budget import Budget
from ..context import QueryContext
from ..measures.aggregate import Empty, place_empty
from ..measures.per_image import shown, sums

__all__ = [
    "NEEDS",
    "BatchStrategy",
    "Needs",
    "Rng",
    "ScoreStrategy",
]

Needs = frozenset[str]
NEEDS = ("class_scores", "features", "views", "labelled_features", "labels")
Rng = np.random.Generator | None
Columns = dict[str, NDArray]
Scorer = Callable[[RotatedInstances, Rng, QueryContext], Mapping[str, ArrayLike]]
Picker = Callable[[RotatedInstances, int, Rng, QueryContext], tuple[ArrayLike, Mapping[str, ArrayLike]]]


# Equal scores differ in their last bits between machines, and with the order of a sum: these bits may not decide.
_DECIMALS = 10


class _Ranked:
    """What has a table is a strategy: the table cut at the budget."""

    def rank(
        self,
        candidates: RotatedInstances | Iterable[RotatedInstances],
        rng: Rng = None,
        known: QueryContext | None = None,
        budget: Budget | None = None,
    ) -> pd.DataFrame:
        """All candidates, best first."""
        raise NotImplementedError

    def __call__(
        self, candidates: RotatedInstances, budget: Budget, rng: Rng = None, known: QueryContext | None = None
    ) -> list[str]:
        ranking = self.rank(candidates, rng, known, budget)
        return budget.take(ranking["image_id"], ranking["n_shown"])


@dataclass(frozen=True)
class ScoreStrategy(_Ranked):
    """A strategy that gives each image a score and takes the best.

    Args:
        scorer: ``(candidates, rng, known)`` -> columns of (M,) values, in the order of the candidates. ``score`` is one
            of them, higher is better; the others are its parts and go into the ranking beside it.
        empty: where images without a box stand, see :func:`al_rotate.sampling.aggregate.place_empty`; None: by the
            score that the scorer gives them.
        needs: what it looks at beside boxes and scores, so that a loop can have it made.
        apart: whether an image's columns do not depend on the other images, so that a pool can be scored in parts.
    """

    scorer: Scorer
    empty: Empty | None = None
    needs: Needs = field(default_factory=frozenset)
    apart: bool = False

    def rank(
        self,
        candidates: RotatedInstances | Iterable[RotatedInstances],
        rng: Rng = None,
        known: QueryContext | None = None,
        budget: Budget | None = None,
    ) -> pd.DataFrame:
        """All candidates, best first, see `rank`; in parts one after the other where a ranking is `apart`.

        Raises:
            ValueError: for a score that is missing or not finite; names the image.
        """
        known = known or QueryContext()
        parts = [candidates] if isinstance(candidates, RotatedInstances) else candidates
        if not isinstance(candidates, RotatedInstances) and not self.apart:
            parts = [RotatedInstances.concat(parts)]
        frames = [self._columns(part, rng, known) for part in parts]
        table = pd.concat(frames, ignore_index=True) if len(frames) != 1 else frames[0]
        empty = table["empty"].to_numpy()
        score: NDArray = table["score"].to_numpy(np.float64)
        if self.empty:
            score = place_empty(score, empty, self.empty, known.missed_rate)
        table["score"] = np.round(score, _DECIMALS)
        table.insert(
            5, "placed", pd.Series(np.where(empty & bool(self.empty), self.empty or "score", "score"), dtype=object)
        )
        ahead = {"first": -1, "last": 1}.get(self.empty or "", 0) * empty
        by_id = np.argsort(table["image_id"].to_numpy(), kind="stable")
        order = by_id[
            np.lexsort((-table["score"].to_numpy()[by_id], ahead[by_id]))
        ]  # stable: ties keep their ids' order
        return _ranked(table.take(order))

    def _columns(self, candidates: RotatedInstances, rng: Rng, known: QueryContext) -> pd.DataFrame:
        parts = {name: np.asarray(values) for name, values in self.scorer(candidates, rng, known).items()}
        score = np.asarray(parts.pop("score"), np.float64)
        if score.shape != (len(candidates),):
            raise ValueError(f"expected a score for each of {len(candidates)} images, got {score.shape}")
        bad = ~np.isfinite(score)
        if self.empty:
            bad &= candidates.counts > 0  # the others' scores are the rule's
        if bad.any():
            position = int(np.flatnonzero(bad)[0])
            raise ValueError(
                f"expected finite scores, got {score[position]} for image {candidates.image_ids[position]!r}"
            )
        return _table(candidates, score, known, parts)


@dataclass(frozen=True)
class BatchStrategy(_Ranked):
    """A strategy that picks images together: each for what it adds to those picked before.

    Args:
        picker: ``(candidates, n, rng, known)`` -> the rows of the n images in the order picked (fewer where it wants no
            more), and columns of (M,) values. It sees at least one candidate, sorted by id, and ``1 <= n <= M``. A
            column ``otherwise``, higher is better, puts the images that were not picked in order behind those that
            were; it does not go into the table.
        needs: what it looks at beside boxes and scores.
    """

    picker: Picker
    needs: Needs = field(default_factory=frozenset)

    def rank(
        self,
        candidates: RotatedInstances | Iterable[RotatedInstances],
        rng: Rng = None,
        known: QueryContext | None = None,
        budget: Budget | None = None,
    ) -> pd.DataFrame:
        """All candidates, those picked first, see `rank`.

        ``score`` falls evenly from 1 over the picked ones and is 0 for all others. As many are picked as the budget can
        cover when it goes to the smallest images; None: all.
        """
        known = known or QueryContext()
        whole = candidates if isinstance(candidates, RotatedInstances) else RotatedInstances.concat(candidates)
        by_id = np.argsort(whole.image_ids, kind="stable")
        if (by_id[1:] < by_id[:-1]).any():  # what is picked may not depend on the order in which images come
            whole = whole.subset(whole.image_ids[by_id])
        n = len(whole) if budget is None else min(len(whole), budget.most(shown(whole)))
        rows, columns = self.picker(whole, n, rng, known) if n else ((), {})
        picked: NDArray = np.asarray(rows, np.int64)
        parts = {name: np.asarray(values) for name, values in columns.items()}
        otherwise = parts.pop("otherwise", np.zeros(len(whole)))
        rest = np.setdiff1d(np.arange(len(whole)), picked)
        order = np.concatenate([picked, rest[np.argsort(-otherwise[rest], kind="stable")]])
        score = np.zeros(len(whole))
        score[picked] = 1 - np.arange(len(picked)) / max(len(picked), 1)
        table = _table(whole, np.round(score, _DECIMALS), known, parts)
        table.insert(5, "placed", pd.Series(np.where(score > 0, "picked", "rest"), dtype=object))
        return _ranked(table.take(order))


def _table(candidates: RotatedInstances, score: NDArray, known: QueryContext, parts: Columns) -> pd.DataFrame:
    counts = candidates.counts
    columns = {"image_id": candidates.image_ids, "score": score, "n_boxes": counts, "empty": counts == 0}
    seen = shown(candidates)
    if "expected_boxes" not in parts:
        scores = candidates.scores
        parts = {"expected_boxes": sums(np.zeros(0) if scores is None else scores, candidates), **parts}
    return pd.DataFrame({"rank": 0, **columns, "n_shown": seen, "expected_seconds": known.cost.seconds(seen), **parts})


def _ranked(table: pd.DataFrame) -> pd.DataFrame:
    table["rank"] = np.arange(1, len(table) + 1)
    return table.reset_index(drop=True)
