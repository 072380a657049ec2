"""Candidates that are set aside before a strategy ranks the others: near-duplicates, and what surely holds nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ....data import RotatedInstances
from ...budget import Budget
from ...context import QueryContext
from ...measures import duplicates, emptiness
from ...measures.distances import unit
from ...measures.per_image import features_of
from ..base import DECIMALS, Columns, Needs, RankingStrategy, Rng, ScoreStrategy
from .wrapper import Wrapper, append, is_number

__all__ = ["without_duplicates", "without_empties"]


class Aside(NamedTuple):
    """What a rule says of the candidates, each (M,)."""

    mask: NDArray[np.bool_]  # whether an image is set aside
    order: NDArray  # the highest first, of those that are
    columns: Columns  # for the table


Rule = Callable[[RotatedInstances, QueryContext], Aside]


def without_duplicates(strategy: RankingStrategy, distance: float) -> Wrapper:
    """Set images aside that nearly repeat another candidate, or a labelled image, by their features.

    Of images that repeat each other the first by id stays, see :func:`al_rotate.sampling.duplicates.leaders`. To remove
    such duplicates before a selection is what SemDeDup does for training sets (Abbas et al., 2023, arXiv 2303.09540);
    their threshold is a cosine, ours a share, because detectors' features differ in their spread.

    Args:
        strategy: ranks what remains.
        distance: between features at unit length, in shares of the median distance between two candidates: at 0
            only copies are set aside.

    Raises:
        ValueError: for a distance outside [0, 1); later, for detections without image_features.
    """
    if not is_number(distance) or not 0 <= distance < 1:
        raise ValueError(f"expected duplicates to be a share of the median distance in [0, 1), got {distance!r}")

    def rule(candidates: RotatedInstances, context: QueryContext) -> Aside:
        features = unit(features_of(candidates))
        labelled = None if context.features is None else unit(context.features)
        leader = duplicates.leaders(features, distance * duplicates.typical_distance(features), labelled)
        mask = leader != np.arange(len(candidates))
        names = np.append(candidates.image_ids, "a labelled image")  # duplicates.COVERED is the last one
        return Aside(mask, np.zeros(len(candidates)), {"repeats": np.where(mask, names[leader], "")})

    return _set_aside(strategy, rule, "near-duplicate", frozenset({"features", "labelled_features"}))


def without_empties(strategy: RankingStrategy, probability: float, audit: float) -> Wrapper:
    """Set images aside that surely hold no object, and draw a share of the query from them to find what is missed.

    Ours. The probability is learnt from the labelled images, see :func:`al_rotate.sampling.emptiness.fit`; as long as
    there are fewer than ten with an object and ten without, nothing is set aside. Without the audit, objects that the
    detector does not see would never be labelled, and the probability never be put right. Each of the images set aside
    is as likely to be in the audit as any other, so that the share of these that turn out to hold an object estimates,
    without bias, the share that is missed.

    Args:
        strategy: ranks what remains.
        probability: of holding nothing, in (0, 1], from which an image is set aside. The surest come last.
        audit: the share of a query that is drawn from what is set aside, in [0, 1); 0: none. These images stand evenly
            spaced in the ranking from a random start, so that it is this share whatever the budget buys.

    Raises:
        ValueError: for options out of range; later, for an audit without a generator.
    """
    if not is_number(probability) or not is_number(audit) or not 0 < probability <= 1 or not 0 <= audit < 1:
        raise ValueError(f"expected triage in (0, 1] and audit in [0, 1), got {probability!r} and {audit!r}")

    def rule(candidates: RotatedInstances, context: QueryContext) -> Aside:
        fitted = emptiness.fit(context.detections, context.labels)
        p = np.round(fitted(candidates), DECIMALS)
        mask = np.zeros(len(candidates), bool) if fitted.notice else p >= probability
        return Aside(mask, -p, {"emptiness": p})

    return _set_aside(strategy, rule, "surely empty", frozenset({"labels"}), audit)


def _set_aside(strategy: RankingStrategy, rule: Rule, placement: str, needs: Needs, audit: float = 0) -> Wrapper:
    def ranker(candidates: RotatedInstances, rng: Rng, context: QueryContext, budget: Budget | None) -> pd.DataFrame:
        aside = rule(candidates, context) if len(candidates) else Aside(np.zeros(0, bool), np.zeros(0), {})
        kept, others = (candidates.subset(candidates.image_ids[mask]) for mask in (~aside.mask, aside.mask))
        front = strategy.rank(kept, rng, context, budget)
        in_order = ScoreStrategy(lambda part, rng, context: {"score": aside.order[aside.mask]})
        table = append(front, in_order.rank(others, None, context), placement)
        if audit:
            table = _with_audit(table, len(front), audit, rng)
        rows = [candidates.position(image_id) for image_id in table["image_id"]]
        return table.assign(**{name: values[rows] for name, values in aside.columns.items()})

    return Wrapper(ranker, strategy.needs | needs, strategy.figure)


def _with_audit(table: pd.DataFrame, n_front: int, share: float, rng: Rng) -> pd.DataFrame:
    """Move rows from behind the first n_front ones, drawn at random, to places 1 / share apart from a random start.

    Each has the score of the image before it, or after it if there is none.
    """
    if rng is None:
        raise ValueError("an audit draws images, which needs a random generator: rng=np.random.default_rng(seed)")
    start, drawn = rng.random(), n_front + rng.permutation(len(table) - n_front)
    k = np.arange(len(drawn))
    before = np.floor((start + k) / share).astype(np.int64) - k  # images of the front before the k-th one
    moved, before = drawn[before < n_front], before[before < n_front]
    scores, position = table["score"].to_numpy(np.float64, copy=True), np.arange(len(table), dtype=np.float64)
    scores[moved], position[moved] = scores[np.maximum(before - 1, 0)], before - 0.5 + 0.4 * k[: len(before)] / len(k)
    placement = table["placement"].to_numpy(object, copy=True)
    placement[moved] = "audit"
    table = table.assign(score=scores, placement=placement).iloc[np.argsort(position, kind="stable")]
    return table.assign(rank=np.arange(1, len(table) + 1)).reset_index(drop=True)
