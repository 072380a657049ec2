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
from .diversity import badge, core_set, typiclust
from .hybrid import hybrid
from .stability import angle_stability, localisation_stability
from .two_stage import cald, ppal
from .uncertainty import by_uncertainty, calibrated_entropy

__all__ = ["STRATEGIES", "Strategy", "figures_of", "make_strategy", "needs_of"]

Strategy = RankingStrategy | Callable[..., Sequence[str]]

# name -> factory, whose keyword arguments are the strategy's options
STRATEGIES: dict[str, Callable[..., Strategy]] = {
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
    "hybrid": hybrid,
}


def make_strategy(strategy: str | Strategy, **options: Any) -> Strategy:
    """Make the strategy of that name with these options; return a callable unchanged.

    Raises:
        ValueError: for an unknown name (with the nearest known one), or an option that the strategy does not have.
    """
    if callable(strategy):
        if options:
            raise ValueError(f"expected no options besides a strategy of your own, got {', '.join(options)}")
        return strategy
    if strategy not in STRATEGIES:
        near = difflib.get_close_matches(str(strategy), STRATEGIES, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"expected a strategy among {', '.join(STRATEGIES)}, got {strategy!r}.{hint}")
    factory = STRATEGIES[strategy]
    names = [p.name for p in inspect.signature(factory).parameters.values()]
    if unknown := [name for name in options if name not in names]:
        raise ValueError(f"expected options of {strategy!r} among ({', '.join(names)}), got {', '.join(unknown)}")
    return factory(**options)


def needs_of(strategy: Strategy) -> Needs:
    """Return what a strategy uses besides boxes and scores, for your own function its attribute ``needs``."""
    return frozenset(getattr(strategy, "needs", ()))


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
