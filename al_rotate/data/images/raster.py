"""TIFFs that Pillow cannot read: many bands, or colour of 16 bits. By rasterio or, if that is missing, by tifffile."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF's
_INSTALL = "install rasterio: pip install 'al_rotate[geo]'"


def is_tiff(path: str | Path) -> bool:
    """Tell by its first bytes whether a file is a TIFF."""
    with open(path, "rb") as file:
        return file.read(4) in _MAGIC


def as_bands(bands: int | Sequence[int] | None) -> tuple[int, ...] | None:
    """Return band numbers as a tuple; ValueError unless they are one or three, from 1."""
    if bands is None:
        return None
    numbers = (bands,) if isinstance(bands, int | np.integer) else tuple(bands)
    whole = all(isinstance(number, int | np.integer) and not isinstance(number, bool) for number in numbers)
    if len(numbers) not in (1, 3) or not whole or min(numbers) < 1:
        raise ValueError(f"expected bands as three numbers from 1 for red, green and blue, or one, got {bands!r}")
    return tuple(int(number) for number in numbers)


def as_nodata(text: Any) -> float | None:
    """Return the value of GDAL's tag for pixels without content; None where it holds no number."""
    try:
        value = float(str(text[0] if isinstance(text, tuple) else text).strip("\0 "))
    except (ValueError, IndexError):
        return None
    return None if math.isnan(value) else value


def read(path: str | Path, bands: tuple[int, ...] | None) -> tuple[NDArray, float | None]:
    """Read bands of an image.

    Args:
        path: the file.
        bands: their numbers, from 1; None reads an image of one band or three.

    Returns:
        The values, (H, W, K), as stored; and the value of pixels without content, if there is one.

    Raises:
        ValueError: without the bands, for other images with `bands` None, or when no library can read it.
        OSError: for a file that cannot be decoded.
    """
    if (rasterio := _rasterio()) is not None:
        try:
            with rasterio.open(path, driver=_driver(path)) as image:
                _require_size(image.width, image.height)
                chosen = _chosen(bands, image.count)
                return np.moveaxis(image.read(list(chosen)), 0, -1), as_nodata(image.nodata)
        except rasterio.errors.RasterioError as error:
            raise OSError(" ".join(f"{error} {error.__cause__ or ''}".split())) from error
    tifffile = _tifffile(path)
    try:
        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            page = series.keyframe
            _require_size(page.imagewidth, page.imagelength)
            values = series.asarray()
    except (tifffile.TiffFileError, RuntimeError, IndexError, KeyError, ValueError) as error:
        raise OSError(f"{error}; or {_INSTALL}") from error
    sides = (page.imagelength, page.imagewidth)
    if values.shape == sides:
        values = values[..., None]
    elif values.ndim == 3 and values.shape[1:] == sides and values.shape[:2] != sides:
        values = np.moveaxis(values, 0, -1)  # one plane per band
    if values.ndim != 3 or values.shape[:2] != sides:
        raise ValueError(f"expected one image with bands, got an array of shape {values.shape}")
    tag = page.tags.get("GDAL_NODATA")
    places = [number - 1 for number in _chosen(bands, values.shape[2])]
    return values[..., places], as_nodata(tag.value if tag else None)


def size(path: str | Path) -> tuple[int, int]:
    """Read width and height of a TIFF; raises as :func:`read` does."""
    if (rasterio := _rasterio()) is not None:
        try:
            with rasterio.open(path, driver=_driver(path)) as image:
                _require_size(image.width, image.height)
                return image.width, image.height
        except rasterio.errors.RasterioError as error:
            raise OSError(str(error)) from error
    tifffile = _tifffile(path)
    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages[0]
            _require_size(page.imagewidth, page.imagelength)
            return page.imagewidth, page.imagelength
    except (tifffile.TiffFileError, IndexError, KeyError) as error:
        raise OSError(str(error)) from error


def _chosen(bands: tuple[int, ...] | None, count: int) -> tuple[int, ...]:
    if bands is None and count not in (1, 3):
        raise ValueError(f"the image has {count} bands; say which are red, green and blue, such as bands=(3, 2, 1)")
    if bands is not None and max(bands) > count:
        raise ValueError(f"expected bands up to {count}, which the image has, got {bands}")
    return tuple(range(1, count + 1)) if bands is None else bands


def _require_size(width: int, height: int) -> None:
    most = Image.MAX_IMAGE_PIXELS
    if most is not None and width * height > 2 * most:
        raise Image.DecompressionBombError(f"Image size ({width * height} pixels) exceeds limit of {2 * most} pixels.")


def _driver(path: str | Path) -> str:
    """Return the name of GDAL's reader: left to choose, it also takes lists of other files, and addresses."""
    return "GTiff" if is_tiff(path) else "PNG"


def _rasterio() -> Any:
    if find_spec("rasterio") is None:
        return None
    rasterio = import_module("rasterio")
    errors = import_module("rasterio.errors")
    warnings.filterwarnings("ignore", category=errors.NotGeoreferencedWarning)  # most images are not, and need not be
    return rasterio


def _tifffile(path: str | Path) -> Any:
    if not is_tiff(path):
        raise ValueError(f"Pillow reads neither single bands nor all 16 bits of this image; {_INSTALL}")
    if find_spec("tifffile") is None:
        raise ValueError(f"Pillow reads neither many bands nor all 16 bits of this TIFF; {_INSTALL}, or tifffile")
    return import_module("tifffile")
