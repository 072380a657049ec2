"""Named strategies: which images to have labelled next.

A strategy is a callable ``(candidates, budget, rng) -> image ids``, best first, and one of your own is a plain
function::

    def most_ships(candidates, budget, rng):
        ships = np.bincount(candidates.image_index, candidates.labels == 0, minlength=len(candidates))
        order = np.lexsort((candidates.image_ids, -ships))
        return budget.take(candidates.image_ids[order], candidates.counts[order])

    select(detections, most_ships, budget=100, rng=np.random.default_rng(0))

Most of those named in `STRATEGIES` are a `Ranking`: a score an image, cut at the budget.
"""

from __future__ import annotations

import difflib
import inspect
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ..instances import RotatedInstances
from . import uncertainty
from .aggregate import Empty, How, aggregate
from .budget import Budget

__all__ = ["STRATEGIES", "Ranking", "Strategy", "make_strategy", "rank", "select"]

Strategy = Callable[[RotatedInstances, Budget, np.random.Generator], Sequence[str]]
Scorer = Callable[[RotatedInstances, "np.random.Generator | None"], Mapping[str, NDArray]]

# Equal scores differ in their last bits between machines, and with the order of a sum: these bits may not decide.
_DECIMALS = 10


@dataclass(frozen=True)
class Ranking:
    """A strategy that gives each image a score and takes the best.

    Args:
        scorer: ``(candidates, rng)`` -> columns of (M,) values, in the order of the candidates. ``score`` is one of
            them, higher is better; the others are its parts and go into the ranking beside it.
        empty: ``last`` or ``first`` puts the images without a box behind or before all others, whatever they score;
            else their score ranks them.
    """

    scorer: Scorer
    empty: Empty | None = None

    def rank(self, candidates: RotatedInstances, rng: np.random.Generator | None = None) -> pd.DataFrame:
        """All candidates, best first, see `rank`."""
        parts = dict(self.scorer(candidates, rng))
        score = np.round(np.asarray(parts.pop("score"), np.float64), _DECIMALS)
        if score.shape != (len(candidates),):
            raise ValueError(f"expected a score for each of {len(candidates)} images, got {score.shape}")
        if not np.isfinite(score).all():
            position = int(np.flatnonzero(~np.isfinite(score))[0])
            raise ValueError(
                f"expected finite scores, got {score[position]} for image {candidates.image_ids[position]!r}"
            )
        empty = candidates.counts == 0
        place = {"first": -1, "last": 1}.get(self.empty or "", 0) * empty
        by_id = np.argsort(candidates.image_ids, kind="stable")
        order = by_id[np.lexsort((-score[by_id], place[by_id]))]  # stable: ties keep the order of the ids
        columns = {
            "rank": np.arange(1, len(candidates) + 1),
            "image_id": candidates.image_ids[order],
            "score": score[order],
            "n_boxes": candidates.counts[order],
            "empty": empty[order],
        }
        return pd.DataFrame(columns | {name: np.asarray(values)[order] for name, values in parts.items()})

    def __call__(
        self, candidates: RotatedInstances, budget: Budget, rng: np.random.Generator | None = None
    ) -> list[str]:
        ranking = self.rank(candidates, rng)
        return budget.take(ranking["image_id"], ranking["n_boxes"])


def random() -> Ranking:
    """Images at random, each as likely as any other: the baseline that a strategy must beat."""

    def score(candidates: RotatedInstances, rng: np.random.Generator | None) -> dict[str, NDArray]:
        if rng is None:
            raise ValueError("the strategy 'random' draws from a generator of yours: rng=np.random.default_rng(seed)")
        scores = np.empty(len(candidates))
        # Drawn in the order of the ids, so that the same seed picks the same images in whatever order they come.
        scores[np.argsort(candidates.image_ids, kind="stable")] = rng.random(len(candidates))
        return {"score": scores}

    return Ranking(score)


def box_count() -> Ranking:
    """Images with the most predicted boxes: a control.

    It looks good where the budget counts images, only because crowded images carry more labels, and falls behind
    where it counts boxes. A strategy that does no better has learnt to count.
    """
    return Ranking(lambda candidates, rng: {"score": candidates.counts})


