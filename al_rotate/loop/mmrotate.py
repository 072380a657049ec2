"""TODO loop.mmrotate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.instances import RotatedInstances
from ..data.views import View

if TYPE_CHECKING:
    from ..detection.detector import Detector


class MMRotateLearner:
    """:class:`~al_rotate.detector.Detector` and :func:`~al_rotate.training.finetune` behind one config.

    Args:
        config: path of a complete config.
        classes: class names.
        device: as for Detector.
        precision: of predictions, as for Detector.
        train_options: cfg_options of the trainings.
        seed: of the trainings.
    """

    def __init__(
        self,
        config: str | Path,
        classes: tuple[str, ...],
        device: str = "auto",
        precision: str = "auto",
        train_options: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        self.config, self.classes, self.device, self.precision = Path(config), classes, device, precision
        self.train_options, self.seed = dict(train_options or {}), seed

    def predict(self, checkpoint: Path, images: Mapping[str, Path], out: Path, **keep: bool) -> RotatedInstances:
        return self.detector(checkpoint).predict(dict(images), out=out, **keep)

    def predict_views(
        self, checkpoint: Path, images: Mapping[str, Path], views: Sequence[View], out: Path
    ) -> Sequence[RotatedInstances]:
        return self.detector(checkpoint).predict_views(dict(images), views, out=out)

    def detector(self, checkpoint: Path) -> Detector:
        from ..detection.detector import (
            Detector,  # torch and OpenMMLab load here, not when a workspace is only looked at
        )

        return Detector(self.config, checkpoint, self.device, classes=self.classes, precision=self.precision)  # type: ignore[arg-type]

    def train(
        self, checkpoint: Path | None, images: Mapping[str, Path], labels: RotatedInstances, work_dir: Path
    ) -> tuple[Path, dict[str, float]]:
        from ..detection.training import finetune

        result = finetune(
            self.config, images, labels, self.classes, work_dir, checkpoint, self.train_options, seed=self.seed
        )
        for leftover in work_dir.glob("*_*.pth"):  # the Runner's own checkpoints: several times the weights
            leftover.unlink()
        return result.checkpoint, result.metrics
