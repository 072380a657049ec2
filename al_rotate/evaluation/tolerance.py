"""Which boxes a person leaves alone: the one rule behind "kept" and "moved"."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import boxes

__all__ = ["Tolerance", "corner_distances"]


@dataclass(frozen=True)
class Tolerance:
    """How far a box may be from the one that a person would draw for the person to leave it alone.

    A person moves a box if they expect the new one to be better. Their own boxes scatter, too: if the corners of one
    are off by s (root mean square), two drawings of one object differ by sqrt(2) s. A box that differs from theirs by
    no more is, as far as they can tell, as good as what they would put in its place, and moving it would take time for
    nothing. So the tolerance is how far two drawings of one object differ, as a root mean square over the corners:
    ``max(pixels, hypot(share * shorter side, half the diagonal * angle))``.

    The default share is that of careful people: for squares it gives an IoU of 0.88 between two drawings
    (``1 - 4 E|e|``, edges off by e of standard deviation 0.05 / sqrt(2) sides each, gives 0.89), what Papadopoulos et
    al., "Extreme clicking for efficient object annotation" (ICCV 2017), report for two ways of drawing the objects of
    PASCAL VOC (the figure is from memory). A fixed IoU such as 0.9 would ask for a tenth of a pixel on a small object
    and for an agreement that two people do not have. That small objects need an allowance in pixels is from ILSVRC
    (Russakovsky et al. 2015, which gives five on each side); one pixel is an assumption, and on the strict side.

    Args:
        share: of the shorter side of the person's box.
        pixels: the least, whatever the size.
        degrees: by which the angles of two drawings differ besides, root mean square.

    Raises:
        ValueError: for a value that is negative or not finite.
    """

    share: float = 0.05
    pixels: float = 1.0
    degrees: float = 0.0

    def __post_init__(self) -> None:
        if not all(np.isfinite(value := getattr(self, field.name)) and value >= 0 for field in fields(self)):
            raise ValueError(f"expected finite values >= 0, got {self}")

    def leaves(self, predicted: ArrayLike, drawn: ArrayLike) -> NDArray[np.bool_]:
        """Tell which boxes are left alone, (K,).

        Args:
            predicted: (K, 5) boxes that the person sees.
            drawn: (K, 5) what the person would draw instead of each.

        >>> Tolerance().leaves([[10, 10, 80, 40, 0], [10, 10, 80, 40, 0]], [[12, 10, 80, 40, 0], [13, 10, 80, 40, 0]])
        array([ True, False])
        """
        a, b = (np.asarray(part, np.float64).reshape(-1, 5) for part in (predicted, drawn))
        shorter, half_diagonal = b[:, 2:4].min(axis=1, initial=np.inf), np.hypot(b[:, 2], b[:, 3]) / 2
        limit = np.maximum(self.pixels, np.hypot(self.share * shorter, np.radians(self.degrees) * half_diagonal))
        off = np.sqrt((corner_distances(a, b) ** 2).mean(axis=2).min(axis=0, initial=np.inf))
        return off.round(5) <= limit  # coordinates are float32


def corner_distances(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distances of the corners of a[i] and b[i] in pixels, (4, K, 4): for each way to pair them in turn."""
    p, q = boxes.to_corners(a), boxes.to_corners(b)
    return np.stack([np.linalg.norm(p - np.roll(q, turn, axis=1), axis=2) for turn in range(4)])
