"""What predicts and trains for a loop: the protocol, and MMRotate behind it."""

from .learner import Learner, ValidationSet, require_parameters
from .mmrotate import MMRotateLearner

__all__ = ["Learner", "MMRotateLearner", "ValidationSet", "require_parameters"]
