"""Weights and averaged weights updated together instead of tensor by tensor."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmdet.models.layers import ExpMomentumEMA
from mmengine.model import BaseAveragedModel, ExponentialMovingAverage
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

mmengine_update = BaseAveragedModel.update_parameters


def install() -> None:
    """Let averaged models use :func:`update_parameters`. Calling it again changes nothing."""
    BaseAveragedModel.update_parameters = update_parameters


@contextmanager
def uninstalled() -> Iterator[None]:
    """While open, MMEngine's own method is in place, for comparisons."""
    BaseAveragedModel.update_parameters = mmengine_update
    try:
        yield
    finally:
        install()


@torch.no_grad()
def update_parameters(averaged: Any, model: nn.Module) -> None:
    """Replace ``BaseAveragedModel.update_parameters`` for exponential averages: one operation for all tensors."""
    steps = int(averaged.steps)
    momentum = _momentum(averaged, steps)
    if momentum is None or steps == 0:
        mmengine_update(averaged, model)
        return
    if steps % averaged.interval == 0:
        current = model.state_dict() if averaged.update_buffers else dict(model.named_parameters())
        pairs = [(mean.data, current[name].data) for name, mean in averaged.avg_parameters.items()]
        pairs = [(mean, value.to(mean.device)) for mean, value in pairs if mean.dtype.is_floating_point]
        for means, values in _without_aliases(pairs):
            torch._foreach_lerp_(means, values, momentum)
    if not averaged.update_buffers:
        for mean, value in zip(averaged.module.buffers(), model.buffers(), strict=True):
            mean.data.copy_(value.data.to(mean.device))
    averaged.steps += 1


def step_together(optimizer: Optimizer) -> None:
    """Let an optimizer update all parameters of the same settings together; Adam and AdamW do it in one fused kernel.

    MMEngine's ``paramwise_cfg`` makes a group of every parameter: 200 small steps. The groups stay as they are in the
    optimizer's state, for schedules and checkpoints, and are joined while it steps. Other optimizers than SGD, Adam and
    AdamW stay as they are: some keep a state in their groups, which a joined group would lose.

    Args:
        optimizer: with its state loaded, if a training is resumed.
    """
    if type(optimizer) not in (SGD, Adam, AdamW):
        return
    if type(optimizer) is not SGD and all(map(_can_fuse, optimizer.param_groups)):
        for group in optimizer.param_groups:
            group["fused"] = True
            for parameter in group["params"]:  # of a checkpoint that was written without fusing
                state = optimizer.state.get(parameter)
                if state and isinstance(state.get("step"), Tensor):
                    state["step"] = state["step"].to(parameter.device, torch.float32)
    apart: list[list[dict[str, Any]]] = []

    def join(optimizer: Optimizer, *_: Any) -> None:
        apart.append(optimizer.param_groups)
        optimizer.param_groups = _joined(optimizer.param_groups)

    def part(optimizer: Optimizer, *_: Any) -> None:
        optimizer.param_groups = apart.pop()

    optimizer.register_step_pre_hook(join)
    optimizer.register_step_post_hook(part)


def _without_aliases(pairs: Iterable[tuple[Tensor, Tensor]]) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
    """Yield averages and values so that no average is among them twice, in the order of the pairs.

    A state dict lists the convolutions that a head shares between levels once for each level. MMEngine moves their
    average as often, one after the other; within one operation for all tensors the outcome would be undefined.
    """
    occurrences: Counter[int] = Counter()
    rounds: defaultdict[int, list[tuple[Tensor, Tensor]]] = defaultdict(list)
    for mean, value in pairs:
        rounds[occurrences[mean.data_ptr()]].append((mean, value))
        occurrences[mean.data_ptr()] += 1
    for distinct in rounds.values():
        means, values = zip(*distinct, strict=True)
        yield list(means), list(values)


def _momentum(averaged: Any, steps: int) -> float | None:
    """Return the weight of the current parameters, None for averages of another kind."""
    if type(averaged) is ExponentialMovingAverage:
        return averaged.momentum
    if type(averaged) is ExpMomentumEMA:
        return (1 - averaged.momentum) * math.exp(-float(1 + steps) / averaged.gamma) + averaged.momentum
    return None


def _can_fuse(group: dict[str, Any]) -> bool:
    chosen = any(group.get(name) for name in ("foreach", "fused", "capturable", "differentiable"))
    kinds = ("cpu", "cuda")
    return not chosen and all(p.device.type in kinds and p.is_floating_point() for p in group["params"])


def _joined(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Join the groups whose settings are the same."""
    joined: dict[Hashable, dict[str, Any]] = {}
    try:
        for group in groups:
            settings = tuple((name, value) for name, value in group.items() if name != "params")
            own = joined.setdefault(settings, {**group, "params": []})
            own["params"] += group["params"]
    except TypeError:  # a setting that cannot be compared
        return groups
    return list(joined.values())
