"""Small rendered aerial scenes with exact rotated boxes: the data of the demo and of the tests."""

from .scenes import render, write_dataset
from .sprites import CLASSES

__all__ = ["CLASSES", "render", "write_dataset"]
