"""Which labels are in doubt, by detections from before the detector was trained on them.

After ObjectLab (Tkachenko, Thyagarajan and Mueller, "ObjectLab: Automated Diagnosis of Mislabeled Images in Object
Detection Data", 2023, arXiv 2309.00832), whose three kinds of error are overlooked, swapped and badly located ones;
the formulas here are ours, on rotated IoU and probabilities, and the fourth kind, an invented label, is ours too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from .. import boxes as rboxes
from ..data.instances import RotatedInstances

__all__ = ["COLUMNS", "KINDS", "find_label_errors", "rank_images"]

KINDS = ("missed", "class", "place", "spurious")
COLUMNS = ("image_id", "kind", "suspicion", "label", "detection", "iou", "was", "found", "probability", "cx", "cy")
_PRIOR = 10.0  # labels at the overall rate that each class's share of found ones is shrunk with


def find_label_errors(
    detections: RotatedInstances,
    labels: RotatedInstances,
    probabilities: ArrayLike | None = None,
    same: float = 0.5,
    near: float = 0.1,
    invented: float = 0.02,
) -> pd.DataFrame:
    """A row for each doubt, the gravest first.

    Detections and labels of an image are paired one to one for the largest sum of rotated IoU times probability, by
    IoUs of at least `near`, whatever their classes. Then a row is

    - ``missed``: a detection that overlaps no label by `near`; suspicion p, its probability;
    - ``class``: a pair of at least `same` with different classes; p, less the highest probability of a detection of the
      label's own class that lies on it by `same`;
    - ``place``: a pair of one class below `same`, where no detection of the class lies on the label by `same`:
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
    if labels.scores is not None:
        raise ValueError(f"expected labels, which have no scores, got {labels!r}")
    if other := sorted({*detections.image_ids} ^ {*labels.image_ids}):
        raise ValueError(f"expected detections on the labelled images, got {len(other)} in one only, e.g. {other[0]!r}")
    if None not in (detections.classes, labels.classes) and detections.classes != labels.classes:
        raise ValueError(f"expected detections of the classes {labels.classes}, got {detections.classes}")
    classes = labels.classes or detections.classes
    if classes and max(one.labels.max(initial=-1) for one in (detections, labels)) >= len(classes):
        raise ValueError(f"expected labels of the {len(classes)} classes {classes}, got others")
    rows: list[tuple] = []
    lonely: list[tuple[int, str, int]] = []  # labels that nothing overlaps
    overlapped = np.zeros(labels.n_boxes, bool)
    for image_id, one in labels:
        at = detections.position(image_id)
        start, stop = detections.offsets[at : at + 2]
        found, sure = detections[image_id], p[start:stop]
        overlap = rboxes.iou(found.boxes, one.boxes)
        first = int(labels.offsets[labels.position(image_id)])
        best = overlap.max(axis=0, initial=0)
        overlapped[first : first + one.n_boxes] = best >= near
        lonely += [(first + k, image_id, int(k)) for k in np.flatnonzero(best < near)]
        free = np.flatnonzero(overlap.max(axis=1, initial=0) < near)
        rows += [
            (image_id, "missed", sure[d], -1, d, 0.0, -1, found.labels[d], sure[d], *found.boxes[d, :2]) for d in free
        ]
        own = (found.labels[:, None] == one.labels) & (overlap >= same)
        confirmed = np.where(own, sure[:, None], 0).max(axis=0, initial=0)
        for d, k in zip(*_pairs(overlap, near, sure), strict=True):
            iou, was, seen = overlap[d, k], one.labels[k], found.labels[d]
            if was != seen and iou >= same:
                kind, doubt = "class", max(0.0, sure[d] - confirmed[k])
            elif was == seen and iou < same and not own[:, k].any():
                kind, doubt = "place", sure[d] * (1 - iou)
            else:
                continue
            rows.append((image_id, kind, doubt, k, d, iou, was, seen, sure[d], *one.boxes[k, :2]))
    found_rate = _found_rate(labels, overlapped)
    for row, image_id, k in lonely:
        was = labels.labels[row]
        doubt = invented / (invented + (1 - invented) * (1 - found_rate[was]))
        doubt *= 0.5 if labels.difficult is not None and labels.difficult[row] else 1
        rows.append((image_id, "spurious", doubt, k, -1, 0.0, was, -1, np.nan, *labels.boxes[row, :2]))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    for name in ("was", "found"):
        table[name] = [_name(k, classes) for k in table[name]]
    table = table[table["suspicion"] > 0].assign(suspicion=lambda t: t["suspicion"].astype(float).round(10))
    by = ["suspicion", "image_id", "kind", "label", "detection"]
    return table.sort_values(by, ascending=[False, True, True, True, True], ignore_index=True)


