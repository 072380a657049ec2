"""Answers as a workspace keeps them: one row an image to compare and to count, and the labels as plain labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..data.instances import RotatedInstances

# What answering one image took, all the work on it so far; None where it is not known.
COST_COLUMNS = ("annotator", "seconds", "n_added", "n_moved", "n_relabelled", "n_deleted")
COLUMNS = ("status", "reason", "digest", "n_boxes", *COST_COLUMNS)

WITHDRAWN = ("queried", "withdrawn", None, 0, *(None,) * len(COST_COLUMNS))  # the values of COLUMNS


def plain(labels: RotatedInstances, classes: tuple[str, ...]) -> RotatedInstances:
    """Labels with only what labels have, in these classes.

    Raises:
        ValueError: for detections, or labels of other classes.
    """
    if labels.scores is not None:
        raise ValueError("expected labels, which have no scores, got detections; take them off: replace(scores=None)")
    if labels.classes not in (None, classes):
        raise ValueError(f"expected labels of the classes {classes}, got {labels.classes}")
    return labels.replace(classes=classes, class_scores=None, box_features=None, image_features=None, skipped=None)


def rows(
    labels: RotatedInstances, skipped: Mapping[str, str], costs: pd.DataFrame | None
) -> dict[str, tuple[Any, ...]]:
    """image id -> the values of COLUMNS. Two answers to an image are the same where these are.

    Raises:
        ValueError: for an image both labelled and skipped, or costs that do not fit.
    """
    twice = sorted(skipped.keys() & set(labels.image_ids))
    if twice:
        raise ValueError(f"expected images labelled or skipped, got {twice[0]!r} both ways")
    cost = _costs(costs, {*labels.image_ids, *skipped})
    unknown = (None,) * len(COST_COLUMNS)
    found = {i: ("labelled", None, _digest(one), one.n_boxes, *cost.get(i, unknown)) for i, one in labels}
    return found | {i: ("skipped", str(reason), None, 0, *cost.get(i, unknown)) for i, reason in skipped.items()}


def batch_name(found: Mapping[str, tuple[Any, ...]], image_ids: Iterable[str]) -> str:
    """A name that follows from the labels of these images."""
    digest = COLUMNS.index("digest")
    return hashlib.sha256("".join(f"{i}\n{found[i][digest]}\n" for i in image_ids).encode()).hexdigest()[:20]


def join(parts: Sequence[RotatedInstances], classes: tuple[str, ...]) -> RotatedInstances:
    """All images of all parts, sorted by id. Where only some parts know an optional column, the others get zeros."""
    if any(part.difficult is not None for part in parts):
        parts = [p if p.difficult is not None else p.replace(difficult=np.zeros(p.n_boxes, int)) for p in parts]
    if any(part.image_sizes is not None for part in parts):
        parts = [p if p.image_sizes is not None else p.replace(image_sizes=np.zeros((len(p), 2), int)) for p in parts]
    labels = RotatedInstances.concat([RotatedInstances.empty(classes=classes), *parts])
    return labels.subset(sorted(labels.image_ids))


def _costs(costs: pd.DataFrame | None, answered: set[str]) -> dict[str, tuple[Any, ...]]:
    """image id -> its values of COST_COLUMNS as SQLite keeps them."""
    if costs is None:
        return {}
    wanted = ("image_id", *COST_COLUMNS)
    if set(costs.columns) != set(wanted):
        raise ValueError(f"expected costs with columns {', '.join(wanted)}, got {', '.join(map(str, costs.columns))}")
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


def _digest(one: RotatedInstances) -> str:
    """What tells one image's labels from others."""
    columns = (one.boxes, one.labels, one.difficult, one.image_sizes)
    return hashlib.sha256(b"|".join(b"-" if c is None else c.tobytes() for c in columns)).hexdigest()
