"""What the loop asks of a detector: predict with given weights, and train new ones from labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ..data.instances import RotatedInstances
from ..data.views import View

if TYPE_CHECKING:
    pass


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
