"""What all of these pickers check: rows of finite numbers, and how many of them to pick."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["as_selected", "blocks", "checked"]

BLOCK = 1 << 16  # rows that are looked through together


def blocks(rows: NDArray, size: int) -> Iterator[NDArray]:
    """Yield the rows in parts of at most `size`."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def as_selected(selected: ArrayLike | None, rows: NDArray) -> NDArray:
    """Return what is selected already as (m, d) of the rows' type, none as (0, d); ValueError for another width."""
    array = np.asarray(() if selected is None else selected, rows.dtype)
    if array.size == 0:
        return np.zeros((0, rows.shape[1]), rows.dtype)
    if array.ndim != 2 or array.shape[1] != rows.shape[1]:
        raise ValueError(f"expected selected rows of {rows.shape[1]} numbers like the features, got {array.shape}")
    return _finite(array)


def checked(features: ArrayLike, n: int) -> tuple[NDArray, int]:
    """Return the features as (n, d) of floats, and how many to pick, at most all; ValueError for what is neither."""
    array = np.asarray(features)
    if array.ndim != 2 or not array.size:
        raise ValueError(f"expected features (n, d), got {array.shape}")
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise ValueError(f"expected to pick at least one row, got {n!r}")
    return _finite(array), min(int(n), len(array))


def _finite(array: NDArray) -> NDArray:
    for start, block in zip(range(0, len(array), BLOCK), blocks(array, BLOCK), strict=True):
        if not np.isfinite(block).all():
            row = start + int(np.flatnonzero(~np.isfinite(block).all(axis=1))[0])
            raise ValueError(f"expected finite features, got {array[row]} in row {row}")
    return array
