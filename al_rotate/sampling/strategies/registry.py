"""The names of the strategies, and their factories."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..measures import uncertainty
from .base import Needs, RankingStrategy
from .baselines import box_count, random, random_detected
from .class_balance import mus_cdb, pal
from .coverage import object_coverage
from .diversity import badge, core_set, typiclust
from .hybrid import hybrid
from .stability import angle_stability, localisation_stability
from .two_stage import cald, ppal
from .uncertainty import by_uncertainty, calibrated_entropy
from .wrappers import COMMON, wrap

__all__ = ["STRATEGIES", "Strategy", "figures_of", "make_strategy", "needs_of", "without_detector"]

Strategy = RankingStrategy | Callable[..., Sequence[str]]

# name -> factory, whose keyword arguments are the strategy's options
STRATEGIES: dict[str, Callable[..., RankingStrategy]] = {
    "random": random,
    "random-detected": random_detected,
    "box-count": box_count,
    "least-confidence": partial(by_uncertainty, uncertainty.least_confidence),
    "margin": partial(by_uncertainty, uncertainty.margin),
    "entropy": partial(by_uncertainty, uncertainty.entropy, how="max"),
    "calibrated-entropy": calibrated_entropy,
    "localisation-stability": localisation_stability,
    "angle-stability": angle_stability,
    "cald": cald,
    "core-set": core_set,
    "typiclust": typiclust,
    "badge": badge,
    "mus-cdb": mus_cdb,
    "pal": pal,
    "ppal": ppal,
    "object-coverage": object_coverage,
    "hybrid": hybrid,
}


def make_strategy(strategy: str | Strategy, **options: Any) -> Strategy:
    """Make the strategy of that name with these options; return a callable unchanged.

    Args:
        strategy: a name of `STRATEGIES`, or a strategy.
        **options: the named strategy's own, and those that all have, see
            :func:`al_rotate.sampling.strategies.wrappers.wrap`.

    Raises:
        ValueError: for an unknown name (with the nearest known one), an option that the strategy does not have, or one
            that changes nothing without another.
    """
    if callable(strategy):
        if options:
            raise ValueError(f"expected no options besides a strategy of your own, got {', '.join(options)}")
        return strategy
    return _make(strategy, options)


def needs_of(strategy: Strategy) -> Needs:
    """Return what a strategy uses besides boxes and scores, for your own function its attribute ``needs``."""
    return frozenset(getattr(strategy, "needs", ()))


def without_detector(strategy: Strategy) -> Strategy:
    """Return what chooses in its place while no detector is trained: its attribute ``without_detector``, or `random`.

    Strategies with the option ``embeddings`` have one.
    """
    return getattr(strategy, "without_detector", None) or random()


def figures_of(strategy: Strategy, ranking: pd.DataFrame) -> NDArray[np.float64]:
    """Return the strategy's own figure of each row of a ranking, such as its uncertainty.

    It is NaN where there is none: for images that were drawn at random, and for strategies whose ``score`` only says
    in which order they picked.
    """
    name = getattr(strategy, "figure", None)
    if name not in ranking:
        return np.full(len(ranking), np.nan)
    drawn = ranking["drawn"].to_numpy(bool) if "drawn" in ranking else False
    return np.where(drawn, np.nan, ranking[name].to_numpy(np.float64))


def _make(name: str, options: dict[str, Any]) -> RankingStrategy:
    if name not in STRATEGIES:
        near = difflib.get_close_matches(str(name), STRATEGIES, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"expected a strategy among {', '.join(STRATEGIES)}, got {name!r}.{hint}")
    factory = STRATEGIES[name]
    own = list(inspect.signature(factory).parameters)
    if unknown := [option for option in options if option not in own and option not in COMMON]:
        raise ValueError(
            f"expected options of {name!r} among ({', '.join(own)}), got {', '.join(unknown)}; all strategies have "
            f"{', '.join(COMMON)}, too"
        )
    common = {option: value for option, value in options.items() if option not in own}
    for option, needed in {"weak_below": "start", "scene": "per_scene", "audit": "triage"}.items():
        if option in common and common.get(needed) is None:
            raise ValueError(f"expected the option {needed} with {option}, which changes nothing without it")
    if common.get("start") is not None:
        common["start"] = common["start"], _make(common["start"], {})
    return wrap(factory(**{option: value for option, value in options.items() if option in own}), **common)
