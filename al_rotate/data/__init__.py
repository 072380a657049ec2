"""Images, labels and detections: the one container, label formats, tiles of large scenes, and rendered scenes."""

from .instances import RotatedInstances

__all__ = ["RotatedInstances"]
