"""The former name of :mod:`al_rotate.detection.openmmlab.components`, which configs trained before 0.2 import."""

from .detection.openmmlab.components import (
    LoadImageAsShown,
    ProgressBar,
    RotatedInstancesDataset,
    RotatedMAP,
    StopWhenDiverged,
    TrainingDiverged,
)

__all__ = [
    "LoadImageAsShown",
    "ProgressBar",
    "RotatedInstancesDataset",
    "RotatedMAP",
    "StopWhenDiverged",
    "TrainingDiverged",
]
