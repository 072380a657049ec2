"""Images made for people and detectors alike: PNGs of 8 bits, with the geometry of the image that they show."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...storage import manifest
from ...storage.files import atomic_write, path_for_image, temporary_sibling
from . import raster
from .depth import Stretch
from .files import resolve
from .georeference import Copier
from .pixels import UndecidedImage, UnreadableImage, allow_large_images, as_stretch, is_deep, read, tell_unreadable

_SHOWN_BY_BROWSERS = {"JPEG", "MPO", "PNG", "WEBP", "BMP", "GIF"}
_LONGEST_STEM = 200  # bytes
_RECORD = "renditions.json"  # of what each file was made from


def rendition(
    path: str | Path, folder: str | Path, *, bands: int | Sequence[int] | None = None, stretch: Stretch | None = None
) -> Path:
    """Return a file that a browser shows as :func:`al_rotate.images.read` reads `path`.

    Args:
        path: an image.
        folder: for the rendition, if one is needed: of TIFFs and JPEG 2000, and of images of more than 8 bits, that
            are partly transparent, animated, or CMYK, which browsers show otherwise.
        bands, stretch: as for :func:`al_rotate.images.read`.

    Returns:
        `path` itself if it will do, else a PNG in `folder`, of the same width and height. Its name follows from the
        file, its size and time of change, and the options: the same call finds it, a changed file gets another.

    Raises:
        UnreadableImage: for a file that cannot be decoded.
        ValueError: for `bands` or `stretch` that cannot be.
    """
    path = Path(path)
    if bands is None and is_shown_by_browsers(path):
        return path
    key = hashlib.sha256(json.dumps([str(path.absolute()), *_made_from(path, bands, stretch)]).encode()).hexdigest()
    stem = path.stem.encode("utf-8", "replace")[:_LONGEST_STEM].decode("utf-8", "ignore")
    made = Path(folder) / f"{stem}.{key[:12]}.png"
    if not made.is_file():
        with allow_large_images():
            _make(path, made, Copier(), bands, stretch)
    return made


def render(
    images: str | Path | Iterable[str | Path] | Mapping[str, str | Path],
    folder: str | Path,
    *,
    bands: int | Sequence[int] | None = None,
    stretch: Stretch | None = None,
) -> dict[str, Path]:
    """Write a PNG of 8 bits of every image, so that people, detector and training see the same pixels.

    A PNG of a georeferenced image says where it lies in an ``.aux.xml`` beside it, as GIS read it; that needs rasterio.

    Args:
        images: a folder, files, or image id -> file.
        folder: for ``ID.png``. Only images that are new, or that have changed since, are read.
        bands, stretch: as for :func:`al_rotate.images.read`.

    Returns:
        image id -> PNG. The ids are those of `images`, and so are widths and heights: labels fit both. Images that
        cannot be decoded are left out, with a warning.

    Raises:
        UnreadableImage: when none can be decoded; for one that needs `bands` or `stretch`.
        ValueError: for `bands` or `stretch` that cannot be, an id whose file would lie outside the folder, or a damaged
            ``renditions.json``, in which the folder records what its images were made from.
    """
    folder = Path(folder)
    record = folder / _RECORD
    made_from = manifest.read(record)
    files = {image_id: (file, path_for_image(folder, image_id, ".png")) for image_id, file in resolve(images).items()}
    copier = Copier()
    unreadable: dict[str, str] = {}
    with allow_large_images():
        for image_id, (file, png) in files.items():
            try:
                facts = _made_from(file, bands, stretch)
                if made_from.get(image_id) != facts or not png.is_file():
                    _make(file, png, copier, bands, stretch)
                    made_from[image_id] = facts
                    with atomic_write(record) as written:
                        json.dump(made_from, written, indent=0)
            except UndecidedImage:  # for want of bands or a stretch
                raise
            except UnreadableImage as error:
                unreadable[image_id] = str(error)
    tell_unreadable(unreadable, len(files))
    return {image_id: png for image_id, (_, png) in files.items() if image_id not in unreadable}


def is_shown_by_browsers(path: str | Path) -> bool:
    """Tell whether a browser shows an image file as :func:`al_rotate.images.read` reads it."""
    try:
        with Image.open(path) as image:
            if image.format not in _SHOWN_BY_BROWSERS or is_deep(image) or image.mode == "CMYK":
                return False
            if image.format != "MPO" and getattr(image, "is_animated", False):
                return False
            # Through what is transparent people would see the page, and the detector the colours below.
            has_alpha = "A" in image.getbands() or "transparency" in image.info
            return not has_alpha or image.convert("RGBA").getchannel("A").getextrema() == (255, 255)
    except (OSError, SyntaxError, ValueError):
        return False


def _make(path: Path, png: Path, copier: Copier, bands: int | Sequence[int] | None, stretch: Stretch | None) -> None:
    pixels = read(path, bands=bands, stretch=stretch)
    copier.write(copier.find(path), png)
    write_png(pixels, png)


def write_png(pixels: NDArray[np.uint8], path: Path) -> None:
    """Write pixels (H, W, 3) as a PNG, atomically; missing folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = temporary_sibling(path)
    try:
        Image.fromarray(pixels).save(scratch, "png")
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def stamp(path: str | Path) -> list[int]:
    """Return a file's number of bytes and its time of change in nanoseconds, to notice that it has changed.

    Raises:
        UnreadableImage: when there is no such file.
    """
    try:
        status = Path(path).stat()
    except OSError as error:
        raise UnreadableImage(f"{path}: {error}") from error
    return [status.st_size, status.st_mtime_ns]


def _made_from(path: str | Path, bands: int | Sequence[int] | None, stretch: Stretch | None) -> list:
    chosen = raster.as_bands(bands)
    percentiles = as_stretch(stretch)
    return [*stamp(path), chosen and list(chosen), percentiles and list(percentiles)]
