"""Checkpoints read without unpickling code, and written so that they can be."""

from __future__ import annotations

import os
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

# All that weights and plain values are made of.
_ALLOWED = {
    ("collections", "OrderedDict"),
    ("torch", "Size"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
}


class _Inert:
    """Stands for any other object of a checkpoint (MMEngine's log history, optimizers, hooks) and does nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __call__(self, *args: Any, **kwargs: Any) -> _Inert:
        return self

    __setstate__ = __setitem__ = append = extend = __init__  # type: ignore[assignment]


class _WeightsUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return super().find_class(module, name) if (module, name) in _ALLOWED else _Inert


_PICKLE = SimpleNamespace(  # what torch.load asks of a pickle module
    __name__=__name__, Unpickler=_WeightsUnpickler, load=lambda file, **kwargs: _WeightsUnpickler(file, **kwargs).load()
)


@dataclass(frozen=True)
class Checkpoint:
    """Weights of a model and what is known of them."""

    path: Path
    state: dict[str, Tensor]
    classes: tuple[str, ...] | None

    def into(self, model: nn.Module) -> None:
        """Load all weights.

        Raises:
            ValueError: when the checkpoint is of another model (names or shapes that do not fit), or holds NaN.
        """
        own = model.state_dict()
        wrong = [n for n in own if n in self.state and own[n].shape != self.state[n].shape]
        missing = [n for n in own if n not in self.state]
        if wrong or missing:
            name = (wrong or missing)[0]
            there = tuple(self.state[name].shape) if wrong else "nothing"
            raise ValueError(
                f"expected a checkpoint of this config's model, got {self.path}: {len(missing)} weights missing and "
                f"{len(wrong)} of another shape, e.g. {name}: {tuple(own[name].shape)} expected, {there} there. "
                "Use the config it was trained with (for finetune's results: the config.py beside it)"
            )
        if spoilt := [name for name, _ in model.named_parameters() if not self.state[name].isfinite().all()]:
            raise ValueError(f"expected finite weights, got {self.path} with NaN in {spoilt[0]}: its training diverged")
        model.load_state_dict({name: self.state[name] for name in own})

    def warm_start(self, model: nn.Module) -> list[str]:
        """Load the weights that fit and return the names of those that do not (a head for other classes)."""
        own = model.state_dict()
        fits = {n: v for n, v in self.state.items() if n in own and own[n].shape == v.shape}
        model.load_state_dict(fits, strict=False)
        return [name for name in own if name not in fits]


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read the weights of a checkpoint; a file from elsewhere cannot run code.

    MMEngine's Runner saves its log history beside the weights, which PyTorch's ``weights_only`` refuses. So
    whatever is no tensor, container or plain value is read as an object that does nothing, and dropped.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: for a file that is no checkpoint.
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
    except Exception as error:  # a broken file fails in any way
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"expected a checkpoint, got {path}: {first}") from error
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else None
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"expected a checkpoint with a state_dict of tensors, got {path}")
    state = {name.removeprefix("module."): value for name, value in state.items()}
    meta = _lowered(loaded.get("meta"))
    known = _lowered(meta.get("dataset_meta")).get("classes") or meta.get("classes")
    return Checkpoint(path, state, tuple(known) if isinstance(known, (list, tuple)) and known else None)


def _lowered(meta: Any) -> dict[str, Any]:
    """Older checkpoints say CLASSES."""
    return {str(name).lower(): value for name, value in meta.items()} if isinstance(meta, dict) else {}


def _is_scripted(path: Path) -> bool:
    """Whether torch.load would hand the file to torch.jit.load."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def write_checkpoint(path: Path, state: dict[str, Tensor], classes: tuple[str, ...], **meta: Any) -> Path:
    """Weights and plain values only, whole or not at all; MMEngine's own loader reads it too."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    torch.save({"meta": {"dataset_meta": {"classes": tuple(classes)}, **meta}, "state_dict": state}, scratch)
    os.replace(scratch, path)
    return path
