"""Misspelt types and arguments in the parts of a config that only a training builds, found before it begins."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.registry import Registry

_ALIKE = 0.8  # of two names, from which one is taken for a slip of the other
# What MMEngine takes out before it calls the type.
_TAKEN_BEFORE = {
    *("type", "_scope_", "priority", "convert_to_iter_based", "constructor", "paramwise_cfg"),
    *("sampler", "batch_sampler", "dataset", "datasets"),
}


def find(config: Config) -> str | None:
    """Return the first slip in a config's optimizer, schedule, hooks, samplers, data sets and their pipelines.

    Only what can be known is a slip: a type that is in no registry, an argument that its type does not take, or one
    much like an argument that it takes, where it takes any.

    Returns:
        Where it is, what is there, and the nearest right name; None without a slip.
    """
    scope = str(config.get("default_scope") or "mmengine")
    return next(
        (slip for where, part, registry in _parts(config) if (slip := _slip(where, part, registry, scope))), None
    )


def _parts(config: Config) -> Iterator[tuple[str, Mapping[str, Any], Registry]]:
    """Yield where each part with a type is, the part and the registry of its type."""
    from mmengine import registry as known

    optim_wrapper = config.get("optim_wrapper")
    if isinstance(optim_wrapper, Mapping):
        yield "optim_wrapper", {"type": "OptimWrapper", **optim_wrapper}, known.OPTIM_WRAPPERS
        yield from _each("optim_wrapper.optimizer", optim_wrapper.get("optimizer"), known.OPTIMIZERS)
    yield from _each("param_scheduler", config.get("param_scheduler"), known.PARAM_SCHEDULERS)
    for name, hook in (config.get("default_hooks") or {}).items():
        yield from _each(f"default_hooks.{name}", hook, known.HOOKS)
    yield from _each("custom_hooks", config.get("custom_hooks"), known.HOOKS)
    loader = config.get("train_dataloader") or {}
    for name in ("sampler", "batch_sampler"):
        yield from _each(f"train_dataloader.{name}", loader.get(name), known.DATA_SAMPLERS)
    where, dataset = "train_dataloader.dataset", loader.get("dataset")
    while isinstance(dataset, Mapping):
        yield from _each(where, dataset, known.DATASETS)
        yield from _each(f"{where}.pipeline", dataset.get("pipeline"), known.TRANSFORMS)
        where, dataset = f"{where}.dataset", dataset.get("dataset")


def _each(where: str, value: Any, registry: Registry) -> Iterator[tuple[str, Mapping[str, Any], Registry]]:
    several = isinstance(value, list | tuple)
    for number, part in enumerate(value if several else [value]):
        if isinstance(part, Mapping) and isinstance(part.get("type"), str):
            yield f"{where}.{number}" if several else where, part, registry


def _slip(where: str, part: Mapping[str, Any], registry: Registry, scope: str) -> str | None:
    name = part["type"]
    kind = registry.children.get(scope, registry).get(name)
    if kind is None:
        return (
            f"{where} has the type {name!r}, which is not registered{_meant(name.rpartition('.')[2], _all(registry))}"
        )
    names, takes_any = _arguments(kind)
    for key in part:
        if key in names or key in _TAKEN_BEFORE:
            continue
        if meant := _meant(key, names):
            return f"{where} gives {name} the argument {key!r}{meant}"
        if not takes_any:
            taken = ", ".join(sorted(names))
            return f"{where} gives {name} the argument {key!r}, which it does not take; it takes {taken}"
    return None


def _meant(name: str, names: set[str]) -> str:
    close = difflib.get_close_matches(name, sorted(names), n=1, cutoff=_ALIKE)
    return f": did you mean {close[0]!r}?" if close else ""


def _all(registry: Registry) -> set[str]:
    return {*registry.module_dict}.union(*(child.module_dict for child in registry.children.values()))


def _arguments(kind: Any) -> tuple[set[str], bool]:
    """Return the names of the arguments that a class or function takes, and whether it takes any others."""
    names, owners = set[str](), [kind]
    if inspect.isclass(kind):
        owners = [each.__dict__["__init__"] for each in kind.__mro__[:-1] if "__init__" in each.__dict__]
    for function in owners:
        parameters = inspect.signature(function).parameters.values()
        names |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return names, False
    return names, True
