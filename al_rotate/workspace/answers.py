"""Answers as a workspace keeps them: one database row per image, and the labels as a batch of boxes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..data import RotatedInstances

# What answering one image took, over all the work on it so far; None where it is unknown.
COST_COLUMNS = ("annotator", "seconds", "n_added", "n_moved", "n_relabelled", "n_deleted")
COLUMNS = ("status", "reason", "digest", "n_boxes", *COST_COLUMNS)
Row = tuple[Any, ...]  # the values of COLUMNS

WITHDRAWN: Row = ("queried", "withdrawn", None, 0, *(None,) * len(COST_COLUMNS))


def check_labels(labels: RotatedInstances, classes: tuple[str, ...]) -> RotatedInstances:
    """Return labels with only the columns that labels have.

    Raises:
        ValueError: for detections, or labels of other classes.
    """
    if labels.scores is not None:
        raise ValueError("expected labels, which have no scores, got detections; remove them: replace(scores=None)")
    return labels.as_labels(classes)


def as_rows(labels: RotatedInstances, skipped: Mapping[str, str], costs: pd.DataFrame | None) -> dict[str, Row]:
    """Return image id -> row. Two answers to an image are the same if their rows are equal.

    Raises:
        ValueError: for an image both labelled and skipped, or costs that do not fit.
    """
    both = sorted(skipped.keys() & set(labels.image_ids))
    if both:
        raise ValueError(f"expected images labelled or skipped, got {both[0]!r} both ways")
    cost_of = _costs_by_image(costs, {*labels.image_ids, *skipped})
    unknown = (None,) * len(COST_COLUMNS)
    rows: dict[str, Row] = {
        image_id: ("labelled", None, _digest(image), image.n_boxes, *cost_of.get(image_id, unknown))
        for image_id, image in labels
    }
    for image_id, reason in skipped.items():
        rows[image_id] = ("skipped", str(reason), None, 0, *cost_of.get(image_id, unknown))
    return rows


def batch_name(rows: Mapping[str, Row], image_ids: Iterable[str]) -> str:
    """Derive a name from the labels of these images."""
    digest = COLUMNS.index("digest")
    lines = "".join(f"{image_id}\n{rows[image_id][digest]}\n" for image_id in image_ids)
    return hashlib.sha256(lines.encode()).hexdigest()[:20]


def join_batches(parts: Sequence[RotatedInstances], classes: tuple[str, ...]) -> RotatedInstances:
    """Join batches of labels, sorted by image id. An optional column that only some batches have is 0 in the others."""
    if any(part.difficult is not None for part in parts):
        parts = [p if p.difficult is not None else p.replace(difficult=np.zeros(p.n_boxes, int)) for p in parts]
    if any(part.image_sizes is not None for part in parts):
        parts = [p if p.image_sizes is not None else p.replace(image_sizes=np.zeros((len(p), 2), int)) for p in parts]
    labels = RotatedInstances.concat([RotatedInstances.empty(classes=classes), *parts])
    return labels.subset(sorted(labels.image_ids))


def renumbered(boxes: RotatedInstances, numbers: Sequence[int], classes: tuple[str, ...]) -> RotatedInstances:
    """Return boxes of other classes: class k becomes class ``numbers[k]`` of `classes`; merged class scores add up."""
    scores = boxes.class_scores
    if scores is not None:
        summed = np.zeros((len(scores), len(classes)), np.float32)
        for old, new in enumerate(numbers):
            summed[:, new] += scores[:, old]
        scores = np.minimum(summed, 1)
    labels = np.array(numbers, np.int32)[boxes.labels]
    return boxes.replace(labels=labels, class_scores=scores, classes=classes)


def _costs_by_image(costs: pd.DataFrame | None, answered: set[str]) -> dict[str, Row]:
    """Return image id -> its values of COST_COLUMNS, as SQLite takes them."""
    if costs is None:
        return {}
    expected = ("image_id", *COST_COLUMNS)
    if set(costs.columns) != set(expected):
        got = ", ".join(map(str, costs.columns))
        raise ValueError(f"expected costs with columns {', '.join(expected)}, got {got}")
    ids = costs["image_id"].tolist()
    stray = sorted(set(ids) - answered)
    if stray or len(set(ids)) != len(ids):
        got = f"{stray[0]!r}, which is not answered" if stray else "an image twice"
        raise ValueError(f"expected costs of answered images, one row each, got {got}")
    kinds = (str, float, int, int, int, int)
    columns = [
        [None if pd.isna(value) else kind(value) for value in costs[name]]
        for name, kind in zip(COST_COLUMNS, kinds, strict=True)
    ]
    return dict(zip(ids, zip(*columns, strict=True), strict=True))


def _digest(image: RotatedInstances) -> str:
    """Digest the labels of one image."""
    columns = (image.boxes, image.labels, image.difficult, image.image_sizes)
    return hashlib.sha256(b"|".join(b"-" if c is None else c.tobytes() for c in columns)).hexdigest()
