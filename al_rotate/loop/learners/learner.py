"""What the loop needs of a detector: predict with given weights, and train new ones from labels."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from ...data import RotatedInstances
from ...data.views import View
from ...detection.training.schedule import Schedule
from ...evaluation.pseudo_labels import PseudoLabelled

_OPTIONAL = {"val": "validation set", "schedule": "schedule", "pseudo": "pseudo-labels"}  # parameters of Learner.train
ValidationSet = tuple[Mapping[str, Path], RotatedInstances]


class Learner(Protocol):
    """Predicts and trains for a loop. Every call that was killed must resume when it is made again, and end alike."""

    def predict(self, checkpoint: Path, images: Mapping[str, Path], out: Path, **outputs: bool) -> RotatedInstances:
        """Return detections with scores on `images`, and write the same to the folder `out`.

        Args:
            checkpoint: the weights.
            images: image id -> file.
            out: a folder of Parquet files, see :meth:`RotatedInstances.save`.
            **outputs: what the loop's strategy needs besides: ``class_scores=True``, ``features=True``, or nothing.
        """

    def predict_views(
        self, checkpoint: Path, images: Mapping[str, Path], views: Sequence[View], out: Path
    ) -> Sequence[RotatedInstances]:
        """Return detections in each view of `images`, mapped back. Only strategies that compare views call it."""

    def train(
        self,
        checkpoint: Path | None,
        images: Mapping[str, Path],
        labels: RotatedInstances,
        work_dir: Path,
        val: ValidationSet | None = None,
        schedule: Schedule | None = None,
        pseudo: PseudoLabelled | None = None,
    ) -> tuple[Path, dict[str, float]]:
        """Train new weights in `work_dir` and return their file and the training's metrics.

        A learner without the parameter `val` is fine for loops without a validation set: it is passed by name, and only
        where there is one. So are `schedule` and `pseudo`.

        Args:
            checkpoint: the weights to start from; None in the first training of a loop without a detector.
            images: image id -> file, of the labelled images.
            labels: to train on; images without a box are negatives.
            work_dir: of this training alone.
            val: image id -> file, and labels, to validate on. The ids may be those of other images of the pool.
            schedule: how long to train, and at what rates.
            pseudo: unlabelled images to train on besides; `images` has their files, too.
        """


def require_parameters(learner: Learner, names: Iterable[str]) -> None:
    """Refuse a learner whose ``train`` cannot be given what a loop has for it.

    Args:
        learner: any.
        names: of optional parameters of :meth:`Learner.train`.

    Raises:
        ValueError: says which parameter is missing.
    """
    parameters = inspect.signature(learner.train).parameters
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    for name in names:
        if name not in parameters and not takes_any:
            raise ValueError(
                f"{type(learner).__name__}.train takes no {_OPTIONAL[name]}: give it a parameter `{name}`, or no {name}"
            )
