"""What a strategy may look at beside the detections on its candidates: the labels so far, and more of the detector."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..data.instances import RotatedInstances
from ..data.views import DIHEDRAL, View
from ..evaluation import calibration
from ..evaluation.mean_ap import evaluate
from .costs import ExpectedCost

__all__ = ["NotCalibrated", "QueryContext", "Views"]

Views = Callable[[Sequence[str], Sequence[View]], Sequence[RotatedInstances]]


class NotCalibrated(UserWarning):
    """A strategy that wants probabilities works on the detector's scores as they are; the message says why."""


@dataclass(frozen=True, eq=False)
class QueryContext:
    """What is known when a strategy is asked. Nothing of it is a label that is held back.

    A loop fills this in by itself; in a notebook give what there is.

    Args:
        labels: all labels so far.
        detections: on labelled images, made **before** the detector was trained on their labels, such as those of
            the query that asked for them: what calibration learns from.
        features: (m, d) image features of the labelled images, by the weights that detected on the candidates.
        views: ``(image ids, views)`` -> detections in each view, mapped back into the images, as
            :meth:`al_rotate.detector.Detector.predict_views` gives them.
        cost: of images by their predicted boxes.

    Raises:
        ValueError: for detections on an image without labels.
    """

    labels: RotatedInstances = field(default_factory=RotatedInstances.empty)
    detections: RotatedInstances = field(default_factory=RotatedInstances.empty)
    features: NDArray | None = None
    views: Views | None = None
    cost: ExpectedCost = field(default_factory=ExpectedCost)

    def __post_init__(self) -> None:
        if unknown := [i for i in self.detections.image_ids if i not in self.labels]:
            raise ValueError(f"expected detections on labelled images, got some on {unknown[0]!r}")

    @cached_property
    def calibration(self) -> calibration.Calibration:
        """Scores -> probabilities of a true positive; leaves them alone while there is too little to learn from."""
        return calibration.fit(self.detections, self.labels)

    @cached_property
    def held_out_map(self) -> float:
        """mAP on the labelled images, by the detections from before they were trained on; 0 without any."""
        labels = self.labels.subset(self.detections.image_ids)
        return evaluate(self.detections, labels).mean_ap if labels.n_boxes else 0.0

    def probabilities(self, candidates: RotatedInstances) -> NDArray[np.float64]:
        """(N,) of the candidates' boxes; warns with `NotCalibrated` where these are but scores."""
        if self.calibration.notice:
            warnings.warn(self.calibration.notice, NotCalibrated, stacklevel=2)
        return self.calibration(candidates)

    def class_counts(self, n_classes: int) -> NDArray[np.int64]:
        """(C,) labelled boxes of each class."""
        return np.bincount(self.labels.labels, minlength=n_classes)

    @cached_property
    def missed_rate(self) -> float:
        """The chance that an image without a predicted box holds an object: ``(k + 1) / (n + 2)`` of n such images.

        Laplace's rule of succession, so that it is 1/2 as long as nobody has looked at one.
        """
        blind = self.detections.image_ids[self.detections.counts == 0]
        held = self.labels.subset(blind).counts > 0
        return float((held.sum() + 1) / (len(blind) + 2))

    def seen(self, image_ids: Sequence[str], views: Sequence[View] = DIHEDRAL) -> Sequence[RotatedInstances]:
        """Detections in views of these images.

        Raises:
            ValueError: when nobody can tell.
        """
        if self.views is None:
            raise ValueError(
                "expected Known(views=...) for a strategy that looks at images from other sides, got none: "
                "Detector.predict_views makes them"
            )
        return self.views(image_ids, views)
