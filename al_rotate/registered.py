"""The former name of :mod:`al_rotate.detection.openmmlab.components`, which configs trained before 0.2 import."""

from .detection.openmmlab.components import *  # noqa: F403
