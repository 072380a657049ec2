"""Labelling times: seconds = a + b * boxes + c * corrections, learnt from the answers so far."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import nnls

from ..evaluation import corrections

__all__ = ["CostModel", "ExpectedCost", "FittedCost", "fit", "least_probability"]

LEAST_IMAGES = 20  # with a known time, below which nothing is fitted
_CORRECTIONS = ["n_added", "n_moved", "n_relabelled", "n_deleted"]
_LEAST_UNTOUCHED = 5  # images on which nothing was shown or done, to tell from what opening one takes
_RESAMPLES = 200
_NAMES = ("image", "box", "correction", "corrections_per_box", "corrections_per_image")


@dataclass(frozen=True)
class ExpectedCost:
    """The seconds that an image is expected to take, by the number of boxes shown.

    The defaults are **assumptions** that follow from those of :class:`CostModel`, to be replaced by :func:`fit`.

    Args:
        image: to open an image and look it over.
        box: to look at a predicted box, whatever becomes of it.
        correction: to add, move, relabel or delete a box, on average; assumed is what it takes to move one.
        corrections_per_box: corrections to expect for each box that is shown.
        corrections_per_image: further corrections for each image, such as objects that the detector missed.

    Raises:
        ValueError: for a value that is negative or not finite, or if all costs are 0.
    """

    image: float = 5.0
    box: float = 1.5
    correction: float = 5.0
    corrections_per_box: float = 1.0
    corrections_per_image: float = 0.0

    def __post_init__(self) -> None:
        values = [getattr(self, field.name) for field in fields(self)]
        if not all(np.isfinite(value) and value >= 0 for value in values) or not any(values[:3]):
            raise ValueError(f"expected finite seconds >= 0 and some above, got {self}")

    @classmethod
    def assumed(cls, cost: CostModel) -> ExpectedCost:
        """Return what to assume before anything is fitted, where corrections take these times.

        Where opening an image, looking at a box and moving it take no time, only drawing counts: a box is taken for one
        that is drawn. Where that takes none either, the defaults are assumed.

        >>> ExpectedCost.assumed(CostModel()) == ExpectedCost()
        True
        """
        if cost.image or cost.kept or cost.moved:
            return cls(cost.image, cost.kept, cost.moved)
        return cls(0.0, 0.0, cost.added) if cost.added else cls()

    def seconds(self, n_boxes: ArrayLike) -> NDArray[np.float64]:
        """Return the seconds for images with so many boxes shown each, (M,).

        >>> ExpectedCost(image=5, box=1, correction=4, corrections_per_box=0.5).seconds([0, 10]).tolist()
        [5.0, 35.0]
        """
        boxes = np.asarray(n_boxes, np.float64)
        corrections = self.corrections_per_image + self.corrections_per_box * boxes
        return self.image + self.box * boxes + self.correction * corrections


@dataclass(frozen=True)
class FittedCost:
    """The result of :func:`fit`.

    Attributes:
        cost: to estimate with.
        intervals: one row for each field of the cost: value, low, high (90 %, bootstrap over images); NaN bounds if it
            is assumed.
        n_images: with a known time.
        notice: why the times are assumed and not fitted; None if they are fitted.
    """

    cost: ExpectedCost
    intervals: pd.DataFrame
    n_images: int
    notice: str | None = None


def fit(ledger: pd.DataFrame, assumed: ExpectedCost | None = None, seed: int = 0) -> FittedCost:
    """Learn from the labelling times so far.

    Times have long tails: somebody answers the door with a task open. The three rates, none below 0, are fitted by
    iterated least squares with Huber's weights on the residuals in units of their spread (Huber 1964). An image takes
    no less than those on which no box was shown and nothing was done, within the error of their median. The boxes that
    were shown of an answered image are its labels, less the added, plus the deleted ones. The expected corrections are
    a line through the corrections of the shown boxes, by least squares, also not below 0. Rounds that showed no box,
    because nothing was trained yet, do not count for it; if there are no others, what follows from the boxes shown is
    as assumed.

    Args:
        ledger: of :meth:`al_rotate.Workspace.ledger`; skipped images and unknown times are left out.
        assumed: fallback with fewer than 20 images whose time is known.
        seed: of the bootstrap.

    Raises:
        ValueError: for a ledger without the columns.
    """
    assumed = assumed or ExpectedCost()
    if missing := [name for name in ("status", "n_boxes", "seconds", *_CORRECTIONS) if name not in ledger]:
        raise ValueError(f"expected a ledger with {', '.join(missing)}, got columns {', '.join(map(str, ledger))}")
    rows = ledger[ledger["status"] == "labelled"].dropna(subset=["seconds", *_CORRECTIONS])
    rows = rows[rows["seconds"].astype(float) > 0]
    if len(rows) < LEAST_IMAGES:
        notice = f"labelling times are assumed: {len(rows)} answers have a known time, {LEAST_IMAGES} are needed"
        table = pd.DataFrame({"value": [getattr(assumed, name) for name in _NAMES]}, index=list(_NAMES))
        return FittedCost(assumed, table.assign(low=np.nan, high=np.nan), len(rows), notice)
    corrections = rows[_CORRECTIONS].astype(float).sum(axis=1).to_numpy()
    shown = (rows["n_boxes"] - rows["n_added"] + rows["n_deleted"]).astype(float).clip(lower=0).to_numpy()
    rounds = rows["round"] if "round" in rows else pd.Series(0, rows.index)
    shown_in_round = pd.Series(shown, rows.index).groupby(rounds).transform("sum").to_numpy()
    seconds = rows["seconds"].astype(float).to_numpy()
    data = np.column_stack([np.ones(len(rows)), shown, corrections, seconds, shown_in_round])
    value = _rates(data, assumed)
    rng = np.random.default_rng(seed)
    resampled = np.array([_rates(data[rng.integers(0, len(data), len(data))], assumed) for _ in range(_RESAMPLES)])
    low, high = np.quantile(resampled, [0.05, 0.95], axis=0)
    table = pd.DataFrame({"value": value, "low": low, "high": high}, index=list(_NAMES))
    return FittedCost(ExpectedCost(*map(float, value)), table, len(rows))


def _rates(data: NDArray[np.float64], assumed: ExpectedCost) -> NDArray[np.float64]:
    """The fields of a cost, from rows of (1, shown, corrections, seconds, shown in the whole round)."""
    inputs, seconds = data[:, :3], data[:, 3]
    # Corrections take 2 s or 12 s. Their mean rate can explain all that opening takes, and images would be for nothing.
    untouched = seconds[~data[:, 1:3].any(axis=1)]
    least = _surely(untouched) if len(untouched) >= _LEAST_UNTOUCHED else min(assumed.image, float(seconds.min()))
    rates, weights = np.zeros(3), np.ones(len(data))
    for _ in range(50):  # iterated least squares, with less weight on outliers
        root = np.sqrt(weights)
        before, rates = rates, nnls(inputs * root[:, None], (seconds - least) * root)[0]
        rates[0] += least
        if np.allclose(rates, before, rtol=1e-9):
            break
        residuals = seconds - inputs @ rates
        weights = np.minimum(1, 1.345 * max(_spread(residuals), 1e-3) / np.maximum(np.abs(residuals), 1e-9))
    if not rates.any():
        rates[0] = float(np.median(seconds))
    informative = inputs[data[:, 4] > 0]
    if not len(informative):
        correction = rates[2] if inputs[:, 2].any() else assumed.correction
        return np.array([rates[0], assumed.box, correction, assumed.corrections_per_box, assumed.corrections_per_image])
    per_image, per_box = nnls(informative[:, :2], informative[:, 2])[0]
    return np.append(rates, [per_box, per_image])


def _surely(seconds: NDArray[np.float64]) -> float:
    """What the median is not below: it, less two of its standard errors, which are 1.25 times those of a mean."""
    return max(0.0, float(np.median(seconds)) - 2 * 1.2533 * _spread(seconds) / len(seconds) ** 0.5)


def _spread(values: NDArray[np.float64]) -> float:
    """The standard deviation, by the median of the absolute deviations."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


