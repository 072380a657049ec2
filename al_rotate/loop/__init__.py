"""The active-learning loop: predict, rank, select, ask for labels, train, evaluate, and round again."""

from .active_loop import ActiveLoop
from .annotator import Annotator, Answer, Query
from .learners import Learner
from .simulated import SimulatedAnnotator

__all__ = ["ActiveLoop", "Annotator", "Answer", "Learner", "Query", "SimulatedAnnotator"]
