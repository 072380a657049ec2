"""Our own strategy: calibrated uncertainty, stability, classes, diversity and cost in one; diversity alone at first."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...data.instances import RotatedInstances
from ...data.views import DIHEDRAL
from ..context import QueryContext
from ..measures import consistency, coverage, diversity, quotas, uncertainty
from ..measures.aggregate import place_empty
from ..measures.distances import gain, unit
from ..measures.per_image import features_of, n_classes, shown, sums, sums_by_class
from .base import BatchStrategy, Rng

__all__ = ["hybrid"]


def hybrid(
    shortlist: float = 4.0,
    per_scene: int = 2,
    views: bool = False,
    weak_below: float = 0.1,
    class_gain: Literal["log", "root"] = "log",
) -> BatchStrategy:
    """Images with the most to learn from for each second of labelling, unlike each other.

    Ours. **While the detector is weak** (its scores cannot be calibrated yet, or its mAP on the labelled images, by
    detections from before it was trained on them, is below `weak_below`) its doubts are worth nothing and the most
    typical images unlike the labelled ones are picked: diversity first, as Hacohen et al. (ICML 2022) advise. **After
    that**:

    1. a box counts the entropy of its calibrated probability; an image what these add to the logarithm of the labels
       of each class, ``mean_c log(1 + h_c / (1 + n_c))``: thirty cars teach less than thirty times what one does, and
       nothing much where there are hundreds; a class counts as much as any other, as in mAP. One without a box counts
       the mean image times the rate at which such images held something;
    2. that is divided by the seconds that it is expected to take, by the boxes that people are shown or, if
       these are fewer, the objects that it is expected to hold: crowded images are no bargain, nor is what looks empty;
    3. the best ``shortlist * n`` images are kept, after the first `per_scene` of a scene those of other scenes;
    4. with `views`, their boxes count up to twice as much the more they move in the seven flips and quarter turns;
    5. n of them are picked by a determinantal point process: good ones that differ in their features and in the
       classes, sizes, shapes and directions of what they are predicted to hold.

    Args:
        shortlist: images kept for each one picked, at least 1.
        per_scene: tiles of one scene before the other scenes have had theirs, see
            :func:`al_rotate.sampling.coverage.scene_of`.
        views: whether to look at the shortlist from other sides: seven more forward passes for each of its images.
        weak_below: mAP in [0, 1].
        class_gain: ``root`` for what 1. was before: the square roots of what the boxes of each class count, times
            MUS-CDB's shares of the classes, which differ by a factor of e at most; docs/evidence.md compares the two.

    Raises:
        ValueError: for options out of range; later, for detections without image_features.
    """
    if class_gain not in ("log", "root"):
        raise ValueError(f"expected class_gain to be log or root, got {class_gain!r}")
    if not shortlist >= 1 or per_scene < 1 or not 0 <= weak_below <= 1:
        raise ValueError(
            f"expected shortlist and per_scene >= 1 and weak_below in [0, 1], got {shortlist}, {per_scene}"
        )

    def pick(candidates: RotatedInstances, n: int, rng: Rng, known: QueryContext) -> tuple[NDArray, dict[str, NDArray]]:
        features, position = unit(features_of(candidates)), {i: k for k, i in enumerate(candidates.image_ids)}

        def spread(rows: NDArray) -> NDArray[np.int64]:
            ids = coverage.spread_over_scenes(candidates.image_ids[rows], per_scene)
            return np.array([position[image_id] for image_id in ids], np.int64)

        if known.calibration.notice or known.held_out_map < weak_below:
            selected = None if known.features is None else unit(known.features)
            order = diversity.most_typical(features, min(len(features), int(np.ceil(shortlist * n))), selected, rng)
            rows = spread(order)[:n]
            start = np.full(len(candidates), "diversity first")
            return rows, {"diversity_gain": gain(features, rows, selected), "start": start}

        p = known.calibration(candidates)
        many = n_classes(candidates, known)
        doubt = uncertainty.entropy(p)
        # An image may hold more than people are shown: as many objects as the probabilities of all its boxes add up to.
        seconds = known.cost.seconds(np.maximum(shown(candidates), sums(p, candidates)))

        def lesson(of_boxes: NDArray) -> NDArray[np.float64]:
            of_classes = sums_by_class(of_boxes, candidates, many)
            counts = known.class_counts(many)
            if class_gain == "log":
                taught = np.log1p(of_classes / (1 + counts)).mean(axis=1)
            else:
                taught = np.sqrt(of_classes) @ quotas.class_balance(counts, many)
            return place_empty(taught, candidates.counts == 0, "missed", known.missed_rate)

        value = np.round(lesson(doubt) / seconds, 10)
        first = np.sort(spread(np.argsort(-value, kind="stable"))[: int(np.ceil(shortlist * n))])
        columns = {}
        if views and candidates.n_boxes:
            inside = np.isin(candidates.image_index, first)
            some = candidates.subset(candidates.image_ids[first])
            matches = consistency.match(some, known.seen(some.image_ids.tolist(), DIHEDRAL))
            moved = np.zeros(candidates.n_boxes)
            moved[inside] = consistency.instability(matches)  # `first` ascends, so that the boxes keep their order
            value = np.round(lesson(doubt * (1 + moved)) / seconds, 10)
            columns["instability"] = np.full(len(candidates), np.nan)
            columns["instability"][first] = (sums(moved * p, candidates) / np.maximum(sums(p, candidates), 1e-9))[first]
        holds = unit(np.sqrt(coverage.contents(candidates.subset(candidates.image_ids[first]), many)))
        both = np.hstack([features[first], holds])
        quality = np.maximum(value[first] / max(value[first].max(), 1e-12), 1e-3)
        rows = first[diversity.determinantal(both, n, quality)]
        return rows, {
            "uncertainty": lesson(doubt),
            "value": value,
            **columns,
            "diversity_gain": gain(features, rows, None if known.features is None else unit(known.features)),
            "expected_boxes": sums(p, candidates),
            "expected_seconds": seconds,
            "otherwise": value,
        }

    needs = frozenset(["features", "labels", "labelled_features", *["views"] * views])
    return BatchStrategy(pick, needs)
