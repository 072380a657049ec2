"""Read and write the weights of a model, and start a model at random."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import MMLogger
from torch import Tensor, nn

from ...data.columns import as_classes
from .records import Records, open_records
from .unpickling import Stored, Unreadable


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
        self.require_finite(name for name, _ in model.named_parameters())
        model.load_state_dict({name: self.state[name] for name in expected})

    def load_fitting(self, model: nn.Module) -> list[str]:
        """Load the weights that fit, and return the names of the others."""
        expected = model.state_dict()
        fitting = {n: v for n, v in self.state.items() if n in expected and expected[n].shape == v.shape}
        model.load_state_dict(fitting, strict=False)
        return [name for name in expected if name not in fitting]

    def require_finite(self, names: Iterable[str]) -> None:
        """Raise ValueError if one of these weights holds NaN."""
        if diverged := [name for name in names if name in self.state and not self.state[name].isfinite().all()]:
            raise ValueError(
                f"expected finite weights, got {self.path} with NaN in {diverged[0]}: its training diverged"
            )


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read the weights of a checkpoint; code in a file from elsewhere does not run.

    MMEngine's Runner saves its log history besides the weights, which PyTorch's ``weights_only`` refuses. So everything
    that is no tensor, container or plain value is read as an object that does nothing, and dropped. Of the tensors only
    the weights are read, not an optimizer's. Class names in the file are a note: weights of another number of classes
    may be beside them.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: for a file that is not a checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"expected a checkpoint file, got {path}")
    try:
        with path.open("rb") as file:
            content, state = _read(open_records(file))
    except OSError:
        raise
    except Unreadable as error:
        raise ValueError(f"expected a checkpoint, got {path}: {error}") from error
    except Exception as error:  # a broken file may raise anything
        first = "".join(str(error).splitlines()[:1])[:200]
        said = f"{type(error).__name__}: {first}"
        raise ValueError(f"expected a checkpoint, got {path}: damaged or incomplete ({said}); copy it again") from error
    if not state:
        raise ValueError(f"expected a checkpoint with a state_dict of tensors, got {path}")
    meta = _lowered(content.get("meta"))
    return Checkpoint(path, state, _named(_lowered(meta.get("dataset_meta")).get("classes") or meta.get("classes")))


def _read(records: Records) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return what was saved, and its weights; none where anything else is among them."""
    content = records.content if isinstance(records.content, dict) else {}
    stored = content.get("state_dict", content)
    if not isinstance(stored, dict) or not all(map(_is_weight, stored.items())):
        return content, {}
    return content, {name.removeprefix("module."): records.tensor(tensor) for name, tensor in stored.items()}


def _is_weight(item: tuple[Any, Any]) -> bool:
    return isinstance(item[0], str) and isinstance(item[1], Stored)


def _named(classes: Any) -> tuple[str, ...] | None:
    """The class names of a checkpoint, unless they are none; one name may be there as text."""
    names = [classes] if isinstance(classes, str) else classes
    try:
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            return None  # no message may show what else there is: it could be endless
        return as_classes(names) or None
    except ValueError:
        return None


def _lowered(meta: Any) -> dict[str, Any]:
    """The keys in lower case: older checkpoints say CLASSES."""
    items = meta.items() if isinstance(meta, dict) else ()
    return {name.lower(): value for name, value in items if isinstance(name, str)}


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
