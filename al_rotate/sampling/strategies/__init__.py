"""The named strategies, each a short composition of measures that names its source."""

from .base import Batch, Ranking
from .registry import STRATEGIES, Strategy, make_strategy, needs_of

__all__ = ["STRATEGIES", "Batch", "Ranking", "Strategy", "make_strategy", "needs_of"]
