"""Rotated boxes: angle conventions, corners, IoU and non-maximum suppression, in NumPy alone.

Only this package and :mod:`al_rotate.bridge.conversion.geometry` depend on what an angle means.
"""

from .convert import Floats, Version, area, canonical, from_corners, to_corners, to_hbb
from .iou import iou, near_pairs
from .nms import greedy, nms

__all__ = [
    "Floats",
    "Version",
    "area",
    "canonical",
    "from_corners",
    "greedy",
    "iou",
    "near_pairs",
    "nms",
    "to_corners",
    "to_hbb",
]
