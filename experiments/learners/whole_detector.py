"""A whole detector in place of the sandbox's: any config of configs/detectors/, trained by MMEngine's Runner."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import al_rotate as al
from al_rotate.loop.learners import MMRotateLearner

from ..paths import DETECTORS


class WholeDetector(MMRotateLearner):
    """A :class:`al_rotate.loop.Learner` for comparisons, on the GPU if there is one.

    Args:
        name: of a file in configs/detectors/ whose schedule is a warm-up and a cosine, counted in iterations.
        classes: class names.
        iterations: of each training, warm-up and cosine included.
        first_iterations: of a training without earlier weights.
        lr: the highest learning rate.
        seed: of the trainings.
    """

    def __init__(
        self, name: str, classes: tuple[str, ...], iterations: int, first_iterations: int, lr: float, seed: int = 0
    ) -> None:
        super().__init__(DETECTORS / f"{name}.py", classes, seed=seed)
        self.iterations, self.first_iterations, self.lr = iterations, first_iterations, lr

    def train(
        self, checkpoint: Path | None, images: Mapping[str, Path], labels: al.RotatedInstances, work_dir: Path
    ) -> tuple[Path, dict[str, float]]:
        self.train_options = schedule(self.first_iterations if checkpoint is None else self.iterations, self.lr)
        return super().train(checkpoint, images, labels, work_dir)


def schedule(iterations: int, lr: float) -> dict[str, Any]:
    """Options that stretch a config's warm-up and cosine to `iterations`."""
    warm_up = max(1, iterations // 6)
    return {
        "train_cfg.max_iters": iterations,
        "train_cfg.val_interval": iterations,
        "default_hooks.checkpoint.interval": iterations,
        "optim_wrapper.optimizer.lr": lr,
        "param_scheduler.0.end": warm_up,
        "param_scheduler.1.begin": warm_up,
        "param_scheduler.1.end": iterations,
        "param_scheduler.1.T_max": iterations - warm_up,
        "param_scheduler.1.eta_min": lr / 20,
    }
