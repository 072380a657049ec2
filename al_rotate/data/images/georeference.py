"""Where an image lies in the world: its coordinate reference system, and the affine map from its pixels.

Georeferences are read as GDAL reads them: of GeoTIFFs, JPEG 2000, world files and ``.aux.xml`` files. The PNGs that are
made of an image get an ``.aux.xml`` beside them, so that GIS find them in their place, and so does :func:`locate`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from ...storage.files import LONGEST_NAME, atomic_write
from ...storage.user_warnings import warn_user
from . import raster
from .pixels import UnreadableImage, orientation_of, size

_GEO_KEYS = 34735  # GeoTIFF's tag


class NotGeoreferenced(ValueError):
    """An image of which nothing says where it lies; the message names the file and the reason."""


class Georeference(NamedTuple):
    """Where an image lies.

    Attributes:
        crs: the coordinate reference system, as WKT.
        transform: (a, b, c, d, e, f): the point x, y in pixels, from the upper left corner of the image as
            :func:`al_rotate.images.read` shows it, is at a x + b y + c, d x + e y + f. In the order of rasterio.
    """

    crs: str
    transform: tuple[float, float, float, float, float, float]

    def to_world(self, points: ArrayLike) -> NDArray[np.float64]:
        """Map points (..., 2) in pixels into the coordinate reference system: easting or longitude first."""
        a, b, c, d, e, f = self.transform
        return np.asarray(np.asarray(points, np.float64) @ np.array([[a, d], [b, e]]) + [c, f])

    def of_window(self, x: float, y: float) -> Georeference:
        """Return the georeference of a window of the image, of which x, y is the upper left corner."""
        return self.after((1, 0, x, 0, 1, y))

    def after(self, other: tuple[float, float, float, float, float, float]) -> Georeference:
        """Return the georeference of an image that `other` maps into this one's pixels."""
        whole = np.array([*self.transform, 0, 0, 1], np.float64).reshape(3, 3)
        a, b, c, d, e, f = (whole @ np.array([*other, 0, 0, 1], np.float64).reshape(3, 3))[:2].ravel().tolist()
        return Georeference(self.crs, (a, b, c, d, e, f))


def locate(path: str | Path) -> Georeference:
    """Read where an image lies.

    Raises:
        NotGeoreferenced: for a file that does not say it; for one with control points in place of an affine map.
        ImportError: without rasterio.
        UnreadableImage: for a file that is no image.
    """
    rasterio = raster.rasterio_or_none()
    if rasterio is None:
        raise ImportError("world coordinates need rasterio: pip install 'al_rotate[geo]'")
    try:
        with rasterio.open(path, driver=raster.driver_of(path)) as image:
            crs, transform, (points, _) = image.crs, image.transform, image.gcps
    except ValueError as error:  # of a format without georeferences
        raise NotGeoreferenced(f"{path}: {error}") from error
    except (OSError, rasterio.errors.RasterioError) as error:
        raise UnreadableImage(f"{path}: {error}") from error
    if transform.is_identity:
        hint = (
            "control points, and no affine map: gdalwarp makes an image that has one" if points else "no georeference"
        )
        raise NotGeoreferenced(f"{path}: {hint}")
    if not crs:
        hint = "gdal_edit.py -a_srs EPSG:NUMBER adds one"
        raise NotGeoreferenced(f"{path}: a place, but no coordinate reference system; {hint}")
    found = Georeference(crs.to_wkt(), tuple(transform)[:6])  # type: ignore[arg-type]
    return found.after(_stored_from_shown(orientation_of(path), *size(path)))


class Copier:
    """Copies georeferences of images to what is made of them."""

    def __init__(self) -> None:
        self._warned = False

    def find(self, path: Path) -> Georeference | None:
        """Return where an image lies, if it says so. It warns, once, where that cannot be read."""
        try:
            return locate(path)
        except NotGeoreferenced:
            return None
        except ImportError as error:
            if has_geo_keys(path):
                self._warn(f"{path} is georeferenced, and what is made of it will not be: {error}")
            return None

    def write(self, georeference: Georeference | None, image: Path) -> None:
        """Write where an image lies into an ``.aux.xml`` beside it, or remove that."""
        beside = image.with_name(f"{image.name}.aux.xml")
        if len(os.fsencode(beside.name)) > LONGEST_NAME:
            if georeference is not None:
                self._warn(f"{image} stays without a georeference: the name of an .aux.xml beside it would be too long")
        elif georeference is None:
            beside.unlink(missing_ok=True)
        else:
            a, b, c, d, e, f = georeference.transform
            numbers = ", ".join(repr(float(number)) for number in (c, a, b, f, d, e))
            with atomic_write(beside) as file:  # without a mapping of axes GDAL takes easting or longitude as first
                file.write(
                    f"<PAMDataset>\n  <SRS>{escape(georeference.crs)}</SRS>\n"
                    f"  <GeoTransform>{numbers}</GeoTransform>\n</PAMDataset>\n"
                )

    def _warn(self, message: str) -> None:
        if not self._warned:
            self._warned = True
            warn_user(message)


def has_geo_keys(path: str | Path) -> bool:
    """Tell whether a file is a GeoTIFF; of TIFFs that Pillow does not read it is not known, and taken as true."""
    try:
        with Image.open(path) as image:
            return isinstance(image, TiffImagePlugin.TiffImageFile) and _GEO_KEYS in image.tag_v2
    except UnidentifiedImageError:
        return True
    except (OSError, SyntaxError, ValueError):
        return False


def _stored_from_shown(orientation: int, width: int, height: int) -> tuple[float, float, float, float, float, float]:
    """Return the affine map from pixels as shown, of an image of this width and height as shown, to those stored."""
    return {
        2: (-1, 0, width, 0, 1, 0),
        3: (-1, 0, width, 0, -1, height),
        4: (1, 0, 0, 0, -1, height),
        5: (0, 1, 0, 1, 0, 0),
        6: (0, 1, 0, -1, 0, width),
        7: (0, -1, height, -1, 0, width),
        8: (0, -1, height, 1, 0, 0),
    }.get(orientation, (1, 0, 0, 0, 1, 0))
