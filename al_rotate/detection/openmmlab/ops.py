"""Which ops mmcv uses: those that a compiler made, or :mod:`.pytorch_ops` where there are none.

``mmcv.ops`` imports ``mmcv._ext``, which exists only where mmcv was compiled. A finder provides it elsewhere. The
environment variable ``AL_ROTATE_OPS`` decides: ``python`` takes the PyTorch ops, ``compiled`` insists on mmcv's; empty
takes mmcv's where they are.
"""

from __future__ import annotations

import os
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

VARIABLE = "AL_ROTATE_OPS"
REPAIR = (
    f"With a C++ compiler (on Debian or Ubuntu: apt-get install g++ python3-dev), `{VARIABLE}=compiled al-rotate "
    f"install-mm` compiles them; see that {VARIABLE} is not set to python afterwards"
)
_EXTENSION = "mmcv._ext"


class OpsMissing(RuntimeError):
    """A model needs an op that only a compiled mmcv has."""


def choice() -> str:
    """Return what ``AL_ROTATE_OPS`` says: ``python``, ``compiled`` or nothing.

    Raises:
        ValueError: for another value.
    """
    value = os.environ.get(VARIABLE, "")
    if value not in ("", "python", "compiled"):
        raise ValueError(f"expected {VARIABLE} to be python, compiled or empty, got {value!r}")
    return value


def in_use() -> str:
    """Return ``python`` or ``compiled``: the ops of the mmcv that is loaded, or would be."""
    loaded = sys.modules.get(_EXTENSION)
    spec = loaded.__spec__ if loaded else _finder.find_spec(_EXTENSION, _folder())
    return "python" if spec is not None and isinstance(spec.loader, _OpsLoader) else "compiled"


def install_finder() -> None:
    """Let ``import mmcv.ops`` find ops. Calling it again changes nothing."""
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def require(model: nn.Module, device: torch.device | str = "cpu") -> None:
    """Refuse a model with layers of ``mmcv.ops`` where these are not compiled, and have no replacement in PyTorch.

    Args:
        model: on any device.
        device: that it is to run on.

    Raises:
        OpsMissing: names the layers, and says what to do.
    """
    import torch

    from . import gpu_ops, pytorch_layers

    modules = [type(module) for module in model.modules() if type(module).__module__.startswith("mmcv.ops")]
    layers = {module.__name__ for module in modules} - {*pytorch_layers.LAYERS}
    if layers and not gpu_ops.runs_on(torch.device(device)):
        where = "here" if in_use() == "python" else f"for {device}"
        raise OpsMissing(
            f"{type(model).__name__} uses {', '.join(sorted(layers))}, and mmcv's ops are not compiled {where}: their "
            f"replacements in PyTorch serve one-stage models such as RTMDet-R. {repair(device)}"
        )


def repair(device: torch.device | str = "cpu") -> str:
    """Say what compiles mmcv's ops for a device."""
    if str(device).startswith("cpu"):
        return REPAIR
    import torch

    return (
        f"With nvcc of CUDA {torch.version.cuda} (docs/installing.md says where to get it), `{VARIABLE}=compiled "
        "al-rotate install-mm --keep-torch` compiles them for the GPU; on the CPU the model runs without, with "
        "device='cpu', or for a training with CUDA_VISIBLE_DEVICES=\"\" in the environment"
    )


def _folder() -> list[str] | None:
    spec = PathFinder.find_spec("mmcv")
    return list(spec.submodule_search_locations or ()) if spec else None


def _missing(name: str) -> Any:
    """Stand in for an op that nobody calls: mmcv.ops imports them all."""
    if name.startswith("__"):
        raise AttributeError(name)

    def op(*arguments: Any, **options: Any) -> Any:
        raise OpsMissing(f"mmcv's op {name} was called and is not compiled here. {REPAIR}")

    return op


class _OpsLoader(Loader):
    def exec_module(self, module: ModuleType) -> None:
        from .gpu_ops import IN_PYTORCH

        vars(module).update(IN_PYTORCH, __getattr__=_missing)


class _OpsFinder(MetaPathFinder):
    def find_spec(self, fullname: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname != _EXTENSION:
            return None
        wanted = choice()
        if wanted == "python" or (not wanted and PathFinder.find_spec(fullname, path) is None):
            return ModuleSpec(fullname, _OpsLoader())
        return None


_finder = _OpsFinder()
