"""Which images to label next: measures of boxes and images, budgets, and the named strategies built from them."""

from typing import Any

from ..evaluation import calibration, label_errors
from . import costs, showing
from .budget import Budget
from .context import NotCalibrated, QueryContext
from .costs import CostModel, ExpectedCost
from .deprecated import warn_renamed
from .explanations import explain
from .measures import (
    aggregate,
    consistency,
    coverage,
    distances,
    diversity,
    duplicates,
    emptiness,
    prototypes,
    quotas,
    uncertainty,
)
from .measures.per_image import shown
from .selection import rank, rank_and_select, select
from .showing import ShowingRule
from .strategies import (
    STRATEGIES,
    BatchStrategy,
    ScoreStrategy,
    Strategy,
    figures_of,
    make_strategy,
    needs_of,
    without_detector,
)

__all__ = [
    "STRATEGIES",
    "BatchStrategy",
    "Budget",
    "CostModel",
    "ExpectedCost",
    "NotCalibrated",
    "QueryContext",
    "ScoreStrategy",
    "ShowingRule",
    "Strategy",
    "aggregate",
    "calibration",
    "consistency",
    "costs",
    "coverage",
    "distances",
    "diversity",
    "duplicates",
    "emptiness",
    "explain",
    "figures_of",
    "make_strategy",
    "needs_of",
    "prototypes",
    "quotas",
    "rank",
    "rank_and_select",
    "select",
    "showing",
    "shown",
    "uncertainty",
    "without_detector",
]

_OLD_NAMES = {
    "Batch": (BatchStrategy, "al_rotate.sampling.BatchStrategy"),
    "Known": (QueryContext, "al_rotate.sampling.QueryContext"),
    "Ranking": (ScoreStrategy, "al_rotate.sampling.ScoreStrategy"),
    "ranked": (rank_and_select, "al_rotate.sampling.rank_and_select"),
    "suspicion": (label_errors, "al_rotate.evaluation.label_errors"),
}


def __getattr__(name: str) -> Any:
    if name not in _OLD_NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value, new = _OLD_NAMES[name]
    warn_renamed(f"{__name__}.{name}", new)
    return value
