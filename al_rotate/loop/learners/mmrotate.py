"""The learner that MMRotate's detectors are driven by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ...data import RotatedInstances
from ...data.images import UnreadableImage, read
from ...data.views import View
from ...storage.files import atomic_write
from ...storage.user_warnings import warn_user
from .learner import ValidationSet

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
        self,
        checkpoint: Path | None,
        images: Mapping[str, Path],
        labels: RotatedInstances,
        work_dir: Path,
        val: ValidationSet | None = None,
    ) -> tuple[Path, dict[str, float]]:
        """See :meth:`Learner.train`; only the weights are kept of the Runner's checkpoints.

        Images that cannot be decoded are left out, with a warning; ``left_out.csv`` in `work_dir` names them, and the
        metric ``images_left_out`` counts them. The evaluator's figures on `val` are called ``val_...``.

        Raises:
            FileNotFoundError: for an image whose file is missing.
            UnreadableImage: if no labelled image can be decoded.
        """
        from ...detection import finetune  # loads torch and OpenMMLab, which looking at a workspace does not need

        left_out = _undecodable(images, work_dir)
        labels = labels.subset(image_id for image_id in labels.image_ids if image_id not in left_out)
        files, val_labels = _with_validation_set(images, val)
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
        )
        metrics = {_name(name): value for name, value in result.metrics.items()}
        return result.checkpoint, metrics | ({"images_left_out": float(len(left_out))} if left_out else {})

    def detector(self, checkpoint: Path) -> Detector:
        """Load the detector with these weights."""
        from ...detection import Detector

        return Detector(self.config, checkpoint, self.device, classes=self.classes, precision=self.precision)


def _name(metric: str) -> str:
    """Call an evaluator's figure ``val_mAP``, so that it is not taken for one on the test set."""
    own = metric == "iterations" or metric.startswith("last_")
    return metric if own else f"val_{metric.rpartition('/')[2]}"


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


def _undecodable(images: Mapping[str, Path], work_dir: Path) -> dict[str, str]:
    """Return image id -> reason for what cannot be decoded, after telling it: a browser may show half an image."""
    missing = [file for file in images.values() if not file.is_file()]
    if missing:
        raise FileNotFoundError(
            f"expected the files of {len(images)} labelled images, {len(missing)} are missing, e.g. {missing[0]}: "
            "put them back, or take these images out of the workspace (remove_images)"
        )
    with ThreadPoolExecutor() as pool:
        reasons = dict(zip(images, pool.map(_why_undecodable, images.values()), strict=True))
    left_out = {image_id: reason for image_id, reason in reasons.items() if reason is not None}
    if left_out:
        named = ", ".join([*left_out][:3]) + (", ..." if len(left_out) > 3 else "")
        first = next(iter(left_out.values()))
        text = f"{len(left_out)} of {len(images)} labelled images cannot be decoded ({named}): {first}"
        if len(left_out) == len(images):
            raise UnreadableImage(text)
        table = pd.DataFrame({"image_id": left_out.keys(), "reason": left_out.values()})
        with atomic_write(work_dir / "left_out.csv") as file:
            table.to_csv(file, index=False)
        warn_user(f"{text}; the training does without them, see {work_dir / 'left_out.csv'}")
    return left_out


def _why_undecodable(file: Path) -> str | None:
    try:
        read(file)
    except UnreadableImage as error:
        return str(error)
    return None
