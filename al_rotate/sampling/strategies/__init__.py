"""The named strategies: short compositions of measures, each with its source."""

from .base import BatchStrategy, ScoreStrategy
from .registry import STRATEGIES, Strategy, figures_of, make_strategy, needs_of, without_detector

__all__ = [
    "STRATEGIES",
    "BatchStrategy",
    "ScoreStrategy",
    "Strategy",
    "figures_of",
    "make_strategy",
    "needs_of",
    "without_detector",
]
