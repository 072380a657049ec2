"""Which of several annotators' answers to one task counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from ... import boxes
from .regions import Regions

SAME_IOU, AGREED_IOU = 0.5, 0.7  # rotated IoU of two people's boxes of one object

Annotation = Mapping[str, Any]


def choose_answer(
    submitted: Sequence[Annotation], regions_of: Callable[[Annotation], Regions], policy: str
) -> tuple[Annotation | None, str | None]:
    """Choose the answer that counts.

    Args:
        submitted: skips included, in the order in which they were changed last.
        regions_of: gives the boxes of one.
        policy: see :class:`~al_rotate.bridge.conversion.options.ReadOptions`.

    Returns:
        The answer, None where none counts, and a note on the others, None where there is nothing to say.
    """
    if not submitted:
        return None, None
    latest, others = submitted[-1], submitted[:-1]
    if policy == "ground-truth":
        marked = [annotation for annotation in submitted if annotation.get("ground_truth")]
        if not marked:
            return None, f"none of {len(submitted)} answers is marked as ground truth"
        several = f"{len(marked)} answers are marked as ground truth; the latest counts"
        return marked[-1], several if len(marked) > 1 else None
    iou = AGREED_IOU if policy == "agreement" else SAME_IOU
    n_differing = sum(not _alike(annotation, latest, regions_of, iou) for annotation in others)
    if not n_differing:
        return latest, None
    if policy == "agreement":
        return None, f"{n_differing} of {len(others)} other answers do not agree with the latest"
    return latest, f"{n_differing} of {len(others)} other answers differ from the latest, which counts"


def _alike(a: Annotation, b: Annotation, regions_of: Callable[[Annotation], Regions], min_iou: float) -> bool:
    """Whether both are skips, or their boxes pair one to one by class and IoU and as many regions are unusable."""
    if bool(a.get("was_cancelled")) != bool(b.get("was_cancelled")):
        return False
    ours, theirs = regions_of(a), regions_of(b)
    if len(ours.boxes) != len(theirs.boxes) or len(ours.problems) != len(theirs.problems):
        return False
    fits = (boxes.iou(ours.boxes, theirs.boxes) >= min_iou) & (ours.labels[:, None] == theirs.labels[None])
    rows, columns = linear_sum_assignment(~fits)
    return bool(np.all(fits[rows, columns]))