@dataclass(frozen=True)
class CostModel:
    """Seconds of a person's time for each correction: they decide what is shown, and strategies are compared by them.

    Which boxes count as kept and which as moved is one rule, :class:`al_rotate.evaluation.tolerance.Tolerance`.

    The defaults are **assumptions**. What was measured is for upright boxes; of rotated ones we know no measurement,
    and their angle is one more thing to get right. docs/costs.md has the figures and their sources.

    Args:
        image: to open an image and look it over.
        added: to draw a box. Measured: 7 s by four extreme points, 35 s for a box of ImageNet's quality.
        moved: to see that a predicted box is off, and mend it.
        relabelled: to see that its class is wrong, and change it.
        deleted: to see that it lies on no object, and delete it.
        kept: to look at a box that is right. Measured: 1.6 to 1.8 s.

    Raises:
        ValueError: for a value that is negative or not finite.
    """

    image: float = 5.0
    added: float = 12.0
    moved: float = 5.0
    relabelled: float = 3.0
    deleted: float = 2.0
    kept: float = 1.5

    def __post_init__(self) -> None:
        if not all(np.isfinite(value := getattr(self, field.name)) and value >= 0 for field in fields(self)):
            raise ValueError(f"expected finite seconds >= 0, got {self}")

    def seconds(self, counts: pd.DataFrame) -> pd.Series:
        """Return the seconds of each image of :func:`al_rotate.corrections.counts`."""
        return self.image + sum(getattr(self, name) * counts[f"n_{name}"] for name in corrections.COUNTS)

    def from_nothing(self, n_boxes: ArrayLike) -> NDArray[np.float64]:
        """Return the seconds of images on which so many boxes each, (M,), are drawn and none is shown.

        >>> CostModel().from_nothing([0, 3]).tolist()
        [5.0, 41.0]
        """
        return self.image + self.added * np.asarray(n_boxes, np.float64)


