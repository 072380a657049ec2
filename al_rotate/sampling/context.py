"""What a strategy may use besides the pool's detections: the labels so far, and more of the detector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..data import RotatedInstances
from ..data.views import DIHEDRAL, View
from ..evaluation import calibration, evaluate
from ..storage.user_warnings import warn_user
from .budget import Budget
from .costs import ExpectedCost
from .deprecated import warn_renamed
from .showing import ShowingRule

__all__ = ["NotCalibrated", "QueryContext", "Views", "remember_views"]

Views = Callable[[Sequence[str], Sequence[View]], Sequence[RotatedInstances]]


class NotCalibrated(UserWarning):
    """A strategy that needs probabilities works on the detector's raw scores; the message says why."""


@dataclass(frozen=True, eq=False)
class QueryContext:
    """What a strategy may use besides the pool's detections. It holds no label that is held back.

    A loop fills it in; in a notebook, give what you have.

    Args:
        labels: all labels so far.
        detections: on labelled images, made **before** the detector was trained on their labels, such as those of
            the query that asked for them. Calibration learns from them.
        features: (m, d) image features of the labelled images, by the weights that detected on the candidates.
        labelled_detections: on the labelled images by these weights, which were trained on them, with box_features.
        views: ``(image ids, views)`` -> detections in each view, mapped back into the images, as
            :meth:`al_rotate.Detector.predict_views` returns them.
        cost: of images by the predicted boxes that people are shown.
        showing: which these are.
        budget: of this query, for pickers that weigh what an image teaches against what it takes of the budget. A
            `BatchStrategy` fills it in.

    Raises:
        ValueError: for detections on an image without labels.
    """

    labels: RotatedInstances = field(default_factory=RotatedInstances.empty)
    detections: RotatedInstances = field(default_factory=RotatedInstances.empty)
    features: NDArray | None = None
    views: Views | None = None
    cost: ExpectedCost = field(default_factory=ExpectedCost)
    showing: ShowingRule = field(default_factory=ShowingRule)
    budget: Budget | None = None
    labelled_detections: RotatedInstances | None = None

    def __post_init__(self) -> None:
        if unlabelled := [i for i in self.detections.image_ids if i not in self.labels]:
            raise ValueError(f"expected detections on labelled images, got some on {unlabelled[0]!r}")

    @cached_property
    def calibration(self) -> calibration.Calibration:
        """The map from scores to probabilities of a true positive; the identity while there is too little to fit."""
        return calibration.fit(self.detections, self.labels)

    @cached_property
    def held_out_map(self) -> float:
        """mAP on the labelled images, by detections from before the detector was trained on them; 0 without any."""
        labels = self.labels.subset(self.detections.image_ids)
        return evaluate(self.detections, labels).mean_ap if labels.n_boxes else 0.0

    @cached_property
    def missed_object_rate(self) -> float:
        """The chance that an image without a predicted box holds an object: ``(k + 1) / (n + 2)``, k of n such images.

        Laplace's rule of succession: 1/2 as long as nobody has labelled such an image.
        """
        without_boxes = self.detections.image_ids[self.detections.counts == 0]
        hold_objects = self.labels.subset(without_boxes).counts > 0
        return float((hold_objects.sum() + 1) / (len(without_boxes) + 2))

    def probabilities(self, candidates: RotatedInstances) -> NDArray[np.float64]:
        """Return probabilities of the boxes, (N,); their scores, with a `NotCalibrated` warning, if none is fitted."""
        if self.calibration.notice:
            warn_user(self.calibration.notice, NotCalibrated)
        return self.calibration(candidates)

    def class_counts(self, n_classes: int) -> NDArray[np.int64]:
        """Count the labelled boxes of each class, (C,)."""
        return np.bincount(self.labels.labels, minlength=n_classes)

    def predict_views(self, image_ids: Sequence[str], views: Sequence[View] = DIHEDRAL) -> Sequence[RotatedInstances]:
        """Detect in views of these images.

        Raises:
            ValueError: if no `views` were given.
        """
        if self.views is None:
            raise ValueError(
                "expected QueryContext(views=...) for a strategy that compares views of an image, got none: "
                "Detector.predict_views makes them"
            )
        return self.views(image_ids, views)

    @property
    def missed_rate(self) -> float:
        """The old name of `missed_object_rate`."""
        warn_renamed("QueryContext.missed_rate", "QueryContext.missed_object_rate")
        return self.missed_object_rate

    def seen(self, image_ids: Sequence[str], views: Sequence[View] = DIHEDRAL) -> Sequence[RotatedInstances]:
        """The old name of `predict_views`."""
        warn_renamed("QueryContext.seen()", "QueryContext.predict_views()")
        return self.predict_views(image_ids, views)


def remember_views(views: Views) -> Views:
    """Return a function like `views` that detects in the same view of an image once only."""
    made: dict[tuple[View, ...], list[RotatedInstances]] = {}

    def remembered(image_ids: Sequence[str], wanted: Sequence[View]) -> Sequence[RotatedInstances]:
        known = made.get(tuple(wanted))
        if missing := [image_id for image_id in image_ids if known is None or image_id not in known[0]]:
            new = views(missing, wanted)
            known = list(new) if known is None else list(map(RotatedInstances.concat, zip(known, new, strict=True)))
            made[tuple(wanted)] = known
        return [part.subset(image_ids) for part in known or ()]

    return remembered
