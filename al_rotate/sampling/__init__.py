"""Which images to have labelled: scores of boxes, scores of images, budgets, and the named strategies made of them."""

from . import aggregate, calibration, consistency, costs, coverage, diversity, quotas, uncertainty
from .budget import Budget
from .strategies import STRATEGIES, Ranking, Strategy, make_strategy, rank, select

__all__ = [
    "STRATEGIES",
    "Budget",
    "Ranking",
    "Strategy",
    "aggregate",
    "calibration",
    "consistency",
    "costs",
    "coverage",
    "diversity",
    "make_strategy",
    "quotas",
    "rank",
    "select",
    "uncertainty",
]