def by_uncertainty(
    measure: Callable[[ArrayLike], NDArray],
    how: How = "mean",
    k: int = 5,
    empty: Empty = "last",
    use_class_scores: bool | Literal["auto"] = "auto",
) -> Ranking:
    """Images whose boxes the detector is least sure of.

    The parts of the score are ``uncertainty_mean`` and ``uncertainty_max`` over the image's boxes, NaN where it has
    none.

    Args:
        measure: scores of boxes -> (N,), a function like those in :mod:`al_rotate.sampling.uncertainty`.
        how: boxes -> image, see :func:`al_rotate.sampling.aggregate.aggregate`.
        k: the same.
        empty: the place of images without a box, the same.
        use_class_scores: whether `measure` sees the scores of all classes instead of one confidence a box; auto: where
            the detections carry them.

    Raises:
        ValueError: for an unknown rule; later, when class scores are demanded and the detections carry none.
    """
    if use_class_scores not in (True, False, "auto"):
        raise ValueError(f"expected use_class_scores to be True, False or 'auto', got {use_class_scores!r}")
    aggregate([], [0], how, k, empty)  # refuses a wrong rule now and not after hours of prediction

    def score(candidates: RotatedInstances, rng: np.random.Generator | None) -> dict[str, NDArray]:
        scores = candidates.scores
        if use_class_scores is True and candidates.class_scores is None and candidates.n_boxes:
            raise ValueError(
                "expected detections with class_scores, got none: predict them, or use_class_scores='auto'"
            )
        if use_class_scores and candidates.class_scores is not None:
            scores = candidates.class_scores
        values = measure(np.zeros(0) if scores is None else scores)
        boxless = candidates.counts == 0
        return {
            "score": aggregate(values, candidates.offsets, how, k, empty),
            "uncertainty_mean": np.where(boxless, np.nan, aggregate(values, candidates.offsets, "mean")),
            "uncertainty_max": np.where(boxless, np.nan, aggregate(values, candidates.offsets, "max")),
        }

    return Ranking(score, empty)


# name -> factory, whose keyword arguments are the strategy's options
STRATEGIES: dict[str, Callable[..., Strategy]] = {
    "random": random,
    "box-count": box_count,
    "least-confidence": partial(by_uncertainty, uncertainty.least_confidence),
    "margin": partial(by_uncertainty, uncertainty.margin),
    "entropy": partial(by_uncertainty, uncertainty.entropy),
}


def make_strategy(strategy: str | Strategy, **options: Any) -> Strategy:
    """The strategy of that name with these options; a callable as it is.

    Raises:
        ValueError: for an unknown name (with the nearest known one), or an option that the strategy does not have.
    """
    if callable(strategy):
        if options:
            raise ValueError(f"expected no options beside a strategy of your own, got {', '.join(options)}")
        return strategy
    if strategy not in STRATEGIES:
        near = difflib.get_close_matches(str(strategy), STRATEGIES, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"expected a strategy among {', '.join(STRATEGIES)}, got {strategy!r}.{hint}")
    factory = STRATEGIES[strategy]
    known = [p.name for p in inspect.signature(factory).parameters.values()]
    if unknown := [name for name in options if name not in known]:
        raise ValueError(f"expected options of {strategy!r} among ({', '.join(known)}), got {', '.join(unknown)}")
    return factory(**options)


def rank(
    detections: RotatedInstances,
    strategy: str | Strategy = "entropy",
    rng: np.random.Generator | None = None,
    **options: Any,
) -> pd.DataFrame:
    """All images of a pool, most worth labelling first.

    Args:
        detections: predictions on the pool.
        strategy: a name of `STRATEGIES`, or a `Ranking`.
        rng: for strategies that draw.
        **options: of the named strategy, such as ``how="top-k", k=3, empty="first", use_class_scores=False``.

    Returns:
        A row an image: rank (from 1), image_id, score (to 10 decimals), n_boxes, empty, and the parts of the score.
        Equal scores stand in the order of their image ids.

    Raises:
        ValueError: for an unknown name or option, boxes without scores, a strategy that draws without `rng`, or one
            that picks sets of images and gives no ranking.
    """
    _check(detections, rng)
    chosen = make_strategy(strategy, **options)
    if not isinstance(chosen, Ranking):
        raise ValueError(f"expected a strategy that ranks, got {_name(strategy)}, which only picks: use select()")
    return chosen.rank(detections, rng)


def select(
    detections: RotatedInstances,
    strategy: str | Strategy,
    budget: Budget | int,
    rng: np.random.Generator | None = None,
    **options: Any,
) -> list[str]:
    """The images to have labelled next.

    Args:
        detections: predictions on the pool.
        strategy: a name of `STRATEGIES`, or a callable ``(candidates, budget, rng) -> image ids``.
        budget: a plain number counts images.
        rng: for strategies that draw; a function of your own always gets one.
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
    if isinstance(chosen, Ranking):
        return chosen(detections, budget, rng)
    if rng is None:
        raise ValueError(f"the strategy {_name(strategy)} is given a generator: rng=np.random.default_rng(seed)")
    return _checked(chosen(detections, budget, rng), detections, budget, _name(strategy))


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
    n_boxes = candidates.counts[[candidates.position(i) for i in ids]] if ids else np.zeros(0, np.int64)
    if not budget.covers(n_boxes):
        got = f"{len(ids)} images with {n_boxes.sum()} boxes"
        raise ValueError(
            f"expected at most {budget} from the strategy {name}, got {got} (an empty image counts as one)"
        )
    return [str(i) for i in ids]


def _check(detections: RotatedInstances, rng: np.random.Generator | None) -> None:
    if detections.n_boxes and detections.scores is None:
        raise ValueError(f"expected detections with scores, got {detections!r}: strategies may not see labels")
    if rng is not None and not isinstance(rng, np.random.Generator):
        raise TypeError(f"expected rng to be a np.random.Generator, got {rng!r}: np.random.default_rng(seed)")


def _name(strategy: Any) -> str:
    return repr(strategy if isinstance(strategy, str) else getattr(strategy, "__name__", strategy))
