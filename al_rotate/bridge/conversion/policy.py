"""Which of several annotators' answers to one task counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from ... import boxes
from .regions import Regions

SAME, AGREED = 0.5, 0.7  # rotated IoU of two people's boxes of one object

Annotation = Mapping[str, Any]


def choose(
    submitted: Sequence[Annotation], regions: Callable[[Annotation], Regions], policy: str
) -> tuple[Annotation | None, str | None]:
    """The answer that counts, None where none does, and what is to be told of the others.

    Args:
        submitted: skips included, in the order in which they were changed last.
        regions: gives the boxes of one.
        policy: see :func:`al_rotate.bridge.annotations.read`.
    """
    if not submitted:
        return None, None
    latest, others = submitted[-1], submitted[:-1]
    if policy == "ground-truth":
        marked = [one for one in submitted if one.get("ground_truth")]
        if not marked:
            return None, f"none of {len(submitted)} answers is marked as ground truth"
        return marked[-1], f"{len(marked)} answers are marked as ground truth; the latest counts" if marked[
            1:
        ] else None
    if policy == "agreement":
        apart = sum(not _alike(one, latest, regions, AGREED) for one in others)
        return (
            (None, f"{apart} of {len(others)} other answers do not agree with the latest") if apart else (latest, None)
        )
    apart = sum(not _alike(one, latest, regions, SAME) for one in others)
    return latest, f"{apart} of {len(others)} other answers differ from the latest, which counts" if apart else None


def _alike(a: Annotation, b: Annotation, regions: Callable[[Annotation], Regions], least: float) -> bool:
    """Both skips, or as many boxes, which can be paired one to one by class and rotated IoU, and as many unusable."""
    if bool(a.get("was_cancelled")) != bool(b.get("was_cancelled")):
        return False
    one, other = regions(a), regions(b)
    if len(one.boxes) != len(other.boxes) or len(one.wrong) != len(other.wrong):
        return False
    overlap = boxes.iou(one.boxes, other.boxes)
    fits = (overlap >= least) & (one.labels[:, None] == other.labels[None])
    rows, columns = linear_sum_assignment(~fits)
    return bool(np.all(fits[rows, columns]))
