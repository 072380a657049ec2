"""Corrections that people made: predicted against corrected boxes, one row per box."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .. import boxes
from ..data import RotatedInstances
from ..storage.user_warnings import warn_user
from .tolerance import Tolerance, corner_distances

_WORDS = ("image_id", "what", "predicted_class", "corrected_class", "matched_by")
_MEASURES = ("iou", "centre_shift", "size_ratio", "angle_error")
COLUMNS = (
    *("image_id", "what", "moved", "relabelled", "predicted_class", "corrected_class", "score"),
    *(*_MEASURES, "matched_by"),
)
COUNTS = ("kept", "added", "moved", "relabelled", "deleted")
NEAR_SQUARE = 0.9  # IoU of a box and its quarter turn from which on its angle has the period pi/2
SAME_BOX = 0.01  # pixels; an untouched box differs only by the rounding of percentages and of float32


def compare(
    predicted: RotatedInstances,
    labels: RotatedInstances,
    predicted_ids: Sequence[str | None] | None = None,
    label_ids: Sequence[str | None] | None = None,
    same_object: float = 0.5,
    good_enough: float | None = None,
    *,
    tolerance: Tolerance | None = None,
) -> pd.DataFrame:
    """Find the corrections that turn the predicted boxes of each image into its labels.

    Boxes of one id are one object, however far it was moved; it counts as moved if a corner lies more than SAME_BOX
    from where it was. Boxes that ids leave over are one object if their rotated IoU is at least `same_object`. Pairs
    are made greedily in descending IoU, whatever the class (a wrong class is cheaper to change than a box to draw),
    each box in one pair at most; at equal IoU a pair of one class comes first, then the earlier boxes. These count as
    moved if a person would not leave them alone, see :class:`~al_rotate.evaluation.tolerance.Tolerance`.

    The period of the angle error is the corrected box's symmetry: pi; for a near-square, which is one whose quarter
    turn overlaps with it by NEAR_SQUARE, pi/2. (With sides a >= b that IoU is b / (2a - b): at 0.9, a < 1.056 b.)
    That the labelled box's sides decide is from Yang et al., Dense Label Encoding, CVPR 2021 (ADARSW); their threshold
    a < 1.5 b would call quarter turns that halve the overlap no error.

    Args:
        predicted: the boxes that people were shown; an image that is missing had none.
        labels: the corrected boxes, of the images to compare.
        predicted_ids: one per predicted box, distinct within an image; None: it has no id.
        label_ids: one per label.
        same_object: least IoU of a pair; other predictions were deleted, other labels added.
        good_enough: least IoU of a box that was not moved: the rule until 0.2, will go in 0.3.
        tolerance: how far off a box is left alone; None: as careful people do.

    Returns:
        One row per box, in the order of `labels`, the predicted boxes of an image first: ``image_id``; ``what``: kept,
        changed, deleted or added; ``moved`` and ``relabelled`` (both may be true); ``predicted_class``,
        ``corrected_class``; the prediction's ``score``; for pairs the rotated ``iou``, ``centre_shift`` in pixels,
        ``size_ratio``, the square root of corrected by predicted area (2: twice as long and wide), ``angle_error`` in
        degrees from 0 to 90, and ``matched_by``: id or overlap. None and NaN if not applicable.

    Raises:
        ValueError: for other classes, ids that are not one per box, or one id twice in an image's predictions.
    """
    if good_enough is not None:
        warn_user("use tolerance=, good_enough= will go in 0.3", DeprecationWarning)
    classes = predicted.classes or labels.classes
    if labels.classes not in (None, classes):
        raise ValueError(f"expected predictions of the labels' classes {labels.classes}, got {predicted.classes}")
    ids = _ids(predicted, predicted_ids, "predicted_ids"), _ids(labels, label_ids, "label_ids")
    image, before, after, by_id = _pairs(predicted, labels, *ids, same_object)
    pair = (before >= 0) & (after >= 0)
    a, b = (part.astype(np.float64) for part in (predicted.boxes[before[pair]], labels.boxes[after[pair]]))
    measures = _measure(a, b)
    left = (tolerance or Tolerance()).leaves(a, b) if good_enough is None else measures[:, 0] >= good_enough
    touched = corner_distances(a, b).max(axis=2, initial=0).min(axis=0, initial=np.inf) > SAME_BOX
    moved = np.where(by_id[pair], touched, ~left)
    relabelled = predicted.labels[before[pair]] != labels.labels[after[pair]]
    what = np.select([after < 0, before < 0], ["deleted", "added"], "kept").astype(object)
    what[pair] = np.where(moved | relabelled, "changed", "kept")
    scores = np.full(predicted.n_boxes, np.nan) if predicted.scores is None else predicted.scores.astype(np.float64)
    columns = {
        "image_id": labels.image_ids[image],
        "what": what,
        "moved": _at(pair, moved, False),
        "relabelled": _at(pair, relabelled, False),
        "predicted_class": _at(before >= 0, _names(predicted.labels[before[before >= 0]], classes), None),
        "corrected_class": _at(after >= 0, _names(labels.labels[after[after >= 0]], classes), None),
        "score": _at(before >= 0, scores[before[before >= 0]], np.nan),
        **{name: _at(pair, column, np.nan) for name, column in zip(_MEASURES, measures.T, strict=True)},
        "matched_by": _at(pair, np.where(by_id[pair], "id", "overlap").astype(object), None),
    }
    words = {name: pd.Series(columns[name], dtype=object) for name in _WORDS}  # pandas 3 would write None as NaN
    return pd.DataFrame({**columns, **words}, columns=list(COLUMNS))


def partners(predicted: RotatedInstances, labels: RotatedInstances, same_object: float = 0.5) -> NDArray[np.intp]:
    """Return the row of the label that is the same object as each predicted box by :func:`compare`, (N,); -1: none."""
    ids = np.full(predicted.n_boxes, None, object), np.full(labels.n_boxes, None, object)
    _, before, after, _ = _pairs(predicted, labels, *ids, same_object)
    partner = np.full(predicted.n_boxes, -1)
    partner[before[before >= 0]] = after[before >= 0]
    return partner


def left_alone(
    predicted: RotatedInstances,
    labels: RotatedInstances,
    same_object: float = 0.5,
    tolerance: Tolerance | None = None,
) -> RotatedInstances:
    """Return the labels as a person leaves them: a predicted box that is not moved stays as it was predicted.

    Args:
        predicted: the boxes that the person is shown.
        labels: what the person would draw.
        same_object, tolerance: as for :func:`compare`.

    Returns:
        The labels in their order, with the boxes of predictions that :func:`compare` counts as kept, or as relabelled
        and not moved.
    """
    ids = np.full(predicted.n_boxes, None, object), np.full(labels.n_boxes, None, object)
    _, before, after, _ = _pairs(predicted, labels, *ids, same_object)
    pair = (before >= 0) & (after >= 0)
    before, after = before[pair], after[pair]
    left = (tolerance or Tolerance()).leaves(predicted.boxes[before], labels.boxes[after])
    kept: NDArray = labels.boxes.copy()
    kept[after[left]] = predicted.boxes[before[left]]
    return labels.replace(boxes=kept)


def counts(table: pd.DataFrame, image_ids: Iterable[str] | None = None) -> pd.DataFrame:
    """Count the boxes that were kept, added, moved, relabelled and deleted in each image of a table of :func:`compare`.

    A box can be both moved and relabelled; kept, deleted and those changed are all predicted boxes.

    Args:
        table: of any images.
        image_ids: the rows to return, with zeros for images without a box; None: the images of the table.

    Returns:
        ``image_id``, ``n_kept``, ``n_added``, ``n_moved``, ``n_relabelled``, ``n_deleted``, as in the workspace's
        ledger.
    """
    marks = pd.DataFrame({f"n_{name}": _mark(table, name) for name in COUNTS})
    totals = marks.groupby(table["image_id"], sort=False).sum().astype(int)
    rows = totals.index if image_ids is None else pd.Index(list(image_ids), dtype=object, name="image_id")
    return totals.reindex(rows, fill_value=0).reset_index()


def summary(table: pd.DataFrame, by: str = "class") -> pd.DataFrame:
    """Summarise a table of :func:`compare` in one row per class, or per value of another column.

    Args:
        table: of any images.
        by: ``class``, the predicted one, for added boxes the corrected one; or a column, such as ``round`` if added.

    Returns:
        How many boxes were ``predicted``, kept, added, moved, relabelled and deleted, ``kept_share`` of those
        predicted, and the medians of ``iou``, ``centre_shift``, ``size_ratio`` and ``angle_error`` of those moved.
    """
    marks = pd.DataFrame({"predicted": table["what"] != "added", **{name: _mark(table, name) for name in COUNTS}})
    key = table["corrected_class"].mask(marks["predicted"], table["predicted_class"]) if by == "class" else table[by]
    key = key.rename(by)
    out = marks.groupby(key).sum().astype(int)
    out["kept_share"] = out["kept"] / out["predicted"].where(out["predicted"] > 0)
    moved = table["moved"]
    return out.join(table.loc[moved, list(_MEASURES)].groupby(key[moved]).median())


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a table of :func:`compare` from CSV (a class may be called NA, or 7)."""
    numbers = ("score", *_MEASURES)
    types: dict[Hashable, type] = {**dict.fromkeys(_WORDS, str), **dict.fromkeys(numbers, float)}
    blank = {name: [""] for name in numbers}
    table = pd.read_csv(path, dtype=types, keep_default_na=False, na_values=blank)
    words = table[list(_WORDS)].astype(object)
    table[list(_WORDS)] = words.mask(words == "", None)
    return table.astype({"moved": bool, "relabelled": bool})


