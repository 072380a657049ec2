"""What predicts and trains for a loop: the protocol, and MMRotate behind it."""

from .learner import Learner
from .mmrotate import MMRotateLearner

__all__ = ["Learner", "MMRotateLearner"]
