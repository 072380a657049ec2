"""Budgets: how much labelling a query may ask for."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .costs import ExpectedCost

__all__ = ["Budget"]

_LEAST_PRICE = 1e-6
_FOLLOWED = 4  # tries that follow what was bought, before the range is halved


@dataclass(frozen=True)
class Budget:
    """The most that one query may cost. If several limits are given, all hold.

    Args:
        images: images to label.
        boxes: boxes to label, by the predicted ones that people are shown (see :mod:`al_rotate.sampling.showing`),
            since nobody knows the true number before the labelling. An image without one is charged as one box,
            because opening it and finding nothing is work.
        seconds: of labelling, as `cost` expects them.
        cost: of images by their predicted boxes; by default assumed, in a loop learnt from its answers.

    Raises:
        ValueError: if no limit is given, or one is not positive.
        TypeError: for a limit that is not an integer.
    """

    images: int | None = None
    boxes: int | None = None
    seconds: int | None = None
    cost: ExpectedCost | None = None

    def __post_init__(self) -> None:
        limits = {name: getattr(self, name) for name in ("images", "boxes", "seconds")}
        if isinstance(self.cost, Mapping):  # as a workspace stores it
            object.__setattr__(self, "cost", ExpectedCost(**self.cost))
        if all(limit is None for limit in limits.values()):
            raise ValueError(f"expected a budget in {' or '.join(limits)}, got none: for instance Budget(images=100)")
        for name, limit in limits.items():
            if limit is None:
                continue
            if isinstance(limit, bool) or not isinstance(limit, int | np.integer):
                raise TypeError(f"expected an integer budget of {name}, got {limit!r}")
            if limit < 1:
                raise ValueError(f"expected a budget of at least one of {name}, got {limit}")
            object.__setattr__(self, name, int(limit))

    def __repr__(self) -> str:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return f"Budget({', '.join(f'{name}={value!r}' for name, value in values.items() if value is not None)})"

    def take(self, image_ids: Iterable[str], n_boxes: ArrayLike) -> list[str]:
        """Walk down a ranking and take each image that still fits.

        An image too expensive for what is left is skipped, so that the last of a budget goes to smaller images further
        down; one more expensive than the whole budget is never taken.

        Args:
            image_ids: (M,) best first.
            n_boxes: (M,) boxes of each that people are shown.

        Returns:
            The ids taken, best first.

        Raises:
            ValueError: if the two differ in length.

        >>> Budget(boxes=4).take(["a", "b", "c", "d"], [3, 2, 0, 1])
        ['a', 'c']
        """
        ids, charges = list(image_ids), self._charges(n_boxes)
        if len(ids) != len(charges):
            raise ValueError(f"expected n_boxes for each of {len(ids)} images, got {len(charges)}")
        images, boxes, seconds = self._limits().tolist()
        _, fewest, quickest = charges.min(axis=0, initial=np.inf).tolist()
        taken: list[str] = []
        for image_id, (_, n, duration) in zip(ids, charges.tolist(), strict=True):
            if images < 1 or boxes < fewest or seconds < quickest:
                break
            if n <= boxes and duration <= seconds:
                taken.append(image_id)
                images, boxes, seconds = images - 1, boxes - n, seconds - duration
        return taken

    def covers(self, n_boxes: ArrayLike) -> bool:
        """Tell whether images with so many predicted boxes each, (M,), fit together."""
        return bool((self._charges(n_boxes).sum(axis=0) <= self._limits()).all())

    def most(self, n_boxes: ArrayLike) -> int:
        """Count how many of images with so many predicted boxes each, (M,), fit if the smallest are taken.

        >>> Budget(boxes=4).most([3, 2, 0, 1])
        3
        """
        charges = np.sort(self._charges(n_boxes), axis=0).cumsum(axis=0)
        return int((charges <= self._limits()).all(axis=1).sum())

    def settle(self, order_for: Callable[[int], ArrayLike], n_boxes: ArrayLike) -> int:
        """Find how many images this buys in an order that depends on their number itself.

        Quotas, shortlists and clusters are made for n images, and what n images cost is known once they are chosen: a
        strategy that asks for crowded ones gets fewer than one that asks for small ones. Wanted is the n of which the
        budget buys n, in the order made for n. The first try is what it buys at the mean price; each next one is what
        was bought, as long as that lies between the largest n known to be too small and the smallest known to be too
        large; after four tries, or where that leads outside (as a cycle does), the middle of the two. So it ends after
        a few tries, at most 4 plus the binary logarithm of the images that could fit. If several n will do, the first
        that is found is taken.

        Args:
            order_for: n -> (M,) all rows, best first, as the strategy orders them for n images.
            n_boxes: (M,) boxes of each that people are shown.

        Returns:
            n, which `order_for` was called with, or 0 if no image fits. If the budget buys more than n in the order for
            n and fewer than n + 1 in that for n + 1, there is none such near by, and n is the answer: nothing that was
            wanted is left out, and what is left of the budget goes to the images behind.

        >>> Budget(boxes=6).settle(lambda n: [0, 1, 2, 3], [3, 2, 1, 1])
        3
        """
        counts = np.asarray(n_boxes)
        if not (most := self.most(counts)):
            return 0
        mean = self._charges(counts).mean(axis=0)
        n = int(np.clip(np.min(self._limits() / np.maximum(mean, 1e-9)), 1, most))
        low, high = 0, most + 1  # at `low` at least as many are bought, at `high` fewer
        for tries in itertools.count(1):
            order = np.asarray(order_for(n), np.int64)
            bought = len(self.take(map(str, order), counts[order]))
            if bought == n:
                break
            low, high = (n, high) if bought > n else (low, n)
            if high - low <= 1:
                return low
            n = bought if low < bought < high and tries < _FOLLOWED else (low + high) // 2
        return n

    def price(self, n_boxes: ArrayLike) -> NDArray[np.float64]:
        """Return the share of this budget that each image takes, by its boxes, (M,): what their value is divided by.

        With several limits it is the sum of the shares of each, as in greedy heuristics for knapsacks with several
        constraints (Kellerer, Pferschy and Pisinger, Knapsack Problems, 2004, chapter 9). An image that is expected to
        take no time takes a millionth of the budget, so that values can be divided by it.

        >>> Budget(boxes=4).price([2, 0]).tolist()
        [0.5, 0.25]
        >>> Budget(images=5).price([2, 0]).tolist()
        [0.2, 0.2]
        """
        return np.maximum((self._charges(n_boxes) / self._limits()).sum(axis=1), _LEAST_PRICE)

    def _limits(self) -> NDArray[np.float64]:
        """(3,) images, boxes, seconds."""
        # Seconds are sums of floats: allow for rounding.
        slack = {"images": 0.0, "boxes": 0.0, "seconds": 1e-6}
        limits = {name: getattr(self, name) for name in slack}
        return np.array([np.inf if limit is None else limit + slack[name] for name, limit in limits.items()])

    def _charges(self, n_boxes: ArrayLike) -> NDArray[np.float64]:
        """(M, 3) of each image."""
        counts = np.asarray(n_boxes, np.float64)
        return np.column_stack(
            [np.ones(len(counts)), np.maximum(1, counts), (self.cost or ExpectedCost()).seconds(counts)]
        )
