"""Scenes larger than a detector's input: cut into overlapping tiles, and the tiles' detections merged per scene."""

from .cut import cut, cut_labels
from .merge import merge
from .tiles import Tile, Tiling, window

__all__ = ["Tile", "Tiling", "cut", "cut_labels", "merge", "window"]
