"""Which images to have labelled: scores of boxes, scores of images, budgets, and the named strategies made of them."""

from ..evaluation import calibration
from ..evaluation import label_errors as suspicion
from . import costs
from .budget import Budget
from .context import NotCalibrated, QueryContext
from .costs import CostModel
from .explanations import explain
from .measures import aggregate, consistency, coverage, distances, diversity, quotas, uncertainty
from .measures.per_image import shown
from .selection import rank, rank_and_select, select
from .strategies import STRATEGIES, BatchStrategy, ScoreStrategy, Strategy, make_strategy, needs_of

__all__ = [
    "STRATEGIES",
    "BatchStrategy",
    "Budget",
    "CostModel",
    "NotCalibrated",
    "QueryContext",
    "ScoreStrategy",
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
    "rank_and_select",
    "select",
    "shown",
    "suspicion",
    "uncertainty",
]
