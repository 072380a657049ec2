"""What a loop changes between its steps: labels that exist already, images, classes, sets and detectors."""

from .methods import Changeable

__all__ = ["Changeable"]
