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
        step(model, one_by_one, together)
    expected, found = one_by_one.state_dict(), together.state_dict()
    assert int(found["steps"]) == 5
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    moved = (name for name, value in model.state_dict().items() if not torch.equal(value, found[f"module.{name}"]))
    assert any("weight" in name for name in moved)


@pytest.mark.parametrize("kind", [ExponentialMovingAverage, ExpMomentumEMA])
def test_layers_that_a_head_shares_between_levels_move_as_often_as_they_are_listed(kind: Any, monkeypatch: Any):
    torch.manual_seed(0)
    shared = nn.Conv2d(3, 3, 3, padding=1)
    model = nn.ModuleList([nn.Sequential(shared, nn.BatchNorm2d(3)) for _ in range(3)])
    assert len(model.state_dict()) == 21  # 7 of each level
    one_by_one, together = kind(model, update_buffers=True), kind(model, update_buffers=True)
    operations: list[list[int]] = []
    lerp = torch._foreach_lerp_

    def watched(means: list[Any], values: list[Any], weight: float) -> None:
        operations.append([mean.data_ptr() for mean in means])
        lerp(means, values, weight)

    monkeypatch.setattr(torch, "_foreach_lerp_", watched)
    for _ in range(4):
        step(model, one_by_one, together)
    expected, found = one_by_one.state_dict(), together.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    # 2 tensors of the convolution and 4 of each normalisation; then the convolution's again, twice
    assert [len(set(operation)) for operation in operations] == [len(each) for each in operations] == [14, 2, 2] * 3


def step(model: nn.Module, one_by_one: Any, together: Any) -> None:
    """Move all weights at random, and let both averages follow."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += torch.randn_like(parameter)
    updates.mmengine_update(one_by_one, model)
    updates.update_parameters(together, model)


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
    model = network()
    optimizer = optimizer_of(model, AdamW)
    updates.step_together(optimizer)
    optimizer.register_step_pre_hook(lambda joined, *_: seen.append([len(g["params"]) for g in joined.param_groups]))
    train(model, optimizer, 0, 2)
    assert seen == [[2, 3], [2, 3]]  # two weights with decay; two biases, and the weight of the norm, without
    assert all(group["fused"] for group in optimizer.param_groups)


def test_optimizers_that_keep_a_state_in_their_groups_keep_it():
    class Counting(AdamW):
        """As DAdaptation and Prodigy do, whose groups hold their estimate of the rate."""

        def step(self, closure: Any = None) -> Any:
            for group in self.param_groups:
                group["k"] += len(group["params"])
            return super().step(closure)

    model = network()
    optimizer = optimizer_of(model, Counting, weight_decay=0)
    for group in optimizer.param_groups:
        group["k"] = 0
    updates.step_together(optimizer)
    train(model, optimizer, 0, 3)
    assert [group["k"] for group in optimizer.param_groups] == [3] * 5
    assert not optimizer.param_groups[0].get("fused")  # it may have a step of its own
