"""The learner that MMRotate's detectors are driven by."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...data import RotatedInstances
from ...data.views import View
from ...detection.training.schedule import REPLACED, Schedule
from ...evaluation.pseudo_labels import PseudoLabelled
from ..settings import CONFIGS_OWN
from .learner import ValidationSet

if TYPE_CHECKING:
    from ...detection import Detector
    from ...detection.networks.precision import Precision

_OF_TRAINING = ("iterations", "images_left_out", "boxes_left_out")  # metrics that are no figures of an evaluator


class MMRotateLearner:
    """A :class:`~al_rotate.loop.Learner`: :class:`~al_rotate.Detector` and :func:`~al_rotate.finetune` with one config.

    Args:
        config: path of a complete config.
        classes: class names.
        device: as for Detector.
        precision: of predictions, as for Detector.
        train_options: ``cfg_options`` of the trainings.
        seed: of the trainings.
        former_classes: class names of older checkpoints -> the number of each among `classes`, see
            :meth:`al_rotate.Workspace.former_classes`. Their weights go where their classes are now.
    """

    def __init__(
        self,
        config: str | Path,
        classes: tuple[str, ...],
        device: str = "auto",
        precision: Precision = "auto",
        train_options: Mapping[str, Any] | None = None,
        seed: int = 0,
        former_classes: Mapping[tuple[str, ...], Sequence[int]] | None = None,
    ) -> None:
        self.config, self.classes, self.device, self.precision = Path(config), classes, device, precision
        self.train_options, self.seed = dict(train_options or {}), seed
        self.former_classes = dict(former_classes or {})

    def predict(self, checkpoint: Path, images: Mapping[str, Path], out: Path, **outputs: bool) -> RotatedInstances:
        """See :meth:`al_rotate.loop.Learner.predict`."""
        return self.detector(checkpoint).predict(dict(images), None, out=out, **outputs)

    def predict_views(
        self, checkpoint: Path, images: Mapping[str, Path], views: Sequence[View], out: Path
    ) -> Sequence[RotatedInstances]:
        """See :meth:`al_rotate.loop.Learner.predict_views`."""
        return self.detector(checkpoint).predict_views(dict(images), views, out=out)

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
        """See :meth:`al_rotate.loop.Learner.train`; only the weights are kept of the Runner's checkpoints.

        Images that cannot be decoded are left out, with a warning, and the metric ``images_left_out`` counts them. The
        evaluator's figures on `val` are called ``val_...``.

        Raises:
            FileNotFoundError: for images whose files are missing: that is a folder that moved, or a disk that is not
                there, rather than damaged images.
            ValueError: for train_options that say how long to train, where a schedule says so.
        """
        from ...detection import finetune  # loads torch and OpenMMLab, which looking at a workspace does not need

        if missing := [file for file in images.values() if not file.is_file()]:
            raise FileNotFoundError(
                f"expected the files of {len(images)} labelled images, {len(missing)} are missing, e.g. {missing[0]}: "
                "put them back, or take their images out of the workspace with remove_images"
            )
        if schedule and (own := [key for key in self.train_options if key.startswith(REPLACED)]):
            raise ValueError(
                f"expected train_options without {', '.join(own)}, because this loop's schedule says how long to train "
                f"and at what rates: change the schedule, or train as the config says (--schedule {CONFIGS_OWN})"
            )
        files, val_labels = _with_validation_set(images, val)
        with self._knowing_changes(checkpoint) as class_map:
            result = finetune(
                self.config,
                files,
                labels,
                self.classes,
                work_dir,
                checkpoint,
                self.train_options,
                val=val_labels,
                seed=self.seed,
                keep_checkpoints=False,
                class_map=class_map,
                schedule=schedule,
                pseudo=pseudo,
            )
        return result.checkpoint, {_name(name): value for name, value in result.metrics.items()}

    def detector(self, checkpoint: Path) -> Detector:
        """Load the detector with these weights."""
        from ...detection import Detector

        with self._knowing_changes(checkpoint) as class_map:
            return Detector(
                self.config,
                checkpoint,
                self.device,
                classes=self.classes,
                precision=self.precision,
                class_map=class_map,
            )

    @contextmanager
    def _knowing_changes(self, checkpoint: Path | None) -> Iterator[dict[str, str] | None]:
        """Yield class of a checkpoint -> class now, for those that have another name now.

        That weights are of the classes before they were changed in this workspace is no news to warn of.
        """
        if checkpoint is None or not self.former_classes:
            yield None
            return
        from ...detection.checkpoints import read_checkpoint
        from ...detection.checkpoints.class_rows import OtherClasses

        names = read_checkpoint(checkpoint).classes or ()
        pairs = zip(names, self.former_classes.get(names, ()), strict=False)
        with warnings.catch_warnings():
            if names in self.former_classes:
                warnings.simplefilter("ignore", OtherClasses)
            yield {name: self.classes[number] for name, number in pairs if name != self.classes[number]} or None


def _name(metric: str) -> str:
    """Call an evaluator's figures ``val_mAP`` and ``val_AP/ship``, so that none is taken for one on the test set."""
    if metric in _OF_TRAINING or metric.startswith("last_"):
        return metric
    before, _, figure = metric.partition("/")  # the evaluator's prefix, such as ``dota/``
    return f"val_{metric if before == 'AP' or not figure else figure}"


def _with_validation_set(
    images: Mapping[str, Path], val: ValidationSet | None
) -> tuple[dict[str, Path], RotatedInstances | None]:
    """Return one mapping of ids to files for both sets, in which the validation set has ids of its own."""
    if val is None:
        return dict(images), None
    files, labels = val
    prefix = "val"
    while any(image_id.startswith(f"{prefix}/") for image_id in images):
        prefix += "_"
    renamed = {f"{prefix}/{image_id}": files[image_id] for image_id in labels.image_ids}
    return {**images, **renamed}, labels.replace(image_ids=list(renamed))
