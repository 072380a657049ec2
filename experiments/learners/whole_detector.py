"""A whole detector in place of the sandbox's: any config of configs/detectors/, trained by MMEngine's Runner."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import al_rotate as al
from al_rotate.detection.training.schedule import Schedule
from al_rotate.evaluation.pseudo_labels import PseudoLabelled
from al_rotate.loop.learners import MMRotateLearner
from al_rotate.loop.learners.learner import ValidationSet

from ..paths import DETECTORS

WEIGHTS = "finetuned.pth"  # in the folder of a training


class WholeDetector(MMRotateLearner):
    """A :class:`al_rotate.loop.Learner` for comparisons, on the GPU if there is one.

    Like those of the sandbox's :class:`~experiments.learners.pools.learner.TileLearner`, its trainings all start from
    the weights that a loop began with. Batches are the config's, without a share for tiles with an object.

    Args:
        name: of a file in configs/detectors/.
        classes: class names.
        start: folder of the weights that trainings start from.
        is_first: whether this is a seed's first training, which makes those weights.
        first_iterations: of that training.
        lr: the highest learning rate.
        seed: of the trainings.
    """

    def __init__(
        self,
        name: str,
        classes: tuple[str, ...],
        start: Path,
        is_first: bool = False,
        first_iterations: int = 400,
        lr: float = 1e-3,
        seed: int = 0,
    ) -> None:
        options = {"optim_wrapper.optimizer.lr": lr}
        super().__init__(DETECTORS / f"{name}.py", classes, train_options=options, seed=seed)
        self.start, self.is_first, self.first_iterations = start, is_first, first_iterations

    def train(
        self,
        checkpoint: Path | None,
        images: Mapping[str, Path],
        labels: al.RotatedInstances,
        work_dir: Path,
        val: ValidationSet | None = None,
        schedule: Schedule | None = None,
        pseudo: PseudoLabelled | None = None,
    ) -> tuple[Path, dict[str, float]]:
        if self.is_first:
            length = Schedule(least=self.first_iterations, most=self.first_iterations)
            super().train(None, images, labels, self.start, schedule=length)
        return super().train(self.start / WEIGHTS, images, labels, work_dir, val, schedule, pseudo)