def _mark(table: pd.DataFrame, name: str) -> pd.Series:
    return table[name] if name in ("moved", "relabelled") else table["what"] == name


def _pairs(
    predicted: RotatedInstances,
    labels: RotatedInstances,
    predicted_ids: NDArray,
    label_ids: NDArray,
    same_object: float,
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
    """Of each row of the table: its image among the labels', the predicted box, the label (-1: none); paired by id?"""
    partner, named = np.full(predicted.n_boxes, -1), np.zeros(predicted.n_boxes, bool)
    image_of = np.full(len(predicted), -1)
    for position, image_id in enumerate(labels.image_ids):
        if image_id not in predicted:
            continue
        image_of[predicted.position(image_id)] = position
        rows, label_rows = _rows(predicted, image_id), _rows(labels, image_id)
        i, j = _by_id(predicted_ids[rows], label_ids[label_rows], image_id).T
        partner[rows[i]], named[rows[i]] = label_rows[j], True
        rows, label_rows = np.delete(rows, i), np.delete(label_rows, j)
        same_class = predicted.labels[rows][:, None] == labels.labels[label_rows]
        i, j = _by_overlap(predicted.boxes[rows], labels.boxes[label_rows], same_class, same_object).T
        partner[rows[i]] = label_rows[j]
    image = image_of[predicted.image_index]
    shown, added = np.flatnonzero(image >= 0), np.setdiff1d(np.arange(labels.n_boxes), partner)
    image = np.concatenate([image[shown], labels.image_index[added]])
    order = np.argsort(image, kind="stable")
    before = np.concatenate([shown, np.full(len(added), -1)])
    after = np.concatenate([partner[shown], added])
    by_id = np.concatenate([named[shown], np.zeros(len(added), bool)])
    return image[order], before[order], after[order], by_id[order]


def _by_id(predicted_ids: NDArray, label_ids: NDArray, image_id: str) -> NDArray[np.intp]:
    """(K, 2) positions of boxes that share an id."""
    at = {name: row for row, name in enumerate(predicted_ids) if name is not None}
    if len(at) < sum(name is not None for name in predicted_ids):
        raise ValueError(f"expected distinct predicted_ids within an image, got one twice for image {image_id!r}")
    # An id is used once: if two labels have the same one, the second is an object of its own.
    pairs = [(at.pop(name), row) for row, name in enumerate(label_ids) if name in at]
    return np.array(pairs, np.intp).reshape(-1, 2)


def _by_overlap(predicted: NDArray, labels: NDArray, same_class: NDArray, same_object: float) -> NDArray[np.intp]:
    """(K, 2) positions of boxes that overlap enough, paired as :func:`compare` says."""
    rows, columns = boxes.near_pairs(predicted, labels)
    # Rounded, so that IoUs that differ only by the order of additions tie.
    overlap = boxes.iou(predicted[rows], labels[columns], paired=True).round(9)
    near = overlap >= same_object
    rows, columns, overlap = rows[near], columns[near], overlap[near]
    row_used, column_used = np.zeros(len(predicted), bool), np.zeros(len(labels), bool)
    pairs = []
    for k in np.lexsort((columns, rows, ~same_class[rows, columns], -overlap)):
        if not row_used[rows[k]] and not column_used[columns[k]]:
            row_used[rows[k]] = column_used[columns[k]] = True
            pairs.append((rows[k], columns[k]))
    return np.array(pairs, np.intp).reshape(-1, 2)


def _measure(a: NDArray, b: NDArray) -> NDArray[np.float64]:
    """(K, 4) _MEASURES of predicted boxes a and corrected boxes b."""
    overlap = boxes.iou(a, b, paired=True).round(9)
    shift = np.hypot(*(b - a)[:, :2].T)
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.sqrt(boxes.area(b) / boxes.area(a))
    short, long = np.sort(b[:, 2:4], axis=1).T
    period = np.where(short >= NEAR_SQUARE * (2 * long - short), 90.0, 180.0)
    turn = np.degrees(b[:, 4] - a[:, 4]) % period
    return np.column_stack([overlap, shift, size, np.minimum(turn, period - turn)])


def _ids(instances: RotatedInstances, ids: Sequence[str | None] | None, name: str) -> NDArray[np.object_]:
    if ids is not None and len(ids) != instances.n_boxes:
        raise ValueError(f"expected {name} of {instances.n_boxes} boxes, one each, got {len(ids)}")
    out = np.full(instances.n_boxes, None, object)
    if ids is not None:
        out[:] = [value or None for value in ids]
    return out


def _rows(instances: RotatedInstances, image_id: str) -> NDArray[np.intp]:
    position = instances.position(image_id)
    return np.arange(*instances.offsets[position : position + 2])


def _names(labels: NDArray, classes: tuple[str, ...] | None) -> NDArray[np.object_]:
    return np.array(classes, object)[labels] if classes else labels.astype(str).astype(object)


def _at(mask: NDArray[np.bool_], values: NDArray, fill: object) -> NDArray:
    """`values` where the mask is set, in order, and `fill` elsewhere."""
    out = np.full(len(mask), fill, values.dtype)
    out[mask] = values
    return out
