"""Which images to have labelled: scores of boxes, scores of images, budgets, and the named strategies made of them."""

from .aggregate import aggregate
from .budget import Budget
from .strategies import STRATEGIES, Ranking, Strategy, make_strategy, rank, select
from .uncertainty import entropy, least_confidence, margin

__all__ = [
    "STRATEGIES",
    "Budget",
    "Ranking",
    "Strategy",
    "aggregate",
    "entropy",
    "least_confidence",
    "make_strategy",
    "margin",
    "rank",
    "select",
]
