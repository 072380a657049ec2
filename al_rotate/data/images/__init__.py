"""Image files, their ids, and their pixels as people and the detector see them."""

from .files import SUFFIXES, find, resolve
from .pixels import UnreadableImage, allow_large_images, read, size
from .renditions import is_shown_by_browsers, render, rendition

__all__ = [
    "SUFFIXES",
    "UnreadableImage",
    "allow_large_images",
    "find",
    "is_shown_by_browsers",
    "read",
    "render",
    "rendition",
    "resolve",
    "size",
]
