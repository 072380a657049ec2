"""Budgets: how much labelling a query may ask for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .costs import ExpectedCost

__all__ = ["Budget"]


@dataclass(frozen=True)
class Budget:
    """The most that one query may cost. If several limits are given, all hold.

    Args:
        images: images to label.
        boxes: boxes to label, by those that the detector shows (scored at least 0.3, see
            :func:`al_rotate.sampling.shown`), since nobody knows the true number before the labelling. An image without
            one is charged as one box, because opening it and finding nothing is work.
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

    def _limits(self) -> NDArray[np.float64]:
        """(3,) images, boxes, seconds."""
        # Seconds are sums of floats: allow for rounding.
        slack = {"images": 0.0, "boxes": 0.0, "seconds": 1e-6}
        limits = {name: getattr(self, name) for name in slack}
        return np.array([np.inf if limit is None else limit + slack[name] for name, limit in limits.items()])

    def _charges(self, n_boxes: ArrayLike) -> NDArray[np.float64]:
        """(M, 3) of each image."""
        counts = np.asarray(n_boxes, np.int64)
        return np.column_stack(
            [np.ones(len(counts)), np.maximum(1, counts), (self.cost or ExpectedCost()).seconds(counts)]
        )
