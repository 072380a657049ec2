"""How much labelling a query may ask for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["Budget"]


@dataclass(frozen=True)
class Budget:
    """The most that one query may cost. Where several limits are given, all hold.

    Args:
        images: images to label.
        boxes: boxes to label, by the detector's own prediction: nobody knows the true number before the labelling.
            An image without a predicted box is charged as one box, because opening it and finding nothing is work.

    Raises:
        ValueError: when no limit is given, or one is not positive.
        TypeError: for a limit that is no integer.
    """

    images: int | None = None
    boxes: int | None = None

    def __post_init__(self) -> None:
        limits = {field.name: getattr(self, field.name) for field in fields(self)}
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

    def take(self, image_ids: Iterable[str], n_boxes: ArrayLike) -> list[str]:
        """Walk down a ranking and take each image that still fits.

        An image too dear for what is left is passed over and the walk goes on, so that the last boxes of a budget go
        to smaller images further down; one dearer than the whole budget is never taken.

        Args:
            image_ids: (M,) best first.
            n_boxes: (M,) predicted boxes of each.

        Returns:
            The ids taken, best first.

        Raises:
            ValueError: when the two differ in length.

        >>> Budget(boxes=4).take(["a", "b", "c", "d"], [3, 2, 0, 1])
        ['a', 'c']
        """
        images = float("inf") if self.images is None else self.images
        boxes = float("inf") if self.boxes is None else self.boxes
        ids, charges = list(image_ids), _charges(n_boxes).tolist()
        if len(ids) != len(charges):
            raise ValueError(f"expected n_boxes for each of {len(ids)} images, got {len(charges)}")
        taken: list[str] = []
        for image_id, charge in zip(ids, charges, strict=True):
            if len(taken) >= images or boxes < 1:
                break
            if charge <= boxes:
                taken.append(image_id)
                boxes -= charge
        return taken

    def covers(self, n_boxes: ArrayLike) -> bool:
        """Whether images with so many predicted boxes each, (M,), may be asked for together."""
        charges = _charges(n_boxes)
        return (self.images is None or len(charges) <= self.images) and (
            self.boxes is None or int(charges.sum()) <= self.boxes
        )


def _charges(n_boxes: ArrayLike) -> np.ndarray:
    return np.maximum(1, np.asarray(n_boxes, np.int64))
