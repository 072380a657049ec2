"""Active learning for rotated object detection, around MMRotate and Label Studio.

The public names load when they are first used: importing this package is quick and needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

# public name -> the module that it stands for
_MODULES = {
    "boxes": "boxes",
    "bridge": "bridge",
    "coco": "data.formats.coco",
    "corrections": "evaluation.corrections",
    "curves": "evaluation.learning_curves",
    "demo": "cli.demo",
    "dota": "data.formats.dota",
    "evaluation": "evaluation",
    "formats": "data.formats",
    "geojson": "data.geojson",
    "images": "data.images",
    "instances": "data.instances",
    "plots": "report.plots",
    "sampling": "sampling",
    "synthetic": "data.synthetic",
    "tiling": "data.tiling",
    "yolo_obb": "data.formats.yolo_obb",
}
# public name -> the package or module that defines it
_NAMES = {
    "ActiveLoop": "loop",
    "Annotator": "loop",
    "Budget": "sampling",
    "CostModel": "sampling",
    "DOTA_V1": "data.formats.dota",
    "DOTA_V15": "data.formats.dota",
    "DOTA_V2": "data.formats.dota",
    "Detector": "detection",
    "Gallery": "report",
    "LabelStudio": "bridge",
    "LabelStudioAnnotator": "bridge",
    "RotatedInstances": "data",
    "Schedule": "detection",
    "SimulatedAnnotator": "loop",
    "Workspace": "workspace",
    "evaluate": "evaluation",
    "finetune": "detection",
    "pictured": "report",
    "rank": "sampling",
    "select": "sampling",
}

__all__ = sorted([*_MODULES, *_NAMES, "__version__"])


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value = import_module(f".{_MODULES[name]}", __name__)
    elif name in _NAMES:
        value = getattr(import_module(f".{_NAMES[name]}", __name__), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


if TYPE_CHECKING:
    from . import boxes, bridge, evaluation, sampling
    from .bridge import LabelStudio, LabelStudioAnnotator
    from .cli import demo
    from .data import RotatedInstances, formats, geojson, images, instances, synthetic, tiling
    from .data.formats import coco, dota, yolo_obb
    from .data.formats.dota import DOTA_V1, DOTA_V2, DOTA_V15
    from .detection import Detector, Schedule, finetune
    from .evaluation import corrections, evaluate
    from .evaluation import learning_curves as curves
    from .loop import ActiveLoop, Annotator, SimulatedAnnotator
    from .report import Gallery, pictured, plots
    from .sampling import Budget, CostModel, rank, select
    from .workspace import Workspace
