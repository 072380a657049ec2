"""Hundreds of images to browse: an interactive page in one file, and small pictures for notebooks."""

from .gallery import Gallery

__all__ = ["Gallery"]
