"""Small pictures as data URLs."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from ...data import images
from ..paths import without_folders


class Thumbnail(NamedTuple):
    """A small picture.

    Attributes:
        url: a data URL of WebP; None for a file that cannot be read.
        width, height: of the image in the file, in pixels; 0 if unknown.
        problem: why it cannot be read; empty: it can.
    """

    url: str | None
    width: int
    height: int
    problem: str = ""


def thumbnail(path: Path, side: int, quality: int = 66) -> Thumbnail:
    """Make a picture of an image that is `side` pixels wide, or high if that is more; smaller images stay as they are.

    Args:
        path: of the image, read as :func:`al_rotate.images.read` reads it.
        side: in pixels.
        quality: of WebP, up to 100.
    """
    try:
        with images.allow_large_images():
            picture = Image.fromarray(images.read(path))
    except images.UnreadableImage as error:
        return Thumbnail(None, 0, 0, f"cannot be read: {_reason(error, path)}")
    width, height = picture.size
    picture.thumbnail((side, side), Image.Resampling.BICUBIC, reducing_gap=1.5)
    buffer = io.BytesIO()
    picture.save(buffer, "webp", quality=quality, method=1)
    return Thumbnail(f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}", width, height)


def _reason(error: images.UnreadableImage, path: Path) -> str:
    """Say why an image cannot be read, without its folder."""
    cause = error.__cause__
    if isinstance(cause, OSError) and cause.strerror:  # its own text repeats the path
        return cause.strerror
    return without_folders(str(error).removeprefix(f"{path}: ").replace(str(path), path.name))
