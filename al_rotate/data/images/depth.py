"""Images of more than 8 bits per channel, reduced to 8 so that something is left to see."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class Undecided(ValueError):
    """An image that can be read once it is said which bands, or which stretch, are meant."""


Stretch = Sequence[float]  # two percentiles

STRETCH = (2.0, 98.0)  # of images that use little of their range
LEAST_USED = 1 << 14  # a quarter of 16 bits: below, the upper 8 bits show next to nothing
_SAMPLE = 2000  # pixels of a side from which percentiles are taken


def to_8_bits(
    values: NDArray, stretch: tuple[float, float] | None = None, nodata: float | None = None
) -> NDArray[np.uint8]:
    """Reduce pixels to 8 bits, by the rule of :func:`al_rotate.images.read`.

    Args:
        values: (H, W, K), integers or fractions of any width. Fractions that are not finite are shown as black.
        stretch: percentiles that become 0 and 255 in each channel, of an evenly spaced sample of up to 2000 x 2000
            pixels; None keeps the upper 8 of 16 bits, or takes (2, 98) where these are hardly used.
        nodata: the value of pixels without content. They do not count, and are shown as black.

    Returns:
        (H, W, K).

    Raises:
        Undecided: without `stretch`, for values that need more than 16 bits, negative ones and fractions.
        ValueError: for complex numbers.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == bool:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind == "c":
        raise ValueError(f"expected real numbers, got {values.dtype}: write their magnitudes to a file first")
    nothing = np.nan if nodata is None else nodata  # equal to no value
    if stretch is None:
        shown = values if nodata is None else values[values != nothing]
        if values.dtype.kind not in "iu" or shown.min(initial=0) < 0 or shown.max(initial=0) >= 1 << 16:
            raise Undecided(
                f"expected 8 or 16 bits per channel, got {values.dtype} with negative or larger values, or fractions; "
                "say how to show them: stretch=(2, 98)"
            )
        if shown.max(initial=0) >= LEAST_USED:
            return np.where(values == nothing, 0, values >> 8).astype(np.uint8)
        stretch = STRETCH
    return np.stack([_stretched(values[..., k], stretch, nothing) for k in range(values.shape[2])], axis=2)


def _stretched(band: NDArray, stretch: tuple[float, float], nodata: float) -> NDArray[np.uint8]:
    rows, columns = (max(1, -(-length // _SAMPLE)) for length in band.shape)
    sample = band[::rows, ::columns].astype(np.float64)
    sample = sample[np.isfinite(sample) & (sample != nodata)]
    low, high = np.percentile(sample, stretch) if sample.size else (0.0, 0.0)

    def scaled(values: NDArray) -> NDArray[np.uint8]:
        if high > low:
            # In float64: counts of more than 24 bits would lose what distinguishes them.
            shares = (values.astype(np.float64) - low) * (255 / (high - low))
        else:
            shares = np.where(values > high, 255.0, 0.0)
        shares = np.where(np.isfinite(shares) & (values != nodata), shares, 0.0)
        return np.rint(np.clip(shares, 0, 255)).astype(np.uint8)

    if band.dtype == np.uint16:  # a table of all values is quicker than arithmetic, and needs less memory
        return scaled(np.arange(1 << 16))[band]
    return np.stack([scaled(row) for row in band])
