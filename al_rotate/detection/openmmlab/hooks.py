"""Our hooks of trainings: divergence, progress, losses read on demand, weights updated together."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook, RuntimeInfoHook
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner
from mmrotate.registry import HOOKS
from tqdm.auto import tqdm

from .faster.histories import WaitingHistory
from .faster.updates import step_together

_EVERY = 10  # iterations after which the loss is looked at on a GPU, where each look waits for the device


class TrainingDiverged(RuntimeError):
    """The loss is no longer a finite number."""


@HOOKS.register_module()
class LossesOnDemand(RuntimeInfoHook):
    """MMEngine's ``RuntimeInfoHook``, which reads losses only when a logger, a checkpoint or another hook does."""

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        scalars = runner.message_hub.log_scalars
        for name, value in (outputs or {}).items():
            key = f"train/{name}"
            if isinstance(value, torch.Tensor) and value.numel() == 1:
                history = WaitingHistory.of(scalars.get(key))
                if scalars.get(key) is not history:
                    runner.message_hub.update_scalar(key, 0.0)  # registers the name
                    scalars[key] = history
                history.add(value)
            else:
                runner.message_hub.update_scalar(key, value)


@HOOKS.register_module()
class StepTogether(Hook):
    """Update weights together instead of one by one: :func:`.step_together`."""

    def before_train(self, runner: Runner) -> None:
        wrapper = runner.optim_wrapper
        for each in wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]:
            step_together(each.optimizer)


@HOOKS.register_module()
class StopWhenDiverged(Hook):
    """Stop at the first loss that is not finite, before a checkpoint of NaN weights is saved.

    Args:
        interval: look at the losses after so many iterations, and before each checkpoint and validation; by default
            after each, on a GPU after ten.
    """

    priority = "VERY_HIGH"

    def __init__(self, interval: int | None = None) -> None:
        self.interval = interval
        self._unseen: list[tuple[int, Any]] = []

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        loss = (outputs or {}).get("loss", 0.0)
        self._unseen.append((runner.iter + 1, loss.detach() if isinstance(loss, torch.Tensor) else loss))
        if len(self._unseen) >= (self.interval or _interval(self._unseen[-1][1])):
            self._look(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        self._look(runner)

    def before_val_epoch(self, runner: Runner) -> None:
        self._look(runner)

    def after_train(self, runner: Runner) -> None:
        self._look(runner)

    def _look(self, runner: Runner) -> None:
        unseen, self._unseen = self._unseen, []
        losses = _read([loss for _, loss in unseen])
        for (iteration, _), loss in zip(unseen, losses, strict=True):
            if not np.isfinite(loss):
                rate = max(rate for rates in runner.optim_wrapper.get_lr().values() for rate in rates)
                raise TrainingDiverged(
                    f"the loss is {loss} at iteration {iteration}, learning rate {rate:.2g}. Lower "
                    "optim_wrapper.optimizer.lr, lengthen the warm-up (param_scheduler), or set "
                    "optim_wrapper.clip_grad.max_norm; then train in a new work_dir"
                )


@HOOKS.register_module()
class ProgressBar(Hook):
    """Show one bar of iterations with the loss, instead of MMEngine's log."""

    priority = "VERY_LOW"

    def before_train(self, runner: Runner) -> None:
        if get_rank() == 0:
            self.bar = tqdm(total=runner.max_iters, initial=runner.iter, unit="iteration", desc="train")

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        if get_rank() == 0:
            loss = (outputs or {}).get("loss", 0.0)
            if (runner.iter + 1) % _interval(loss) == 0:
                self.bar.set_postfix(loss=f"{_read([loss])[0]:.3f}", refresh=False)
            self.bar.update()

    def after_train(self, runner: Runner) -> None:
        if get_rank() == 0:
            self.bar.close()


def _interval(loss: Any) -> int:
    return _EVERY if isinstance(loss, torch.Tensor) and loss.is_cuda else 1


def _read(losses: list[Any]) -> list[float]:
    """Read numbers and tensors in one go."""
    if losses and all(isinstance(loss, torch.Tensor) for loss in losses):
        return torch.stack([loss.detach().reshape(()) for loss in losses]).tolist()
    return [float(loss) for loss in losses]
