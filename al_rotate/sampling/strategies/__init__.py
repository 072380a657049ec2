"""The named strategies, each a short composition of measures that names its source."""

from .base import BatchStrategy, ScoreStrategy
from .registry import STRATEGIES, Strategy, make_strategy, needs_of

__all__ = ["STRATEGIES", "BatchStrategy", "ScoreStrategy", "Strategy", "make_strategy", "needs_of"]
