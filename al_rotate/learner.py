"""What the loop asks of a detector: predict with given weights, and train new ones from labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .instances import RotatedInstances
from .views import View

if TYPE_CHECKING:
    from .detector import Detector


class Learner(Protocol):
    """Both calls must go on where they stood when they are made again after a kill, and end alike."""

    def predict(self, checkpoint: Path, images: Mapping[str, Path], out: Path, **keep: bool) -> RotatedInstances:
        """Detections with scores on `images`, and the same in the folder `out` (see RotatedInstances.save).

        `keep` is empty, or has what the loop's strategy needs of them: ``class_scores=True``, ``features=True``.
        """

    def predict_views(
        self, checkpoint: Path, images: Mapping[str, Path], views: Sequence[View], out: Path
    ) -> Sequence[RotatedInstances]:
        """Detections in views of `images`, mapped back; only strategies that look at views ask for them."""

    def train(
        self, checkpoint: Path | None, images: Mapping[str, Path], labels: RotatedInstances, work_dir: Path
    ) -> tuple[Path, dict[str, float]]:
        """New weights in `work_dir`, started from `checkpoint`, and what the training has to say of itself.

        `checkpoint` is None in the first training of a loop that was made without a detector.
        """


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
        from .detector import Detector  # torch and OpenMMLab load here, not when a workspace is only looked at

        return Detector(self.config, checkpoint, self.device, classes=self.classes, precision=self.precision)  # type: ignore[arg-type]

    def train(
        self, checkpoint: Path | None, images: Mapping[str, Path], labels: RotatedInstances, work_dir: Path
    ) -> tuple[Path, dict[str, float]]:
        from .training import finetune

        result = finetune(
            self.config, images, labels, self.classes, work_dir, checkpoint, self.train_options, seed=self.seed
        )
        for leftover in work_dir.glob("*_*.pth"):  # the Runner's own checkpoints: several times the weights
            leftover.unlink()
        return result.checkpoint, result.metrics
