"""The durable state of one active-learning loop: a folder with a SQLite database and readable artefacts."""

from .answers import COST_COLUMNS
from .records import REVIEW, STAGES, STATUSES, Round
from .workspace import Workspace, WorkspaceBusy

__all__ = ["COST_COLUMNS", "REVIEW", "STAGES", "STATUSES", "Round", "Workspace", "WorkspaceBusy"]
