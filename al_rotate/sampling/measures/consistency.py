"""Consistency: whether a detector finds the same boxes when the image is flipped, turned, scaled or made noisy.

:meth:`al_rotate.Detector.predict_views` returns the detections in each view, mapped back into the image. :func:`match`
pairs them with the detections in the image itself, and the other functions turn the pairs into scores of boxes. Higher
means less consistent, hence more worth labelling. In arrays (N, V), a row is a box of the image and a column a view.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment
from scipy.special import rel_entr

from ...boxes import iou
from ...data import RotatedInstances

__all__ = ["Matches", "angle_spread", "cald", "class_divergence", "instability", "match", "missing_rate"]


@dataclass(frozen=True)
class Matches:
    """The match of each box in each view; NaN where the view has none.

    Attributes:
        iou: (N, V) rotated IoU with the box of the view.
        score: (N, V) that box's score.
        turn: (N, V) the angle by which it is turned, clockwise in radians, in [-pi/2, pi/2).
        divergence: (N, V) Jensen-Shannon divergence of the two class distributions, in bits, in [0, 1].
    """

    iou: NDArray[np.float64]
    score: NDArray[np.float64]
    turn: NDArray[np.float64]
    divergence: NDArray[np.float64]


def match(reference: RotatedInstances, views: Sequence[RotatedInstances], least: float = 0.1) -> Matches:
    """Pair the boxes of each image with those of its views, one to one, for the largest sum of rotated IoUs.

    By the Hungarian method, whatever the classes: that a ship becomes a harbour is disagreement about a box, not a
    missing one. The class distributions that are compared are the rows of the class scores, normalised; without class
    scores, the score for the label and the rest for everything else.

    Args:
        reference: detections in the images.
        views: detections in each view, mapped back; with scores, for all images of `reference`.
        least: rotated IoU below which two boxes are not of one object.

    Raises:
        ValueError: without scores or views, or for a view that lacks an image; names it.
    """
    if not views:
        raise ValueError("expected at least one view, got none")
    for view in (reference, *views):
        if view.n_boxes and view.scores is None:
            raise ValueError(f"expected detections with scores, got {view!r}")
    shape = (reference.n_boxes, len(views))
    matches = Matches(*(np.full(shape, np.nan) for _ in range(4)))
    for column, view in enumerate(views):
        if missing := [image_id for image_id in reference.image_ids if image_id not in view]:
            raise ValueError(f"expected every image in view {column}, got none of {missing[0]!r}")
        for position, image_id in enumerate(reference.image_ids):
            start, stop = reference.offsets[position : position + 2]
            at = view.position(image_id)
            first, last = view.offsets[at : at + 2]
            overlap = iou(reference.boxes[start:stop], view.boxes[first:last])
            rows, columns = linear_sum_assignment(np.where(overlap >= least, overlap, 0), maximize=True)
            good = overlap[rows, columns] >= least
            a, b = rows[good] + start, columns[good] + first
            if not len(a):
                continue
            assert view.scores is not None
            matches.iou[a, column] = overlap[rows[good], columns[good]]
            matches.score[a, column] = view.scores[b]
            matches.turn[a, column] = _turn(reference.boxes[a], view.boxes[b])
            matches.divergence[a, column] = _divergence(reference, a, view, b)
    return matches


def instability(matches: Matches) -> NDArray[np.float64]:
    """Compute one minus the mean IoU over the views, (N,); a missing box counts as 0.

    One minus the localisation stability of Kao et al. (ACCV 2018), with any views instead of noise alone, and with one
    matched box per view instead of the best of all.
    """
    return 1 - np.nan_to_num(matches.iou).mean(axis=1)


def missing_rate(matches: Matches) -> NDArray[np.float64]:
    """Compute the share of views that lack the box, (N,)."""
    return np.isnan(matches.iou).mean(axis=1)


def angle_spread(matches: Matches, boxes: ArrayLike) -> NDArray[np.float64]:
    """Measure the spread of the directions: one minus the mean resultant length, with the box's own period.

    A rectangle looks the same after half a turn, a square after a quarter turn: doubled angles are averaged for the
    first, fourfold ones for the second, and boxes in between mix the two by their shape. The same weight scales the
    result, since the direction of a near-square says little: 0 for a square. The measure is ours; circular statistics
    as in Mardia and Jupp, "Directional Statistics" (2000), sections 2.3 and 2.6.

    Args:
        matches: of the boxes.
        boxes: (N, 5), the image's own.

    Returns:
        (N,) in [0, 1]; the box itself is one of the directions, so a box without a match has no spread.
    """
    sides = np.sort(np.asarray(boxes, np.float64)[:, 2:4], axis=1)
    elongated = 1 - sides[:, 0] / np.maximum(sides[:, 1], 1e-9)  # 0 for a square, towards 1 for a needle
    turns = np.column_stack([np.zeros(len(sides)), matches.turn])
    half, quarter = (1 - np.abs(np.nanmean(np.exp(1j * period * turns), axis=1)) for period in (2, 4))
    return elongated * (elongated * half + (1 - elongated) * quarter)


def class_divergence(matches: Matches) -> NDArray[np.float64]:
    """Compute the mean Jensen-Shannon divergence from the views' classes in bits, (N,); 0 if no view has the box."""
    matched = ~np.isnan(matches.divergence)
    return np.where(matched, matches.divergence, 0).sum(axis=1) / np.maximum(matched.sum(axis=1), 1)


