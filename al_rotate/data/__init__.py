"""Images, labels and detections: their container, label formats, tiles of large scenes, and rendered scenes."""

from .instances import SHOWN_SCORE, RotatedInstances

__all__ = ["SHOWN_SCORE", "RotatedInstances"]
