"""A model's weights: checkpoints read without unpickling code, checkpoints written so, a random start."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from mmengine.logging import MMLogger
from torch import Tensor, nn

# Everything that weights and plain values consist of.
_ALLOWED = {
    ("collections", "OrderedDict"),
    ("torch", "Size"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
}


class _Inert:
    """A stand-in for every other object in a checkpoint (MMEngine's log history, optimizers, hooks)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __call__(self, *args: Any, **kwargs: Any) -> _Inert:
        return self

    __setstate__ = __setitem__ = append = extend = __init__  # type: ignore[assignment]


class _WeightsUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return super().find_class(module, name) if (module, name) in _ALLOWED else _Inert


_PICKLE = SimpleNamespace(  # as torch.load expects a pickle module
    __name__=__name__, Unpickler=_WeightsUnpickler, load=lambda file, **kwargs: _WeightsUnpickler(file, **kwargs).load()
)


@dataclass(frozen=True)
class Checkpoint:
    """Weights of a model.

    Attributes:
        path: the file.
        state: name -> tensor, of the model's state_dict.
        classes: class names, if the file has them.
    """

    path: Path
    state: dict[str, Tensor]
    classes: tuple[str, ...] | None

    def into(self, model: nn.Module) -> None:
        """Load all weights.

        Raises:
            ValueError: when the checkpoint is of another model (names or shapes that do not fit), or holds NaN.
        """
        expected = model.state_dict()
        wrong = [n for n in expected if n in self.state and expected[n].shape != self.state[n].shape]
        missing = [n for n in expected if n not in self.state]
        if wrong or missing:
            name = (wrong or missing)[0]
            got = tuple(self.state[name].shape) if wrong else "nothing"
            raise ValueError(
                f"expected a checkpoint of this config's model, got {self.path}: {len(missing)} weights missing and "
                f"{len(wrong)} of another shape, e.g. {name}: expected {tuple(expected[name].shape)}, got {got}. "
                "Use the config it was trained with (for finetune's results: the config.py in the same folder)"
            )
        if diverged := [name for name, _ in model.named_parameters() if not self.state[name].isfinite().all()]:
            raise ValueError(
                f"expected finite weights, got {self.path} with NaN in {diverged[0]}: its training diverged"
            )
        model.load_state_dict({name: self.state[name] for name in expected})

    def warm_start(self, model: nn.Module) -> list[str]:
        """Load the weights that fit, and return the names of the others (a head for other classes)."""
        expected = model.state_dict()
        fitting = {n: v for n, v in self.state.items() if n in expected and expected[n].shape == v.shape}
        model.load_state_dict(fitting, strict=False)
        return [name for name in expected if name not in fitting]


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read the weights of a checkpoint; code in a file from elsewhere does not run.

    MMEngine's Runner saves its log history besides the weights, which PyTorch's ``weights_only`` refuses. So everything
    that is no tensor, container or plain value is read as an object that does nothing, and dropped.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: for a file that is not a checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"expected a checkpoint file, got {path}")
    try:
        if _is_scripted(path):
            raise ValueError("a TorchScript archive, whose code would run")
        loaded: Any = torch.load(path, map_location="cpu", pickle_module=_PICKLE, weights_only=False)
    except OSError:
        raise
    except Exception as error:  # a broken file may raise anything
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"expected a checkpoint, got {path}: {first}") from error
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else None
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"expected a checkpoint with a state_dict of tensors, got {path}")
    state = {name.removeprefix("module."): value for name, value in state.items()}
    meta = _lowered(loaded.get("meta"))
    classes = _lowered(meta.get("dataset_meta")).get("classes") or meta.get("classes")
    return Checkpoint(path, state, tuple(classes) if isinstance(classes, (list, tuple)) and classes else None)


def _lowered(meta: Any) -> dict[str, Any]:
    """The keys in lower case: older checkpoints say CLASSES."""
    return {str(name).lower(): value for name, value in meta.items()} if isinstance(meta, dict) else {}


def _is_scripted(path: Path) -> bool:
    """Whether torch.load would pass the file on to torch.jit.load."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def write_checkpoint(path: Path, state: dict[str, Tensor], classes: tuple[str, ...], **meta: Any) -> Path:
    """Write weights and plain values only, atomically; MMEngine's own loader reads the file too."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    torch.save({"meta": {"dataset_meta": {"classes": tuple(classes)}, **meta}, "state_dict": state}, scratch)
    os.replace(scratch, path)
    return path


def init_weights_quietly(model: Any) -> None:
    """Initialise the weights as the config says, without MMEngine's log line for every one of them."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        model.init_weights()
    finally:
        logger.setLevel(level)


def model_digest(config: Any, model: nn.Module) -> str:
    """Digest a model's config and its present weights, in hexadecimal SHA-256."""
    digest = hashlib.sha256(json.dumps(config.to_dict(), sort_keys=True, default=str).encode())
    for name, values in sorted(model.state_dict().items()):
        digest.update(name.encode())
        flat = values.cpu().reshape(-1).contiguous()
        digest.update(flat.view(torch.uint8).numpy() if values.ndim else str(values).encode())
    return digest.hexdigest()