def rank_images(table: pd.DataFrame, image_ids: Sequence[str]) -> pd.DataFrame:
    """A row an image, the one whose labels are most in doubt first.

    ``score`` is ``1 - prod(1 - suspicion)`` over the gravest doubt of each kind: doubts of one kind in one image have
    one cause more often than not, such as a detector that fails on this image. Doubts below a tenth of the image's
    gravest are not counted.

    Args:
        table: of :func:`find_label_errors`.
        image_ids: all images that were judged.

    Returns:
        rank, image_id, score, the number of doubts of each kind (``n_missed``, ...), and ``why``, a sentence.

    Raises:
        ValueError: for a doubt about another image.
    """
    ids = list(image_ids)
    if len({*ids}) < len(ids):
        raise ValueError(f"expected distinct images, got {len(ids)} of which {len({*ids})} differ")
    if strange := sorted({*table["image_id"]} - {*ids}):
        raise ValueError(f"expected doubts about these {len(ids)} images, got one about {strange[0]!r}")
    gravest = table.groupby("image_id")["suspicion"].transform("max")
    kept = table[table["suspicion"] >= 0.1 * gravest]
    images = pd.DataFrame({"image_id": pd.Series(ids, dtype=object)})
    by_kind = kept.groupby(["image_id", "kind"])["suspicion"].max()
    score = 1 - (1 - by_kind).groupby("image_id").prod()
    images["score"] = images["image_id"].map(score).fillna(0.0).astype(float).round(10)
    for kind in KINDS:
        counts = kept[kept["kind"] == kind]["image_id"].value_counts()
        images[f"n_{kind}"] = images["image_id"].map(counts).fillna(0).astype(int)
    why = {image_id: _why(doubts) for image_id, doubts in kept.groupby("image_id")}
    images["why"] = images["image_id"].map(why).fillna("No label of this image is in doubt.")
    images = images.sort_values(["score", "image_id"], ascending=[False, True], ignore_index=True)
    images.insert(0, "rank", np.arange(1, len(images) + 1))
    return images


def _why(doubts: pd.DataFrame) -> str:
    """The gravest doubts in words."""
    told = []
    for row in doubts.head(3).to_dict("records"):
        place = f"at ({row['cx']:.0f}, {row['cy']:.0f})"
        sentence = {
            "missed": f"{row['found']} {place} has no label",
            "class": f"{row['was']} {place} looks like {row['found']}",
            "place": f"{row['was']} {place} seems to lie elsewhere (IoU {row['iou']:.2f})",
            "spurious": f"{row['was']} {place} was not seen",
        }[row["kind"]]
        told.append(f"{sentence} ({row['suspicion']:.2f})")
    more = len(doubts) - len(told)
    return f"{'; '.join(told)}{f'; and {more} more' if more else ''}."


def _pairs(overlap: NDArray, least: float, sure: NDArray) -> tuple[NDArray, NDArray]:
    worth = overlap * np.maximum(sure, 1e-9)[:, None]
    rows, columns = linear_sum_assignment(np.where(overlap >= least, worth, 0), maximize=True)
    good = overlap[rows, columns] >= least
    return rows[good], columns[good]


def _found_rate(labels: RotatedInstances, overlapped: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(C,) the share of each class's labels that a detection overlaps."""
    overall = float(overlapped.mean()) if len(overlapped) else 0.0
    total = np.bincount(labels.labels)
    return (np.bincount(labels.labels, overlapped) + _PRIOR * overall) / (total + _PRIOR)


def _name(k: int, classes: tuple[str, ...] | None) -> str:
    if k < 0:
        return ""
    return classes[k] if classes else str(k)


def _probabilities(detections: RotatedInstances, given: ArrayLike | None) -> NDArray[np.float64]:
    if detections.scores is None and detections.n_boxes:
        raise ValueError(f"expected detections with scores, got {detections!r}")
    scores = np.zeros(0) if detections.scores is None else detections.scores
    p = np.asarray(scores if given is None else given, np.float64)
    if p.shape != (detections.n_boxes,) or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(
            f"expected a probability in [0, 1] for each of {detections.n_boxes} detections, got {p.shape} from "
            f"{p.min(initial=np.inf):g} to {p.max(initial=-np.inf):g}"
        )
    return p
