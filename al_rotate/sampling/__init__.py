"""Which images to have labelled: scores of boxes, scores of images, budgets, and the named strategies made of them."""

from . import (
    aggregate,
    calibration,
    consistency,
    costs,
    coverage,
    distances,
    diversity,
    quotas,
    suspicion,
    uncertainty,
)
from .budget import Budget
from .explain import explain
from .known import Known, NotCalibrated
from .ranking import Batch, Ranking, shown
from .strategies import STRATEGIES, Strategy, make_strategy, needs_of, rank, ranked, select

__all__ = [
    "STRATEGIES",
    "Batch",
    "Budget",
    "Known",
    "NotCalibrated",
    "Ranking",
    "Strategy",
    "aggregate",
    "calibration",
    "consistency",
    "costs",
    "coverage",
    "distances",
    "diversity",
    "explain",
    "make_strategy",
    "needs_of",
    "quotas",
    "rank",
    "ranked",
    "select",
    "shown",
    "suspicion",
    "uncertainty",
]
