"""What predicts and trains for a loop: the protocol, and MMRotate behind it."""

from .learner import Learner, ValidationSet, takes_validation_set
from .mmrotate import MMRotateLearner

__all__ = ["Learner", "MMRotateLearner", "ValidationSet", "takes_validation_set"]