def cald(matches: Matches, scores: ArrayLike, base: float = 1.3) -> NDArray[np.float64]:
    """Compute CALD's inconsistency, (N, V), turned so that higher is worse: ``-|IoU + (1 - JS)(p + p') / 2 - base|``.

    Yu et al., "Consistency-based Active Learning for Object Detection" (CVPRW 2022, arXiv 2103.10374): the best score
    is near, not at, the highest possible 2, since perfect agreement teaches nothing and utter disagreement is a false
    alarm. An image takes the worst box of each view and the mean over its views. A box that a view lacks has IoU 0
    and the mean score p / 2.

    Args:
        matches: of the boxes.
        scores: (N,) of the image's own boxes.
        base: beta of the paper.
    """
    p = np.asarray(scores, np.float64)[:, None]
    divergence = np.where(np.isnan(matches.divergence), 0, matches.divergence)
    agreement = np.nan_to_num(matches.iou) + 0.5 * (1 - divergence) * (p + np.nan_to_num(matches.score))
    return -np.abs(agreement - base)


def _turn(a: NDArray, b: NDArray) -> NDArray[np.float64]:
    """From a to b, in [-pi/2, pi/2)."""
    return (b[:, 4].astype(np.float64) - a[:, 4] + np.pi / 2) % np.pi - np.pi / 2


def _divergence(image: RotatedInstances, a: NDArray, view: RotatedInstances, b: NDArray) -> NDArray[np.float64]:
    """(K,) Jensen-Shannon divergence of the classes of boxes a of the image and b of the view."""
    if image.class_scores is not None and view.class_scores is not None:
        p, q = (np.maximum(x.astype(np.float64), 1e-12) for x in (image.class_scores[a], view.class_scores[b]))
        p, q = p / p.sum(axis=1, keepdims=True), q / q.sum(axis=1, keepdims=True)
    else:
        p, q = _two_labels(image, a, view, b)
    middle = (p + q) / 2
    return np.clip((rel_entr(p, middle) + rel_entr(q, middle)).sum(axis=1) / (2 * np.log(2)), 0, 1)


def _two_labels(image: RotatedInstances, a: NDArray, view: RotatedInstances, b: NDArray) -> tuple[NDArray, NDArray]:
    """Distributions over the label in the image, the label in the view, and the rest, (K, 3) each."""
    assert image.scores is not None
    assert view.scores is not None
    s, t = image.scores[a].astype(np.float64), view.scores[b].astype(np.float64)
    same = image.labels[a] == view.labels[b]
    nothing = np.zeros(len(a))
    p = np.column_stack([s, nothing, 1 - s])
    q = np.where(same[:, None], np.column_stack([t, nothing, 1 - t]), np.column_stack([nothing, t, 1 - t]))
    return p, q
