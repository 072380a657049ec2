"""Decode JPEG files on a GPU, by nvJPEG, a batch at a time.

Its pixels are not those of libjpeg, with which browsers, Pillow and OpenCV decode: it rounds otherwise, and enlarges
colours that are stored at half the size otherwise.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeGuard

import torch
from PIL import Image
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg

from ...data.images import UnreadableImage
from .forward import Prepared
from .pipeline import batched

_AT_ONCE = 32  # files
_ORIENTATION = 0x0112  # of EXIF
_END = b"\xff\xd9"  # marker; without it a file is truncated


@dataclass(frozen=True)
class Encoded:
    """A JPEG file in the place of its pixels.

    Attributes:
        data: its bytes, (n,) uint8.
        shape: (H, W, 3) of its pixels.
    """

    data: Tensor
    shape: tuple[int, int, int]


def read(path: Path) -> Encoded | None:
    """Read a file that nvJPEG decodes as :func:`al_rotate.images.read` does, but for its pixels' last bits.

    Returns:
        None for what another decoder has to read, or to refuse: other formats, several pictures in one file, grey,
        CMYK, colour stored as red, green and blue, an orientation to be applied, truncated and damaged files.
    """
    try:
        data = path.read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            is_usual = (image.format, image.mode) == ("JPEG", "RGB") and image.getexif().get(_ORIENTATION, 1) == 1
            names = bytes(component[0] for component in getattr(image, "layer", ()))
            is_rgb = image.info.get("adobe_transform") == 0 or names == b"RGB"
            width, height = image.size
    except Exception:  # many kinds; the usual decoder says what is wrong
        return None
    if not is_usual or is_rgb or not data.endswith(_END):
        return None
    return Encoded(_as_tensor(data), (height, width, 3))


def decoded(
    images: Iterable[Prepared | UnreadableImage],
    device: torch.device,
    again: Callable[[int], Prepared | UnreadableImage],
) -> Iterator[Prepared | UnreadableImage]:
    """Yield prepared images in their order, with pixels on a device in the place of :class:`Encoded` ones.

    Args:
        images: as they are prepared.
        device: decodes.
        again: prepares the image of a position by the usual decoder, where the device cannot.
    """
    for start, group in zip(itertools.count(0, _AT_ONCE), batched(images, _AT_ONCE), strict=False):
        encoded = {place: image for place, image in enumerate(group) if _is_encoded(image)}
        pixels = _decode([image["inputs"].pixels for image in encoded.values()], device)
        found = dict(zip(encoded, pixels, strict=True))
        for place, image in enumerate(group):
            if place not in encoded:
                yield image
            elif found[place] is None:
                yield again(start + place)
            else:
                yield {**encoded[place], "inputs": replace(encoded[place]["inputs"], pixels=found[place])}


def require(device: torch.device) -> None:
    """Decode a picture of eight pixels' side.

    Raises:
        ValueError: where the installed torchvision cannot on this device.
    """
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "jpeg")
    try:
        decode_jpeg([_as_tensor(file.getvalue())], ImageReadMode.RGB, device)
    except RuntimeError as error:
        raise ValueError(
            f"expected a torchvision that decodes JPEG files on {device}, got {str(error).splitlines()[0]}; leave out "
            "nvjpeg"
        ) from error


def _is_encoded(image: Prepared | UnreadableImage) -> TypeGuard[Prepared]:
    return isinstance(image, dict) and isinstance(image["inputs"].pixels, Encoded)


def _decode(files: list[Encoded], device: torch.device) -> list[Tensor | None]:
    """Return the pixels of each file, (H, W, 3) BGR, None where they are not to be had."""
    if not files:
        return []
    try:
        images = decode_jpeg([file.data for file in files], ImageReadMode.RGB, device)
    except RuntimeError:  # names no file, and gives none of them
        return [None] if len(files) == 1 else [pixels for file in files for pixels in _decode([file], device)]
    packed = [image.flip(0).permute(1, 2, 0).contiguous() for image in images]
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()  # those that read them have streams of their own
    return [pixels if pixels.shape == file.shape else None for pixels, file in zip(packed, files, strict=True)]


def _as_tensor(data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)
