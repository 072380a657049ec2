"""Averages and optimizer steps of all tensors at once, against MMEngine's and PyTorch's one by one."""

from __future__ import annotations

import copy
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from helpers.devices import DEVICES  # noqa: E402
from mmdet.models.layers import ExpMomentumEMA  # noqa: E402
from mmengine.model import ExponentialMovingAverage, MomentumAnnealingEMA, StochasticWeightAverage  # noqa: E402
from torch import nn  # noqa: E402
from torch.optim import SGD, AdamW, Optimizer  # noqa: E402

from al_rotate.detection.openmmlab.faster import updates  # noqa: E402


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))


@pytest.mark.parametrize(
    "kind", [ExponentialMovingAverage, ExpMomentumEMA, MomentumAnnealingEMA, StochasticWeightAverage]
)
@pytest.mark.parametrize("settings", [{}, {"update_buffers": True}, {"interval": 2}])
@pytest.mark.parametrize("device", DEVICES)
def test_averages(kind: Any, settings: dict[str, Any], device: str):
    model = network().to(device)
    one_by_one, together = kind(model, **settings), kind(model, **settings)
    for _ in range(5):
        model(torch.randn(2, 3, 8, 8, device=device))  # moves the statistics of the batch normalisation
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += torch.randn_like(parameter)
        updates.mmengine_update(one_by_one, model)
        updates.update_parameters(together, model)
    expected, found = one_by_one.state_dict(), together.state_dict()
    assert int(found["steps"]) == 5
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    moved = (name for name, value in model.state_dict().items() if not torch.equal(value, found[f"module.{name}"]))
    assert any("weight" in name for name in moved)


def optimizer_of(model: nn.Module, kind: Any, **settings: Any) -> Optimizer:
    """A group for each parameter, as ``paramwise_cfg`` makes them; biases are not decayed."""
    decay = [0.05 if parameter.ndim > 1 else 0.0 for parameter in model.parameters()]
    groups = [{"params": [p], "weight_decay": w} for p, w in zip(model.parameters(), decay, strict=True)]
    return kind(groups, lr=0.01, **settings)


def train(model: nn.Module, optimizer: Optimizer, seed: int, n: int = 6) -> None:
    torch.manual_seed(seed)
    for _ in range(n):
        optimizer.zero_grad()
        model(torch.randn(2, 3, 8, 8).to(next(model.parameters()).device)).square().mean().backward()
        optimizer.step()
        for group in optimizer.param_groups:  # as a schedule does
            group["lr"] *= 0.9


@pytest.mark.parametrize(("kind", "settings"), [(AdamW, {}), (SGD, {"momentum": 0.9}), (AdamW, {"amsgrad": True})])
@pytest.mark.parametrize("device", DEVICES)
def test_steps_and_their_states(kind: Any, settings: dict[str, Any], device: str):
    """Also after the states were exchanged: checkpoints of one serve the other."""
    models = [network().to(device), network().to(device)]
    plain, together = (optimizer_of(model, kind, **settings) for model in models)
    updates.step_together(together)
    for round_ in range(2):
        for model, optimizer in zip(models, (plain, together), strict=True):
            train(model, optimizer, round_)
        assert [len(group["params"]) for group in together.param_groups] == [1] * 5
        torch.testing.assert_close(models[1].state_dict(), models[0].state_dict(), atol=1e-6, rtol=1e-5)
        states = [copy.deepcopy(optimizer.state_dict()) for optimizer in (plain, together)]
        plain, together = (optimizer_of(model, kind, **settings) for model in models)
        plain.load_state_dict(states[1])
        together.load_state_dict(states[0])
        updates.step_together(together)


def test_groups_of_the_same_settings_are_joined_while_it_steps():
    seen: list[list[int]] = []

    class Watched(AdamW):
        def step(self, closure: Any = None) -> Any:
            seen.append([len(group["params"]) for group in self.param_groups])
            return super().step(closure)

    model = network()
    optimizer = optimizer_of(model, Watched)
    updates.step_together(optimizer)
    train(model, optimizer, 0, 2)
    assert seen == [[2, 3], [2, 3]]  # two weights with decay; two biases, and the weight of the norm, without
    assert not optimizer.param_groups[0].get("fused")  # a subclass may have a step of its own
    model = network()
    optimizer = optimizer_of(model, AdamW)
    updates.step_together(optimizer)
    assert all(group["fused"] for group in optimizer.param_groups)
