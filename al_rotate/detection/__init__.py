"""MMRotate detectors: inference, training, configs and checkpoints. torch and OpenMMLab load at the first use."""

# Nothing that takes time is imported here: the command line asks for its process number without waiting for torch.
import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .openmmlab.ops import install_finder

# GNU's OpenMP reads this when torch loads it. By default PyTorch's threads spin for milliseconds while they wait for
# each other: next to other work on the same cores a training takes many times as long. 1,000 is OpenMP's own count if
# it knows of more threads than cores. With none at all a training takes a third longer on idle cores.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

install_finder()  # before anything imports mmcv.ops

_HOMES = {
    "Detector": "detector",
    "Finetuned": "training.finetuning",
    "PredictOptions": "inference.options",
    "Schedule": "training.schedule",
    "TrainingDiverged": "training.finetuning",
    "finetune": "training.finetuning",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return __all__


if TYPE_CHECKING:
    from .detector import Detector
    from .inference.options import PredictOptions
    from .training.finetuning import Finetuned, TrainingDiverged, finetune
    from .training.schedule import Schedule
