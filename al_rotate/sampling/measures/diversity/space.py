"""Squared distances from all rows to some, without a matrix of all pairs."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .rows import as_selected, blocks

__all__ = ["AHEAD", "Space"]

AHEAD = 16  # rows whose distances are computed together: one pass over the features, not one each


class Space:
    """Squared distances to all rows, by ``|x|^2 - 2 x c + |c|^2``."""

    def __init__(self, rows: NDArray) -> None:
        self.rows, self.lengths = rows, np.einsum("ij,ij->i", rows, rows)

    def squared(self, centres: NDArray) -> NDArray:
        """(n, c)."""
        distances = self.rows @ (-2 * centres.T)
        distances += self.lengths[:, None]
        distances += np.einsum("ij,ij->i", centres, centres)
        return np.maximum(distances, 0, out=distances)  # rounding

    def nearest(self, selected: ArrayLike | None) -> NDArray:
        """(n,) to the nearest selected row; inf where none is selected."""
        best = np.full(len(self.rows), np.inf, self.rows.dtype)
        for centres in blocks(as_selected(selected, self.rows), AHEAD):
            np.minimum(best, self.squared(centres).min(axis=1), out=best)
        return best
