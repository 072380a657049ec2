"""The sandbox detector on tiles: each training starts from the same weights, and half of what it sees holds objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import al_rotate as al
from al_rotate.data.views import View
from al_rotate.detection.inference.options import OutputOptions
from al_rotate.detection.networks import precision
from al_rotate.detection.training.schedule import Schedule
from al_rotate.evaluation.pseudo_labels import PseudoLabelled

from ..features import Sandbox
from ..sandbox import BATCH, WEIGHTS, SandboxLearner
from .batched import detect


class TileLearner(SandboxLearner):
    """A :class:`SandboxLearner` whose trainings all start from the weights that a loop began with.

    Half of each batch are tiles with an object: most tiles have none, and a detector learns little from these. Of tiles
    with pseudo-labels those are trained on that hold nothing in doubt, which cannot be erased from stored features.

    Args:
        sandbox: tiles, labels and features.
        start: folder of the weights that trainings start from.
        is_first: whether this is a seed's first training, which makes those weights, and then goes on like all others:
            otherwise what a later training is ahead by would be its length as much as its labels.
        first_iterations: of the weights that trainings start from.
        lr: the highest learning rate.
        seed: of the initial weights and of the order of the tiles.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        start: Path,
        is_first: bool = False,
        first_iterations: int = 400,
        lr: float = 2e-3,
        seed: int = 0,
    ) -> None:
        super().__init__(sandbox, first_iterations, first_iterations, lr, seed)
        self.start, self.is_first = start, is_first

    def train(
        self,
        checkpoint: Path | None,
        images: Mapping[str, Path],
        labels: al.RotatedInstances,
        work_dir: Path,
        schedule: Schedule | None = None,
        pseudo: PseudoLabelled | None = None,
    ) -> tuple[Path, dict[str, float]]:
        if self.is_first:
            super().train(None, images, labels, self.start)
        if schedule is not None:  # as long as with the labels alone
            n = schedule.iterations(len(labels))
            schedule = replace(schedule, least=n, most=n)
        if pseudo is not None:
            doubtful = {*pseudo.ignored.image_ids[pseudo.ignored.counts > 0].tolist()}
            sure = pseudo.labels.subset(i for i in pseudo.labels.image_ids.tolist() if i not in doubtful)
            plain = [
                part.replace(image_sizes=None, difficult=None) for part in (labels, sure)
            ]  # as each has them or not
            labels = al.RotatedInstances.concat(plain)
        return super().train(self.start / WEIGHTS, images, labels, work_dir, schedule)

    def _fit(self, model: nn.Module, *rest: Any) -> list[float]:
        """As mixed precision trains on GPUs: networks in bfloat16 where the CPU has it, a quarter faster."""
        native = precision.resolve("auto", torch.device("cpu")) == "bf16"
        with precision.bf16(precision.channels_last(model), "cpu") if native else nullcontext():
            return super()._fit(model, *rest)

    def batch(
        self, labels: al.RotatedInstances, rng: np.random.Generator, times: NDArray[np.int64] | None = None
    ) -> list[str]:
        shown = np.repeat(np.arange(len(labels)), 1 if times is None else times)
        filled = shown[labels.counts[shown] > 0]
        half = self.batch_size // 2
        rows = [rng.choice(filled if len(filled) else shown, half), rng.choice(shown, self.batch_size - half)]
        return labels.image_ids[np.concatenate(rows)].tolist()

    def results(self, model: nn.Module, ids: Sequence[str], view: View, wanted: OutputOptions) -> list[dict[str, Any]]:
        if wanted.class_scores or wanted.features:
            return super().results(model, ids, view, wanted)
        results = []
        for start in range(0, len(ids), BATCH):
            of_batch = ids[start : start + BATCH]
            flat = torch.from_numpy(np.stack([self.sandbox.of(image_id, view) for image_id in of_batch]))
            found = detect(model, flat, self.sandbox.size)
            results += super().results(model, of_batch, view, wanted) if found is None else found
        return results
