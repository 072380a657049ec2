"""Rasters that Pillow cannot read, or reads wrongly: many bands, planes, 16-bit colour. By rasterio or tifffile."""

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
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from .depth import Undecided

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF's
_DRIVERS = {  # of GDAL, by a file's first bytes; left to choose, it also takes lists of other files, and addresses
    **dict.fromkeys(_TIFF, "GTiff"),
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"\0\0\0\x0cjP  ": "JP2OpenJPEG",
    b"\xff\x4f\xff\x51": "JP2OpenJPEG",
    b"BM": "BMP",
}
_PHOTOMETRIC, _COMPRESSION, _PLANES, _SAMPLE_FORMAT = 262, 259, 284, 339  # tags of TIFF
_WHITE_IS_ZERO, _RGB, _PALETTE = 0, 2, 3
_SIGNED = 2
_COMMON_COMPRESSIONS = {1, 2, 3, 4, 5, 7, 8, 32773, 32946}
_INSTALL = "install rasterio: pip install 'al_rotate[geo]'"


def is_tiff(path: str | Path) -> bool:
    """Tell by its first bytes whether a file is a TIFF."""
    with open(path, "rb") as file:
        return file.read(4) in _TIFF


def driver_of(path: str | Path) -> str:
    """Return the name of GDAL's reader for a file.

    Raises:
        ValueError: for a file that is of none of the formats known here.
    """
    with open(path, "rb") as file:
        start = file.read(8)
    for first, driver in _DRIVERS.items():
        if start.startswith(first):
            return driver
    raise ValueError(f"no bands of this format can be chosen; expected one of {', '.join({*_DRIVERS.values()})}")


def is_read_by_pillow(image: Image.Image, path: str | Path) -> bool:
    """Tell whether Pillow decodes an open image of a file rightly, and needs no other library.

    Pillow takes the first of several planes for the whole image, signed bytes for unsigned ones, and the numbers of a
    16-bit palette's colours for shades of grey. Of JPEG 2000 colour it drops what exceeds 8 bits.
    """
    if image.format == "JPEG2000":
        return image.mode.startswith(("L", "I", "1")) or _bits_of_jpeg2000(path) <= 8
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return True
    tags, bits = image.tag_v2, image.tag_v2.get(258, (1,))
    if tags.get(_PLANES, 1) == 2 and (len(bits) > 1 or max(bits) > 8):
        return tags.get(_PHOTOMETRIC) == _RGB and tuple(bits) == (8, 8, 8)
    if tags.get(_COMPRESSION, 1) not in _COMMON_COMPRESSIONS and find_spec("rasterio") is not None:
        return False
    is_deep_palette = tags.get(_PHOTOMETRIC) == _PALETTE and max(bits) > 8
    is_signed_byte = _SIGNED in tags.get(_SAMPLE_FORMAT, (1,)) and max(bits) <= 8
    return not is_deep_palette and not is_signed_byte


def is_negative(path: str | Path) -> bool:
    """Tell whether a TIFF says that 0 is white, which is applied by Pillow alone, and only to 8 bits."""
    try:
        with Image.open(path) as image:
            tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
            return tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    except UnidentifiedImageError:
        return False


def _bits_of_jpeg2000(path: str | Path) -> int:
    """Return the bits of the first component: the byte after the sizes in the codestream's marker SIZ."""
    with open(path, "rb") as file:
        _, _, sizes = file.read(1 << 16).partition(b"\xff\x4f\xff\x51")
    return (sizes[38] & 0x7F) + 1 if len(sizes) > 38 else 8


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
        bands: their numbers, from 1; None reads an image of one band or three, not counting alpha, or the bands that
            the file calls red, green and blue.

    Returns:
        The values, (H, W, K), as stored, those of a palette as its colours; and the value of pixels without content,
        if there is one.

    Raises:
        Undecided: for other images with `bands` None.
        ValueError: without the bands, or when no library can read it.
        OSError: for a file that cannot be decoded.
    """
    if (rasterio := rasterio_or_none()) is not None:
        try:
            with rasterio.open(path, driver=driver_of(path)) as image:
                _require_size(image.width, image.height)
                roles = [role.name for role in image.colorinterp]
                values = np.moveaxis(image.read(list(_chosen(bands, image.count, roles))), 0, -1)
                if bands is None and roles[0] == "palette":
                    colours = image.colormap(1)
                    table = np.zeros((max(colours) + 1, 3), np.uint8)
                    table[list(colours)] = [colour[:3] for colour in colours.values()]
                    return table[values[..., 0]], None
                return values, as_nodata(image.nodata)
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
    if bands is None and page.photometric == _PALETTE:
        raise ValueError(f"the image has a palette of 16 bits; {_INSTALL}")
    tag = page.tags.get("GDAL_NODATA")
    roles = ["red", "green", "blue"] if page.photometric == _RGB else []
    places = [number - 1 for number in _chosen(bands, values.shape[2], roles)]
    return values[..., places], as_nodata(tag.value if tag else None)


def size(path: str | Path) -> tuple[int, int]:
    """Read width and height of a TIFF; raises as :func:`read` does."""
    if (rasterio := rasterio_or_none()) is not None:
        try:
            with rasterio.open(path, driver=driver_of(path)) as image:
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


def _chosen(bands: tuple[int, ...] | None, count: int, roles: Sequence[str]) -> tuple[int, ...]:
    """Return the bands to read, of those that the image has, with what the file calls them."""
    if bands is not None:
        if max(bands) > count:
            raise ValueError(f"expected bands up to {count}, which the image has, got {bands}")
        return bands
    if {"red", "green", "blue"} <= {*roles}:
        return tuple(roles.index(colour) + 1 for colour in ("red", "green", "blue"))
    n_shown = count - (list(roles).count("alpha"))
    if n_shown not in (1, 3) or "alpha" in roles[:n_shown]:
        raise Undecided(f"the image has {count} bands; say which are red, green and blue, such as bands=(3, 2, 1)")
    return tuple(range(1, n_shown + 1))


def _require_size(width: int, height: int) -> None:
    most = Image.MAX_IMAGE_PIXELS
    if most is not None and width * height > 2 * most:
        raise Image.DecompressionBombError(f"Image size ({width * height} pixels) exceeds limit of {2 * most} pixels.")


def rasterio_or_none() -> Any:
    """Import rasterio; None where it is not installed."""
    if find_spec("rasterio") is None:
        return None
    rasterio = import_module("rasterio")
    errors = import_module("rasterio.errors")
    warnings.filterwarnings("ignore", category=errors.NotGeoreferencedWarning)  # most images are not, and need not be
    return rasterio


def _tifffile(path: str | Path) -> Any:
    if not is_tiff(path):
        raise ValueError(f"Pillow reads neither single bands nor all bits of this image; {_INSTALL}")
    if find_spec("tifffile") is None:
        raise ValueError(f"Pillow reads neither many bands nor all 16 bits of this TIFF; {_INSTALL}, or tifffile")
    return import_module("tifffile")
