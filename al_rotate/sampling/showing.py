"""Which predicted boxes people are shown: those that take less time to correct than the objects would to draw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..boxes import nms
from ..data import SHOWN_SCORE, RotatedInstances
from ..evaluation import calibration, true_positives
from ..evaluation.mean_ap import best_overlaps
from ..evaluation.tolerance import Tolerance
from ..storage.plurals import many
from .costs import CostModel, least_probability

__all__ = ["ShowingRule", "learn"]

SAME_OBJECT = 0.5  # rotated IoU from which two boxes are of one object
PRIOR_BOXES = 10  # assumed ones, which weigh less the more are known
_CONSTANT = f"boxes are shown from a score of {SHOWN_SCORE}"


@dataclass(frozen=True, eq=False)
class ShowingRule:
    """Which predicted boxes people are shown.

    By default those with a score of at least 0.3. A rule that is learnt from answers (:func:`learn`) shows what is
    expected to be quicker to correct than to draw, and of several boxes on one object the likeliest.

    Args:
        least: the least score of a box that is shown; of a learnt rule the least probability, one for each class (C,),
            inf for a class of which no box is shown.
        classes: names of these classes; None: one `least` holds for all.
        calibrated: scores -> probabilities that a box lies on an object, of whatever class; None: scores are taken as
            they are.
        cost: the times that the rule weighs against each other, or would.
        why: in a sentence, what decides.
    """

    least: float | NDArray[np.float64] = SHOWN_SCORE
    classes: tuple[str, ...] | None = None
    calibrated: calibration.Calibration | None = None
    cost: CostModel = field(default_factory=CostModel)
    why: str = _CONSTANT

    def select(self, detections: RotatedInstances) -> NDArray[np.bool_]:
        """Tell which boxes are shown, (N,). Labels, which have no scores, all are.

        Raises:
            ValueError: if the detections are of other classes than those that the rule is learnt for.
        """
        if detections.scores is None:
            return np.ones(detections.n_boxes, bool)
        if self.calibrated is None:
            return np.asarray(detections.scores >= self.least)
        if None not in (detections.classes, self.classes) and detections.classes != self.classes:
            raise ValueError(f"expected detections of the classes {self.classes}, got {detections.classes}")
        p = self.calibrated(detections)
        shown: NDArray = p >= np.asarray(self.least)[detections.labels]
        shown[np.flatnonzero(shown)[~_first_on_object(detections.where(shown), p[shown])]] = False
        return shown

    def shown(self, detections: RotatedInstances) -> RotatedInstances:
        """Return the boxes that are shown."""
        return detections.where(self.select(detections))

    def counts(self, detections: RotatedInstances) -> NDArray[np.int64]:
        """Count the boxes of each image that are shown, (M,): budgets and costs charge these."""
        ends = np.concatenate([[0], np.cumsum(self.select(detections))])
        return np.diff(ends[detections.offsets])

    def to_json(self) -> dict[str, Any]:
        """Return plain values, which a round keeps with its query; inf is None."""
        least: Any = float(self.least) if np.ndim(self.least) == 0 else None
        if least is None:
            rows = [float(value) if np.isfinite(value) else None for value in np.asarray(self.least)]
            least = rows if self.classes is None else dict(zip(self.classes, rows, strict=True))
        calibrated = None if self.calibrated is None else self.calibrated.to_json()
        return {"why": self.why, "least": least, "cost": asdict(self.cost), "calibration": calibrated}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ShowingRule:
        """Read what :meth:`to_json` gave.

        Raises:
            ValueError: for other values.
        """
        try:
            least, calibrated, cost = values["least"], values["calibration"], CostModel(**values["cost"])
            classes = tuple(least) if isinstance(least, Mapping) else None
            rows: Any = list(least.values()) if isinstance(least, Mapping) else least
            learnt = None if calibrated is None else calibration.Calibration.from_json(calibrated)
            if (len(rows) if isinstance(rows, list) else None) != (learnt and learnt.n_classes):
                raise ValueError("its probabilities and its calibration are of different classes")
            return cls(
                np.array([np.inf if row is None else float(row) for row in rows]) if learnt else float(rows),
                classes,
                learnt,
                cost,
                str(values["why"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"expected a rule of what is shown, got {str(values)[:200]}: {error}") from error


def learn(
    detections: RotatedInstances,
    labels: RotatedInstances,
    cost: CostModel | None = None,
    tolerance: Tolerance | None = None,
) -> ShowingRule:
    """Learn from the answers so far which boxes are worth showing.

    1. Of several boxes on one object (rotated IoU 0.5 or more with a better one, of whatever class) the others are left
       out: they would be deleted.
    2. The probability p that a box lies on an object of any class is calibrated, see
       :mod:`al_rotate.evaluation.calibration`: a wrong class is quicker to change than a box to draw.
    3. What a box on an object takes is the mean over those of its class: nothing but a look if a person would leave it
       alone, else a move, a change of its class, or both. Each counts 1 - p, since it is for the boxes in doubt that
       the rule decides, and these are seldom as good as the sure ones. The classes' means are drawn to that of all, and
       this one to a move, each by ten assumed boxes.
    4. A box is shown if that and the risk to delete it are expected to take less than to draw the object, see
       :func:`al_rotate.sampling.costs.least_probability`.

    Until there are 50 such boxes, of which 10 are on an object and 10 are not, scores cannot be read as probabilities,
    and boxes are shown from a score of 0.3, as releases before 0.2 did.

    Args:
        detections: with scores, on images of `labels`, made before the detector was trained on these.
        labels: the answers.
        cost: seconds for each kind of correction.
        tolerance: which boxes a person leaves alone.

    Raises:
        ValueError: for detections without scores, or of other classes than the labels.
        KeyError: for an image without labels.
    """
    cost = cost or CostModel()
    if None not in (detections.classes, labels.classes) and detections.classes != labels.classes:
        raise ValueError(f"expected detections of the classes {labels.classes}, got {detections.classes}")
    labels, detections = labels.subset(detections.image_ids), detections.replace(classes=labels.classes)
    first = (
        detections if detections.scores is None else detections.where(_first_on_object(detections, detections.scores))
    )
    fitted = calibration.fit(first, labels, SAME_OBJECT, any_class=True)
    if fitted.notice:
        return ShowingRule(cost=cost, why=f"{_CONSTANT}, because {fitted.notice}")
    pair = calibration.as_one_class(first), calibration.as_one_class(labels)
    hits = true_positives(*pair, SAME_OBJECT)
    label_row = best_overlaps(*pair)[1][hits]
    left = (tolerance or Tolerance()).leaves(first.boxes[hits], labels.boxes[label_row])
    right = first.labels[hits] == labels.labels[label_row]
    mend = np.where(left & right, cost.kept, cost.moved * ~left + cost.relabelled * ~right)
    n_classes = len(first.classes) if first.classes else 1 + int(first.labels.max(initial=0))
    mean = _means(mend, 1 - fitted(first)[hits], first.labels[hits], n_classes, cost.moved)
    least = least_probability(cost, mean)
    why = f"{_why(least[np.isfinite(least)], n_classes)}, as learnt from {fitted.n_boxes} boxes"
    return ShowingRule(least, first.classes, fitted, cost, why)


def _first_on_object(detections: RotatedInstances, values: NDArray) -> NDArray[np.bool_]:
    """Which boxes overlap no better one of their image that remains, of whatever class."""
    first = np.ones(detections.n_boxes, bool)
    for start, end in zip(detections.offsets[:-1], detections.offsets[1:], strict=True):
        if end - start < 2:
            continue
        first[start:end] = False
        first[start + nms(detections.boxes[start:end], values[start:end], iou_threshold=SAME_OBJECT)] = True
    return first


def _means(values: NDArray, weights: NDArray, labels: NDArray, n_classes: int, prior: float) -> NDArray[np.float64]:
    """(C,) weighted means of each class, drawn to the mean of all, and that one to the prior."""
    common = (weights @ values + PRIOR_BOXES * prior) / (weights.sum() + PRIOR_BOXES)
    total = np.bincount(labels, weights * values, n_classes) + PRIOR_BOXES * common
    return np.asarray(total / (np.bincount(labels, weights, n_classes) + PRIOR_BOXES))


def _why(least: NDArray[np.float64], n_classes: int) -> str:
    """Say what is shown, by the least probabilities of the classes of which any box is."""
    if not len(least):
        return "boxes are not shown, because to correct one is expected to take as long as to draw it, or longer"
    low, high, n_hidden = f"{least.min():.2f}", f"{least.max():.2f}", n_classes - len(least)
    return (
        "boxes are shown if they are expected to take less time to correct than to draw: those that lie on an object "
        f"with a probability of at least {low if low == high else f'{low} to {high}, depending on the class'}"
        + (f", and none of {n_hidden} of {many(n_classes, 'class')}" if n_hidden else "")
    )
