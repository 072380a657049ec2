"""The learner that MMRotate's detectors are driven by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...data import RotatedInstances
from ...data.views import View

if TYPE_CHECKING:
    from ...detection import Detector
    from ...detection.networks.precision import Precision


class MMRotateLearner:
    """:class:`~al_rotate.Detector` and :func:`~al_rotate.finetune` behind one config, as a :class:`Learner`.

    Args:
        config: path of a complete config.
        classes: class names.
        device: as for Detector.
        precision: of predictions, as for Detector.
        train_options: ``cfg_options`` of the trainings.
        seed: of the trainings.
    """

    def __init__(
        self,
        config: str | Path,
        classes: tuple[str, ...],
        device: str = "auto",
        precision: Precision = "auto",
        train_options: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        self.config, self.classes, self.device, self.precision = Path(config), classes, device, precision
        self.train_options, self.seed = dict(train_options or {}), seed

    def predict(self, checkpoint: Path, images: Mapping[str, Path], out: Path, **outputs: bool) -> RotatedInstances:
        """See :meth:`Learner.predict`."""
        return self.detector(checkpoint).predict(dict(images), None, out=out, **outputs)

    def predict_views(
        self, checkpoint: Path, images: Mapping[str, Path], views: Sequence[View], out: Path
    ) -> Sequence[RotatedInstances]:
        """See :meth:`Learner.predict_views`."""
        return self.detector(checkpoint).predict_views(dict(images), views, out=out)

    def train(
        self, checkpoint: Path | None, images: Mapping[str, Path], labels: RotatedInstances, work_dir: Path
    ) -> tuple[Path, dict[str, float]]:
        """See :meth:`Learner.train`; only the weights are kept of the Runner's checkpoints."""
        from ...detection import finetune  # loads torch and OpenMMLab, which looking at a workspace does not need

        result = finetune(
            self.config,
            images,
            labels,
            self.classes,
            work_dir,
            checkpoint,
            self.train_options,
            seed=self.seed,
            keep_checkpoints=False,
        )
        return result.checkpoint, result.metrics

    def detector(self, checkpoint: Path) -> Detector:
        """Load the detector with these weights."""
        from ...detection import Detector

        return Detector(self.config, checkpoint, self.device, classes=self.classes, precision=self.precision)
