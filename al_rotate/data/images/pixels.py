"""The pixels of image files as a browser, and so Label Studio, shows them: 8 bits of red, green and blue."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, TiffImagePlugin, UnidentifiedImageError

from ...storage.user_warnings import warn_user
from . import raster
from .depth import LEAST_USED, Stretch, Undecided, to_8_bits

_DEEP_SUFFIXES, _MOST_READ = (".tif", ".tiff", ".jp2"), 8
_LARGEST_SCENE = 20_000**2  # pixels
_ORIENTATION, _NODATA = 0x0112, 42113  # tags of EXIF and of GDAL

# It prints a line for each TIFF with many bands, before the exception that says the same.
logging.getLogger("PIL.TiffImagePlugin").setLevel(logging.CRITICAL)


class UnreadableImage(ValueError):
    """An image file that cannot be decoded completely; the message names the file and the reason."""


class UndecidedImage(UnreadableImage):
    """An image file that can be decoded once it is said which bands, or which stretch, are meant."""


def read(
    path: str | Path,
    order: Literal["RGB", "BGR"] = "RGB",
    *,
    bands: int | Sequence[int] | None = None,
    stretch: Stretch | None = None,
) -> NDArray[np.uint8]:
    """Decode an image as a browser shows it, and as MMRotate's OpenCV loader reads it.

    EXIF orientation is applied, alpha is dropped, palettes and grey become colour, and of several pages or frames the
    first is read. Truncated files are refused, where OpenCV silently fills the missing part with grey.

    Of 16 bits the upper 8 are kept, as OpenCV does, if they are used: if the largest value is at least a quarter of the
    range (16,384). Images that use less, such as 11-bit satellite images, would be nearly black. They are stretched: in
    each channel the 2nd percentile becomes 0 and the 98th becomes 255, linearly. Integers of more than 16 bits,
    negative ones and fractions have no known range and are refused unless `stretch` is given.

    Args:
        path: the file.
        order: of the channels; MMDetection's pipelines start from BGR.
        bands: numbers, from 1, of the bands to show as red, green and blue, such as (4, 3, 2), or of one to show as
            grey. An image of several bands needs it unless it says which are red, green and blue, or has three. Needs
            rasterio or tifffile.
        stretch: percentiles that become 0 and 255 in each channel of an image of more than 8 bits, instead of the rule
            above. Images of 8 bits stay as they are.

    Returns:
        (H, W, 3) uint8.

    Raises:
        UndecidedImage: for a file that can be read once `bands` or `stretch` is given; it is an UnreadableImage.
        UnreadableImage: for a file that is missing, empty, truncated, too large or no image, or without those bands.
        ValueError: for `bands` or `stretch` that cannot be.
    """
    wanted = raster.as_bands(bands)
    percentiles = as_stretch(stretch)
    with _refused(path):
        try:
            pixels = _by_pillow(path, order, percentiles) if wanted is None else None
        except UnidentifiedImageError:
            if not raster.is_tiff(path):
                raise
            pixels = None
        if pixels is not None:
            return pixels
        values, nodata = raster.read(path, wanted)
        shown = to_8_bits(values, percentiles, nodata)
        rgb = _oriented(255 - shown if raster.is_negative(path) else shown, orientation_of(path))
        return np.array(np.broadcast_to(rgb, (*rgb.shape[:2], 3))[..., :: 1 if order == "RGB" else -1], order="C")


def tell_unreadable(unreadable: Mapping[str, str], n_images: int) -> None:
    """Warn of the images that cannot be read and are left out.

    Args:
        unreadable: image id -> why.
        n_images: of all.

    Raises:
        UnreadableImage: when none can be read.
    """
    if not unreadable:
        return
    image_id, reason = next(iter(unreadable.items()))
    if len(unreadable) == n_images:
        raise UnreadableImage(
            reason if n_images == 1 else f"none of {n_images} images can be read, the first: {reason}"
        )
    warn_user(f"{len(unreadable)} of {n_images} images cannot be read and are left out, the first {image_id}: {reason}")


def as_stretch(stretch: Stretch | None) -> tuple[float, float] | None:
    """Return percentiles as floats; ValueError unless they are two, ascending, from 0 to 100, or None."""
    if stretch is None:
        return None
    values = tuple(stretch) if isinstance(stretch, Sequence) and not isinstance(stretch, str) else ()
    if len(values) != 2 or not 0 <= values[0] < values[1] <= 100:
        raise ValueError(f"expected stretch as two percentiles such as (2, 98), got {stretch!r}")
    return float(values[0]), float(values[1])


def size(path: str | Path) -> tuple[int, int]:
    """Read width and height from an image's header; EXIF orientation is applied, as in :func:`read`.

    Raises:
        UnreadableImage: for a file that is missing, empty, too large or no image.
    """
    with _refused(path):
        try:
            with Image.open(path) as image:
                turned = image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
                # Pillow versions differ in whether the size of a TIFF has the orientation applied; the tags never have.
                tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else None
                width, height = (tags[256], tags[257]) if tags else image.size
                return (height, width) if turned else (width, height)
        except UnidentifiedImageError:
            if not raster.is_tiff(path):
                raise
            return raster.size(path)


def require_decided(files: Iterable[str | Path]) -> None:
    """Refuse images for a loop that :func:`read` reads only with `bands` or `stretch`, which a loop does not know.

    Of the files that could be such by their headers, up to eight are read.

    Raises:
        UndecidedImage: names the first, and what to do.
    """
    doubtful = [Path(file) for file in files if Path(file).suffix.lower() in _DEEP_SUFFIXES and _may_be_undecided(file)]
    for path in doubtful[:: -(-len(doubtful) // _MOST_READ) or 1]:
        try:
            with allow_large_images():
                read(path)
        except UndecidedImage as error:
            raise UndecidedImage(
                f"{error}. Make PNGs of all images with it and use those, by al-rotate render or images.render: "
                "then people, detector and training see the same pixels"
            ) from error
        except UnreadableImage:
            continue  # left to whoever uses it


def _may_be_undecided(path: str | Path) -> bool:
    try:
        with Image.open(path) as image:
            return image.mode in ("I", "F") or not raster.is_read_by_pillow(image, path)
    except UnidentifiedImageError:
        return True
    except (OSError, SyntaxError, ValueError):
        return False


def orientation_of(path: str | Path) -> int:
    """Return the EXIF orientation, from 1 to 8, of an image file."""
    try:
        with Image.open(path) as image:
            return int(image.getexif().get(_ORIENTATION, 1))
    except UnidentifiedImageError:
        return 1


def is_deep(image: Image.Image) -> bool:
    """Tell whether an open image has more than 8 bits per channel."""
    tiles = getattr(image, "tile", None)  # what is to be decoded, with the mode in the file as its last entry
    return image.mode.startswith(("I", "F")) or bool(tiles and ";16" in str(tiles[0][3]))


@contextmanager
def allow_large_images() -> Iterator[None]:
    """Let Pillow open images of up to 20,000 x 20,000 pixels, which it takes for decompression bombs, in this block."""
    before = Image.MAX_IMAGE_PIXELS
    if before is not None:
        Image.MAX_IMAGE_PIXELS = max(before, _LARGEST_SCENE)
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _by_pillow(path: str | Path, order: str, stretch: tuple[float, float] | None) -> NDArray[np.uint8] | None:
    """Decode by Pillow; None where it would not do so rightly.

    Of colour of 16 bits Pillow drops the lower 8, which are needed where the upper ones are hardly used.
    """
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # another library may have set it since
    with Image.open(path) as image:
        if not raster.is_read_by_pillow(image, path):
            return None
        if image.mode.startswith(("I", "F")):
            # Pillow's own conversion would clip at 255.
            tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
            nodata = raster.as_nodata(tags.get(_NODATA))
            grey = to_8_bits(np.asarray(ImageOps.exif_transpose(image))[..., None], stretch, nodata)
            return np.repeat(255 - grey if raster.is_negative(path) else grey, 3, axis=2)
        deep = is_deep(image)
        if deep and stretch is not None:
            return None
        # A copy of a photograph costs a good part of its decoding, so orient in place and copy only once.
        ImageOps.exif_transpose(image, in_place=True)
        shown = image if image.mode == "RGB" else image.convert("RGB")
        shown.load()
        pixels = _packed(shown, order)
        return None if deep and pixels.max(initial=0) < LEAST_USED >> 8 else pixels


def _packed(image: Image.Image, order: str) -> NDArray[np.uint8]:
    """Copy the pixels of a loaded image of mode RGB, (H, W, 3).

    While Pillow packs them, it holds the interpreter's lock, and threads that decode wait for each other. So OpenCV
    does it where it is installed and the pixels lie in one block of memory, as those of up to 4 million do.
    """
    if (opencv := _opencv()) and hasattr(image, "__arrow_c_array__"):
        import pyarrow as pa  # takes a while

        with contextlib.suppress(ValueError):  # of several blocks
            stored = pa.array(image).values.to_numpy().reshape(image.height, image.width, 4)
            return opencv.cvtColor(stored, opencv.COLOR_RGBA2BGR if order == "BGR" else opencv.COLOR_RGBA2RGB)
    packed = np.frombuffer(bytearray(image.tobytes("raw", order)), np.uint8)
    return packed.reshape(image.height, image.width, 3)


@cache
def _opencv() -> Any:
    try:
        import cv2
    except ImportError:  # it comes with MMRotate
        return None
    return cv2


def _oriented(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn and mirror stored pixels (H, W, K) as EXIF's `orientation` says."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels[::-1] if orientation in (3, 4, 7, 8) else pixels


@contextmanager
def _refused(path: str | Path) -> Iterator[None]:
    """Turn the many errors of decoders into UnreadableImage."""
    try:
        yield
    except UnidentifiedImageError:
        n_bytes = Path(path).stat().st_size
        raise UnreadableImage(f"{path}: {'empty file' if n_bytes == 0 else 'not an image'} ({n_bytes} bytes)") from None
    except Image.DecompressionBombError as error:
        raise UnreadableImage(f"{path}: {error} Raise PIL.Image.MAX_IMAGE_PIXELS if you trust the file.") from error
    except Undecided as error:
        raise UndecidedImage(f"{path}: {error}") from error
    except (OSError, SyntaxError, ValueError, OverflowError, MemoryError) as error:
        raise UnreadableImage(f"{path}: {error}") from error
