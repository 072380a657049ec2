"""Our own strategy: calibrated uncertainty, stability, classes, diversity and cost in one; diversity alone at first."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...data import RotatedInstances
from ...data.views import DIHEDRAL
from ..context import QueryContext
from ..measures import consistency, coverage, diversity, quotas, uncertainty
from ..measures.aggregate import place_empty
from ..measures.distances import gain, unit
from ..measures.per_image import features_of, n_classes, sums, sums_by_class
from .base import DECIMALS, BatchStrategy, Columns, Picks, Rng
from .wrappers.start import is_weak

__all__ = ["HybridPicker", "hybrid"]


def hybrid(
    shortlist: float = 4.0,
    per_scene: int = 2,
    views: bool = False,
    weak_below: float = 0.1,
    class_gain: Literal["log", "root"] = "log",
    scene: str | None = None,
) -> BatchStrategy:
    """Pick images with the most to learn from for what they take of the budget, unlike each other.

    Ours. **While the detector is weak** its doubts are worth nothing, and the most typical images unlike the labelled
    ones are picked: diversity first, as Hacohen et al. (ICML 2022) advise. It is weak if its scores cannot be
    calibrated yet, or if its mAP on the labelled images, by detections from before it was trained on them, is below
    `weak_below`. **After that**:

    1. A box counts the entropy of its calibrated probability; an image what these add to the logarithm of the labels
       of each class, ``mean_c log(1 + h_c / (1 + n_c))``: thirty cars teach less than thirty times what one does, and
       little where there are hundreds; a class counts as much as any other, as in mAP. An image without a box counts
       the mean image times the rate at which such images held something.
    2. That is divided by what the image takes of the budget: of its boxes or its seconds, by the boxes that people are
       shown or, if these are fewer, the objects that it is expected to hold, so that neither crowded images are a
       bargain nor what only looks empty. A budget of images takes the same of each, and nothing is divided.
    3. The best ``shortlist * n`` images are kept, the first `per_scene` of each scene before the next ones.
    4. With `views`, their boxes count up to twice as much the more they move in the seven flips and quarter turns.
    5. n of them are picked by a determinantal point process: good ones that differ in their features and in the
       classes, sizes, shapes and directions of what they are predicted to hold.

    Args:
        shortlist: images kept for each one picked, at least 1.
        per_scene: images of one scene before the other scenes have had theirs.
        scene: a regular expression for a whole image id, whose first group is the scene that it is of, such as
            ``(.*)/.*`` for frames in one folder per video; None: MMRotate's names of tiles, see
            :func:`al_rotate.sampling.coverage.scene_of`.
        views: whether to detect in views of the shortlist: seven more forward passes for each of its images.
        weak_below: mAP in [0, 1].
        class_gain: ``root`` for what step 1 was before: the square roots of what the boxes of each class count, times
            MUS-CDB's shares of the classes, which differ by a factor of e at most; docs/older_comparisons.md compares
            the two.

    Raises:
        ValueError: for options out of range; later, for detections without image_features.
    """
    picker = HybridPicker(shortlist, per_scene, views, weak_below, class_gain, scene)
    needs = frozenset(["features", "labels", "labelled_features", *["views"] * views])
    return BatchStrategy(picker, needs, "uncertainty")


@dataclass(frozen=True)
class HybridPicker:
    """The options of `hybrid`, which documents them, and its steps."""

    shortlist: float
    per_scene: int
    views: bool
    weak_below: float
    class_gain: Literal["log", "root"]
    scene: str | None = None

    def __post_init__(self) -> None:
        if self.class_gain not in ("log", "root"):
            raise ValueError(f"expected class_gain to be log or root, got {self.class_gain!r}")
        if not self.shortlist >= 1 or self.per_scene < 1 or not 0 <= self.weak_below <= 1:
            raise ValueError(
                "expected shortlist and per_scene >= 1 and weak_below in [0, 1], "
                f"got {self.shortlist}, {self.per_scene} and {self.weak_below}"
            )
        coverage.require_scene_pattern(self.scene)

    def __call__(self, candidates: RotatedInstances, n: int, rng: Rng, context: QueryContext) -> Picks:
        if is_weak(context, self.weak_below):
            return self.pick_typical(candidates, n, rng, context)
        return self.pick_valuable(candidates, n, context)

    def pick_typical(self, candidates: RotatedInstances, n: int, rng: Rng, context: QueryContext) -> Picks:
        """Pick typical images unlike the labelled ones, while the detector is weak."""
        features, labelled = unit(features_of(candidates)), _labelled_features(context)
        order = diversity.most_typical(features, min(len(features), self._shortlisted(n)), labelled, rng)
        rows = self._spread_over_scenes(order, candidates)[:n]
        start = np.full(len(candidates), "diversity first")
        return rows, {"diversity_gain": gain(features, rows, labelled), "start": start}

    def pick_valuable(self, candidates: RotatedInstances, n: int, context: QueryContext) -> Picks:
        """Pick images of high value that differ, by steps 1 to 5."""
        features, p = unit(features_of(candidates)), context.calibration(candidates)
        entropy = uncertainty.entropy(p)
        # An image may hold more than people are shown: as many objects as the probabilities of all its boxes add up to.
        n_boxes = np.maximum(context.showing.counts(candidates), sums(p, candidates))
        price = np.ones(len(candidates)) if context.budget is None else context.budget.price(n_boxes)
        taught = self._teach(entropy, candidates, context)
        value = np.round(taught / price, DECIMALS)
        best_first = np.argsort(-value, kind="stable")
        shortlist = np.sort(self._spread_over_scenes(best_first, candidates)[: self._shortlisted(n)])
        columns: Columns = {}
        if self.views and candidates.n_boxes:
            moved = _instability(candidates, shortlist, context)
            value = np.round(self._teach(entropy * (1 + moved), candidates, context) / price, DECIMALS)
            columns["instability"] = np.full(len(candidates), np.nan)
            mean = sums(moved * p, candidates) / np.maximum(sums(p, candidates), 1e-9)
            columns["instability"][shortlist] = mean[shortlist]
        if self.views or np.ptp(price):  # else it would order images as what they teach does
            columns["value"] = value
        rows = shortlist[_diverse(candidates, features, shortlist, value, n, context)]
        return rows, {
            "uncertainty": taught,
            **columns,
            "diversity_gain": gain(features, rows, _labelled_features(context)),
            "expected_boxes": sums(p, candidates),
            "expected_seconds": context.cost.seconds(n_boxes),
            "fallback_score": value,
        }

    def _shortlisted(self, n: int) -> int:
        return int(np.ceil(self.shortlist * n))

    def _spread_over_scenes(self, rows: NDArray, candidates: RotatedInstances) -> NDArray[np.int64]:
        scene = partial(coverage.scene_of, pattern=self.scene)
        ids = coverage.spread_over_scenes(candidates.image_ids[rows], self.per_scene, scene)
        return np.array([candidates.position(image_id) for image_id in ids], np.int64)

    def _teach(self, of_boxes: NDArray, candidates: RotatedInstances, context: QueryContext) -> NDArray[np.float64]:
        """(M,) what each image teaches, from what its boxes count (N,)."""
        n = n_classes(candidates, context.labels)
        of_classes, counts = sums_by_class(of_boxes, candidates, n), context.class_counts(n)
        if self.class_gain == "log":
            taught = np.log1p(of_classes / (1 + counts)).mean(axis=1)
        else:
            taught = np.sqrt(of_classes) @ quotas.class_balance(counts, n)
        return place_empty(taught, candidates.counts == 0, "missed", context.missed_object_rate)


def _labelled_features(context: QueryContext) -> NDArray | None:
    return None if context.features is None else unit(context.features)


def _instability(candidates: RotatedInstances, shortlist: NDArray, context: QueryContext) -> NDArray[np.float64]:
    """(N,) how much each box of the shortlisted images moves between views; 0 for the others."""
    images = candidates.subset(candidates.image_ids[shortlist])
    matches = consistency.match(images, context.predict_views(images.image_ids.tolist(), DIHEDRAL))
    moved = np.zeros(candidates.n_boxes)
    inside = np.isin(candidates.image_index, shortlist)
    moved[inside] = consistency.instability(matches)  # the shortlist ascends, so the boxes keep their order
    return moved


def _diverse(
    candidates: RotatedInstances, features: NDArray, shortlist: NDArray, value: NDArray, n: int, context: QueryContext
) -> NDArray[np.int64]:
    """The places in the shortlist of n images that differ in their features and in what they hold."""
    images = candidates.subset(candidates.image_ids[shortlist])
    contents = unit(np.sqrt(coverage.contents(images, n_classes(candidates, context.labels))))
    quality = np.maximum(value[shortlist] / max(value[shortlist].max(), 1e-12), 1e-3)
    return diversity.determinantal(np.hstack([features[shortlist], contents]), n, quality)
