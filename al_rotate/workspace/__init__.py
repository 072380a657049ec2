"""The durable state of one active-learning loop: a folder with a SQLite database and readable artefacts."""

from .answers import COST_COLUMNS
from .records import IMPORTED, LATE, REVIEW, STAGES, STATUSES, Round
from .versions import Weights, current_weights
from .workspace import Workspace, WorkspaceBusy

__all__ = [
    "COST_COLUMNS",
    "IMPORTED",
    "LATE",
    "REVIEW",
    "STAGES",
    "STATUSES",
    "Round",
    "Weights",
    "Workspace",
    "WorkspaceBusy",
    "current_weights",
]