def least_probability(cost: CostModel | None = None, mend: ArrayLike | None = None) -> NDArray:
    """Return the probability from which on a predicted box is worth showing to a person.

    Let p be the probability that the box lies on an object, of whatever class. Shown, it takes `mend` with probability
    p and ``deleted`` with 1 - p. Not shown, the object has to be drawn: ``p * added``. Showing it takes less if
    ``p * mend + (1 - p) * deleted < p * added``, so if ``p > deleted / (added - mend + deleted)``. At the default
    costs, with every box on an object moved, that is 2 / 9 = 0.22; at 35 s a drawn box 2 / 32 = 0.06. The same choice,
    with verification in place of correction, is in Konyushkova et al., "Learning Intelligent Dialogs for Bounding Box
    Annotation" (CVPR 2018).

    Args:
        cost: of the corrections.
        mend: seconds that a box on an object is expected to take, one number or one for each class, (C,); None: it is
            moved.

    Returns:
        () or (C,), in the shape of `mend`; inf where mending takes as long as drawing, and no box is worth showing.

    Raises:
        ValueError: for times that are negative or not finite.

    >>> least_probability(mend=[5, 3, 20]).round(2).tolist()
    [0.22, 0.18, inf]
    """
    cost = cost or CostModel()
    mended = np.asarray(cost.moved if mend is None else mend, np.float64)
    if not (np.isfinite(mended).all() and (mended >= 0).all()):
        raise ValueError(f"expected finite seconds >= 0, got mend={mend!r}")
    spared = cost.added - mended
    return np.where(spared > 0, cost.deleted / np.where(spared > 0, spared + cost.deleted, 1), np.inf)
