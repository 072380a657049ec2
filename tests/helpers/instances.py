"""Small containers: detections with every column, and labels with none of the optional ones."""

from __future__ import annotations

from typing import Any

from al_rotate.data import RotatedInstances


def detections(**changes: Any) -> RotatedInstances:
    """Three images of 2, 0 and 1 boxes with every column."""
    arguments: dict[str, Any] = {
        "image_ids": ["P1", "part/P2", "P3"],
        "offsets": [0, 2, 2, 3],
        "boxes": [[10, 20, 8, 4, 0.5], [30, 40, 6, 3, -0.5], [50, 60, 9, 9, 0]],
        "labels": [1, 0, 1],
        "scores": [0.75, 0.5, 0.25],
        "class_scores": [[0.1, 0.75], [0.5, 0.2], [0, 0.25]],
        "box_features": [[1, 2, 3], [4, 5, 6], [7, 8, 9]],
        "image_features": [[1, 1], [2, 2], [3, 3]],
        "classes": ["ship", "plane"],
        "difficult": [0, 1, 2],
        "image_sizes": [[640, 480], [0, 0], [100, 200]],
        "skipped": {"P4": "empty file"},
    }
    return RotatedInstances(**{**arguments, **changes})


def labels(**changes: Any) -> RotatedInstances:
    """The same boxes without an optional column."""
    return RotatedInstances(
        **{
            "image_ids": ["P1", "part/P2", "P3"],
            "offsets": [0, 2, 2, 3],
            "boxes": detections().boxes,
            "labels": [1, 0, 1],
            **changes,
        }
    )
