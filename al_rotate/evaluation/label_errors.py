"""Find wrong labels, by detections from before the detector was trained on them.

After ObjectLab (Tkachenko, Thyagarajan and Mueller, "ObjectLab: Automated Diagnosis of Mislabeled Images in Object
Detection Data", 2023, arXiv 2309.00832), whose three kinds of error are overlooked, swapped and badly located ones.
The formulas here are ours, on rotated IoU and probabilities, and so is the fourth kind, spurious labels.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from .. import boxes
from ..data import RotatedInstances

__all__ = ["COLUMNS", "KINDS", "OLD_KINDS", "find_label_errors", "rank_images"]


class LabelError(NamedTuple):
    """A row of the table. Rows and classes are numbers, -1 for none; (cx, cy) is where to look."""

    image_id: str
    kind: str
    suspicion: float
    label: int
    detection: int
    iou: float
    was: int
    found: int
    probability: float
    cx: float
    cy: float


KINDS = ("overlooked", "swapped", "badly_located", "spurious")
OLD_KINDS = {"missed": "overlooked", "class": "swapped", "place": "badly_located"}  # what older tables call them
COLUMNS = LabelError._fields
_TIES = ("swapped", "overlooked", "badly_located", "spurious")  # the order of kinds at equal suspicion
_PRIOR = 10.0  # labels at the overall rate that each class's overlapped share is shrunk with
_SENTENCES = {
    "overlooked": "{found} at ({cx:.0f}, {cy:.0f}) has no label",
    "swapped": "{was} at ({cx:.0f}, {cy:.0f}) looks like {found}",
    "badly_located": "{was} at ({cx:.0f}, {cy:.0f}) seems to lie elsewhere (IoU {iou:.2f})",
    "spurious": "{was} at ({cx:.0f}, {cy:.0f}) was not seen",
}


def find_label_errors(
    detections: RotatedInstances,
    labels: RotatedInstances,
    probabilities: ArrayLike | None = None,
    same: float = 0.5,
    near: float = 0.1,
    invented: float = 0.02,
) -> pd.DataFrame:
    """Find labels that the detector contradicts, the most suspicious first.

    Detections and labels of an image are paired one to one for the largest sum of rotated IoU times probability, by
    IoUs of at least `near`, whatever their classes. Then a row is

    - ``overlooked``: a detection that overlaps no label by `near`; suspicion p, its probability;
    - ``swapped``: a pair of at least `same` with different classes; p, less the highest probability of a detection of
      the label's own class that overlaps it by `same`;
    - ``badly_located``: a pair of one class below `same`, if no detection of the class overlaps the label by `same`:
      ``p (1 - IoU)``;
    - ``spurious``: a label that no detection overlaps by `near`: by Bayes' rule ``i / (i + (1 - i)(1 - r))``, with `i`
      the share of labels that people invent and r the share of its class's labels that are overlapped, shrunk towards
      that of all classes where there are few; half of it for a label that is marked as difficult.

    Args:
        detections: with scores, on all images of `labels`, made before the detector was trained on these.
        labels: to be judged.
        probabilities: (N,) of a true positive, see :func:`al_rotate.sampling.calibration.cross_fit`; None: the scores.
        same, near: rotated IoUs.
        invented: the share of labels that mark nothing, **assumed**.

    Returns:
        COLUMNS: ``label`` and ``detection`` are rows within the image, -1 for none; ``was`` and ``found`` the names (or
        numbers) of their classes, "" for none; ``cx, cy`` where to look.

    Raises:
        ValueError: for detections without scores, labels with them, other images or classes, or probabilities or limits
            outside [0, 1].
    """
    p = _probabilities(detections, probabilities)
    if not 0 < near <= same <= 1 or not 0 <= invented < 1:
        raise ValueError(f"expected 0 < near <= same <= 1 and invented in [0, 1), got {near}, {same} and {invented}")
    classes = _common_classes(detections, labels)
    rows: list[LabelError] = []
    overlapped = np.zeros(labels.n_boxes, bool)
    for position, (image_id, truth) in enumerate(labels):
        at = detections.position(image_id)
        sure = p[slice(*detections.offsets[at : at + 2])]
        errors, near_a_detection = _judge_image(image_id, detections[image_id], truth, sure, same, near)
        overlapped[slice(*labels.offsets[position : position + 2])] = near_a_detection
        rows += errors
    rows += _spurious(labels, overlapped, invented)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    for name in ("was", "found"):
        table[name] = [_name(k, classes) for k in table[name]]
    table = table[table["suspicion"] > 0].assign(suspicion=lambda t: t["suspicion"].astype(float).round(10))
    return table.sort_values(
        ["suspicion", "image_id", "kind", "label", "detection"],
        ascending=[False, True, True, True, True],
        ignore_index=True,
        key=lambda column: column.map(_TIES.index) if column.name == "kind" else column,
    )


def rank_images(table: pd.DataFrame, image_ids: Sequence[str]) -> pd.DataFrame:
    """Rank images, those whose labels are most suspicious first; one row per image.

    ``score`` is ``1 - prod(1 - suspicion)`` over the most suspicious label of each kind: errors of one kind in one
    image have one cause more often than not, such as a detector that fails on this image. Errors below a tenth of the
    image's highest suspicion are not counted.

    Args:
        table: of :func:`find_label_errors`, also an older one with OLD_KINDS.
        image_ids: all images that were judged.

    Returns:
        rank, image_id, score, the number of errors of each kind (``n_overlooked``, ...), and ``why``, a sentence.

    Raises:
        ValueError: for an error in another image.
    """
    ids = list(image_ids)
    if len({*ids}) < len(ids):
        raise ValueError(f"expected distinct images, got {len(ids)} of which {len({*ids})} differ")
    if strange := sorted({*table["image_id"]} - {*ids}):
        raise ValueError(f"expected doubts about these {len(ids)} images, got one about {strange[0]!r}")
    highest = table.groupby("image_id")["suspicion"].transform("max")
    kinds = pd.Categorical([OLD_KINDS.get(kind, kind) for kind in table["kind"]], _TIES)
    kept = table.assign(kind=kinds)[table["suspicion"] >= 0.1 * highest]
    images = pd.DataFrame({"image_id": pd.Series(ids, dtype=object)})
    by_kind = kept.groupby(["image_id", "kind"], observed=True)["suspicion"].max()
    score = 1 - (1 - by_kind).groupby("image_id").prod()
    images["score"] = images["image_id"].map(score).fillna(0.0).astype(float).round(10)
    for kind in KINDS:
        counts = kept[kept["kind"] == kind]["image_id"].value_counts()
        images[f"n_{kind}"] = images["image_id"].map(counts).fillna(0).astype(int)
    why = {image_id: _explain(errors) for image_id, errors in kept.groupby("image_id")}
    images["why"] = images["image_id"].map(why).fillna("No label of this image is in doubt.")
    images = images.sort_values(["score", "image_id"], ascending=[False, True], ignore_index=True)
    images.insert(0, "rank", np.arange(1, len(images) + 1))
    return images


def _judge_image(
    image_id: str, detections: RotatedInstances, labels: RotatedInstances, p: NDArray, same: float, near: float
) -> tuple[list[LabelError], NDArray[np.bool_]]:
    """The overlooked, swapped and badly located labels of one image, and which of its labels a detection overlaps."""
    overlap = boxes.iou(detections.boxes, labels.boxes)
    errors = [
        LabelError(image_id, "overlooked", p[d], -1, d, 0.0, -1, detections.labels[d], p[d], *detections.boxes[d, :2])
        for d in np.flatnonzero(overlap.max(axis=1, initial=0) < near)
    ]
    own = (detections.labels[:, None] == labels.labels) & (overlap >= same)
    confirmed = np.where(own, p[:, None], 0).max(axis=0, initial=0)
    for d, k in zip(*_pairs(overlap, near, p), strict=True):
        iou, was, found = overlap[d, k], labels.labels[k], detections.labels[d]
        if was != found and iou >= same:
            kind, suspicion = "swapped", max(0.0, p[d] - confirmed[k])
        elif was == found and iou < same and not own[:, k].any():
            kind, suspicion = "badly_located", p[d] * (1 - iou)
        else:
            continue
        errors.append(LabelError(image_id, kind, suspicion, k, d, iou, was, found, p[d], *labels.boxes[k, :2]))
    return errors, overlap.max(axis=0, initial=0) >= near


def _spurious(labels: RotatedInstances, overlapped: NDArray[np.bool_], invented: float) -> Iterator[LabelError]:
    """The labels that nothing overlaps."""
    rates = _overlapped_rates(labels, overlapped)
    for row in np.flatnonzero(~overlapped):
        image, was = labels.image_index[row], labels.labels[row]
        suspicion = invented / (invented + (1 - invented) * (1 - rates[was]))
        suspicion *= 0.5 if labels.difficult is not None and labels.difficult[row] else 1
        image_id, k = str(labels.image_ids[image]), int(row - labels.offsets[image])
        yield LabelError(image_id, "spurious", suspicion, k, -1, 0.0, was, -1, np.nan, *labels.boxes[row, :2])


def _explain(errors: pd.DataFrame) -> str:
    """The most suspicious labels of an image, in words."""
    sentences = [
        f"{_SENTENCES[row['kind']].format_map(row)} ({row['suspicion']:.2f})"
        for row in errors.head(3).to_dict("records")
    ]
    more = len(errors) - len(sentences)
    return f"{'; '.join(sentences)}{f'; and {more} more' if more else ''}."


def _pairs(overlap: NDArray, least: float, p: NDArray) -> tuple[NDArray, NDArray]:
    worth = overlap * np.maximum(p, 1e-9)[:, None]
    rows, columns = linear_sum_assignment(np.where(overlap >= least, worth, 0), maximize=True)
    good = overlap[rows, columns] >= least
    return rows[good], columns[good]


def _overlapped_rates(labels: RotatedInstances, overlapped: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(C,) the share of each class's labels that a detection overlaps."""
    overall = float(overlapped.mean()) if len(overlapped) else 0.0
    total = np.bincount(labels.labels)
    return (np.bincount(labels.labels, overlapped) + _PRIOR * overall) / (total + _PRIOR)


