"""Image files, their ids, and their pixels as people and the detector see them."""

from .files import SUFFIXES, find, resolve
from .georeference import Copier, Georeference, NotGeoreferenced, locate
from .pixels import (
    UndecidedImage,
    UnreadableImage,
    allow_large_images,
    as_stretch,
    read,
    require_decided,
    size,
    tell_unreadable,
)
from .raster import as_bands
from .renditions import is_shown_by_browsers, render, rendition, stamp, write_png

__all__ = [
    "SUFFIXES",
    "Copier",
    "Georeference",
    "NotGeoreferenced",
    "UndecidedImage",
    "UnreadableImage",
    "allow_large_images",
    "as_bands",
    "as_stretch",
    "find",
    "is_shown_by_browsers",
    "locate",
    "read",
    "render",
    "rendition",
    "require_decided",
    "resolve",
    "size",
    "stamp",
    "tell_unreadable",
    "write_png",
]
