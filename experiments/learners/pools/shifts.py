"""Which photographs show the same ground, one shifted against the other: found without keypoints.

SIFT finds too few keypoints on nearly empty sea, where speckle alone tells the ground. Phase correlation (Kuglin and
Hines, 1975) uses every pixel: two spectra of unit magnitude are multiplied, and a shift is a peak of their product's
inverse transform. Patterns of resampling peak as well, on photographs that share nothing else. So the pixels have to
correlate where the photographs overlap at that shift.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.signal.windows import tukey

from al_rotate.data import images

NEAR = 100  # photographs, in the order of their ids: those cut from one scene follow one another
PEAK = 9.0  # standard deviations of the product's inverse transform
CORRELATED = 0.3  # of the pixels where two photographs overlap
LEAST = 30  # pixels of width and height of an overlap
_AROUND = 9  # pixels, of the square that brightness and contrast are taken from
_TAPER = 0.25  # of a side, on both ends together
_BAND = 0.02, 0.45  # cycles a pixel at half resolution: finer than shading, coarser than traces of JPEG
_CROSS = 0.01  # cycles a pixel: stripes and borders are next to the axes of a spectrum
_SIGMAS = 1.2, 8.0  # pixels: parts of a pixel of shift, ways of resampling and shading do not matter


def find_shifted(files: Mapping[str, Path]) -> list[tuple[str, str]]:
    """Find the pairs of photographs that show the same ground at the same scale and angle.

    Only photographs at most `NEAR` apart are compared, in the order of their ids.

    Args:
        files: id -> file.

    Returns:
        Pairs of ids, each pair and the list sorted.
    """
    largest = np.array([images.size(file) for file in files.values()], int).reshape(-1, 2).max(axis=0, initial=1)
    width, height = (scipy.fft.next_fast_len(-(-int(side) // 2), real=True) for side in largest)
    band = _band(height, width)
    # A product has the magnitudes of the band, whatever the photographs: so all have one standard deviation.
    deviation = np.sqrt(np.mean(scipy.fft.irfft2(band, s=(height, width)) ** 2))
    near: deque[tuple[str, NDArray[np.complex64]]] = deque(maxlen=NEAR)
    pairs = []
    for i in sorted(files):
        phases = _phases(_flat(_halved(_read(files[i]))), band, (height, width))
        for earlier, others in near:
            surface = scipy.fft.irfft2(others * phases.conj(), s=(height, width), overwrite_x=True)
            peak = int(surface.argmax())
            if surface.flat[peak] >= PEAK * deviation:
                shift = divmod(peak, width)
                if _correlation(files[earlier], files[i], shift, (height, width)) >= CORRELATED:
                    pairs.append((earlier, i))
        near.append((i, phases))
    return sorted(pairs)


def read_grey(file: Path) -> NDArray[np.uint8]:
    """Read a photograph in shades of grey, (H, W)."""
    pixels = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
    assert pixels is not None, file
    return pixels


def _read(file: Path) -> NDArray[np.float32]:
    return read_grey(file).astype(np.float32)


def _halved(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width = (-(-side // 2) for side in pixels.shape)
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)


def _flat(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Brightness and contrast made alike everywhere, so that ships do not outshine speckle; 0 where all is blank."""
    square = (_AROUND, _AROUND)
    mean = cv2.blur(pixels, square)
    contrast = np.sqrt(np.maximum(cv2.blur(pixels**2, square) - mean**2, 0))
    varied = cv2.erode((contrast > 1).astype(np.float32), np.ones(square))  # the edge of a blank area counts as blank
    return np.clip((pixels - mean) / np.maximum(contrast, 1), -3, 3) * varied


def _detail(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pixels without shading and without the finest noise, of which ships stay somewhat brighter than speckle."""
    fine, coarse = (cv2.GaussianBlur(pixels, (0, 0), sigma) for sigma in _SIGMAS)
    difference = fine - coarse
    return np.clip(difference / max(1.5 * float(np.median(np.abs(difference))), 1e-3), -3, 3)


def _phases(pixels: NDArray[np.float32], band: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.complex64]:
    """The spectrum (H, W // 2 + 1) of pixels (h, w) that fade towards their borders, of magnitude 1 in the band."""
    fading = np.outer(*(tukey(side, _TAPER) for side in pixels.shape)).astype(np.float32)
    spectrum = scipy.fft.rfft2(pixels * fading, s=shape)
    return spectrum / np.maximum(np.abs(spectrum), 1e-6) * band


def _band(height: int, width: int) -> NDArray[np.float32]:
    """The frequencies (H, W // 2 + 1) that are compared are 1, the others 0."""
    y, x = np.abs(np.fft.fftfreq(height))[:, None], np.fft.rfftfreq(width)
    radius = np.hypot(y, x)
    low, high = _BAND
    return ((low < radius) & (radius < high) & (y > _CROSS) & (x > _CROSS)).astype(np.float32)


def _correlation(left: Path, right: Path, shift: tuple[int, int], shape: tuple[int, int]) -> float:
    """The highest correlation of two photographs, at full resolution, that a shift of the right one may mean.

    Args:
        left, right: the photographs.
        shift: down and across, at half resolution, up to the size of the grid.
        shape: of the grid.
    """
    a, b = _detail(_read(left)), _detail(_read(right))
    best = 0.0
    for down, across in product(*(_meant(by, side) for by, side in zip(shift, shape, strict=True))):
        one = a[max(0, down) : max(0, b.shape[0] + down), max(0, across) : max(0, b.shape[1] + across)]
        other = b[max(0, -down) : max(0, a.shape[0] - down), max(0, -across) : max(0, a.shape[1] - across)]
        if min(one.shape) >= LEAST:
            length = np.sqrt(np.sum(one**2) * np.sum(other**2))
            best = max(best, float(np.sum(one * other) / max(length, 1e-6)))
    return best


def _meant(shift: int, side: int) -> list[int]:
    """What a shift at half resolution, up to the side of the grid, may be at full resolution."""
    return [2 * start + off for start in (shift, shift - side) for off in (-1, 0, 1)]