def _name(k: int, classes: tuple[str, ...] | None) -> str:
    if k < 0:
        return ""
    return classes[k] if classes else str(k)


def _common_classes(detections: RotatedInstances, labels: RotatedInstances) -> tuple[str, ...] | None:
    """The classes of both, if the detections can judge the labels."""
    if labels.scores is not None:
        raise ValueError(f"expected labels, which have no scores, got {labels!r}")
    if other := sorted({*detections.image_ids} ^ {*labels.image_ids}):
        raise ValueError(f"expected detections on the labelled images, got {len(other)} in one only, e.g. {other[0]!r}")
    if None not in (detections.classes, labels.classes) and detections.classes != labels.classes:
        raise ValueError(f"expected detections of the classes {labels.classes}, got {detections.classes}")
    classes = labels.classes or detections.classes
    if classes and max(instances.labels.max(initial=-1) for instances in (detections, labels)) >= len(classes):
        raise ValueError(f"expected labels of the {len(classes)} classes {classes}, got others")
    return classes


def _probabilities(detections: RotatedInstances, probabilities: ArrayLike | None) -> NDArray[np.float64]:
    if detections.scores is None and detections.n_boxes:
        raise ValueError(f"expected detections with scores, got {detections!r}")
    scores = np.zeros(0) if detections.scores is None else detections.scores
    p = np.asarray(scores if probabilities is None else probabilities, np.float64)
    if p.shape != (detections.n_boxes,) or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(
            f"expected a probability in [0, 1] for each of {detections.n_boxes} detections, got {p.shape} from "
            f"{p.min(initial=np.inf):g} to {p.max(initial=-np.inf):g}"
        )
    return p


def __getattr__(name: str) -> Any:
    new = {"suspicions": find_label_errors, "by_image": rank_images}.get(name)
    if new is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(f"use {new.__name__}, {name} will go in 0.3", DeprecationWarning, stacklevel=2)
    return new
