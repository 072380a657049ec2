"""Active learning for rotated object detection, around MMRotate and Label Studio.

The public names load when they are first used: importing this package is quick and needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# public name -> where it lives; None: a module of that name
_HOME = {
    "boxes": None,
    "bridge": None,
    "coco": None,
    "corrections": None,
    "curves": None,
    "dota": None,
    "evaluation": None,
    "images": None,
    "instances": None,
    "demo": None,
    "plots": None,
    "sampling": None,
    "synthetic": None,
    "tiling": None,
    "yolo_obb": None,
    "ActiveLoop": "loop",
    "Annotator": "annotators",
    "Budget": "sampling",
    "CostModel": "annotators",
    "DOTA_V1": "dota",
    "DOTA_V15": "dota",
    "DOTA_V2": "dota",
    "Detector": "detector",
    "LabelStudio": "bridge",
    "LabelStudioAnnotator": "bridge",
    "RotatedInstances": "instances",
    "SimulatedAnnotator": "annotators",
    "Workspace": "workspace",
    "evaluate": "evaluation",
    "finetune": "training",
    "rank": "sampling",
    "select": "sampling",
}

__all__ = sorted([*_HOME, "__version__"])


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOME[name]
    value = import_module(f".{name}", __name__) if home is None else getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


if TYPE_CHECKING:
    from . import (
        boxes,
        bridge,
        coco,
        corrections,
        curves,
        demo,
        dota,
        evaluation,
        images,
        instances,
        plots,
        sampling,
        synthetic,
        tiling,
        yolo_obb,
    )
    from .annotators import Annotator, CostModel, SimulatedAnnotator
    from .bridge import LabelStudio, LabelStudioAnnotator
    from .detector import Detector
    from .dota import DOTA_V1, DOTA_V2, DOTA_V15
    from .evaluation import evaluate
    from .instances import RotatedInstances
    from .loop import ActiveLoop
    from .sampling import Budget, rank, select
    from .training import finetune
    from .workspace import Workspace
