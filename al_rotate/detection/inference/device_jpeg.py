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
from ...storage.user_warnings import warn_user
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
        CMYK, colour stored as red, green and blue, an orientation to be applied, and files with a damaged header or
        without an end. Damage behind the header is left to nvJPEG, which may refuse it or give other pixels than
        libjpeg there.
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

    It warns of files that the device could not decode and the usual decoder could.

    Args:
        images: as they are prepared.
        device: decodes.
        again: prepares the image of a position by the usual decoder, where the device cannot.
    """
    reasons: dict[str, str] = {}  # image id -> why another decoder read it
    for start, group in zip(itertools.count(0, _AT_ONCE), batched(images, _AT_ONCE), strict=False):
        encoded = {place: image for place, image in enumerate(group) if _is_encoded(image)}
        pixels = _decode([image["inputs"].pixels for image in encoded.values()], device)
        found = dict(zip(encoded, pixels, strict=True))
        for place, image in enumerate(group):
            if place not in encoded:
                yield image
            elif isinstance(reason := found[place], str):
                prepared = again(start + place)
                if not isinstance(prepared, UnreadableImage):
                    reasons[encoded[place]["data_samples"].img_id] = reason
                yield prepared
            else:
                yield {**encoded[place], "inputs": replace(encoded[place]["inputs"], pixels=found[place])}
    if reasons:
        image_id, reason = next(iter(reasons.items()))
        warn_user(
            f"{len(reasons)} JPEG files were decoded on the CPU, as without nvjpeg, the first {image_id}: on {device}, "
            f"{reason}"
        )


def require(device: torch.device) -> None:
    """Decode a picture of eight pixels' side.

    Raises:
        ValueError: where the installed torchvision cannot on this device.
    """
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "jpeg")
    try:
        _decode_at_once([Encoded(_as_tensor(file.getvalue()), (8, 8, 3))], device)
    except RuntimeError as error:
        raise ValueError(
            f"expected a torchvision that decodes JPEG files on {device}, got {_said(error)}; leave out nvjpeg"
        ) from error


def _is_encoded(image: Prepared | UnreadableImage) -> TypeGuard[Prepared]:
    return isinstance(image, dict) and isinstance(image["inputs"].pixels, Encoded)


def _decode(files: list[Encoded], device: torch.device) -> list[Tensor | str]:
    """Return the pixels of each file, (H, W, 3) BGR, or why they are not to be had.

    A batch that fails, for want of memory or for one of its files, which the error does not name, is halved.
    """
    if not files:
        return []
    try:
        return _decode_at_once(files, device)
    except RuntimeError as error:  # running out of memory is one
        reason = _said(error)
    if device.type == "cuda":
        torch.cuda.empty_cache()  # only here, where the error no longer holds what was decoded
    if len(files) == 1:
        return [reason]
    half = len(files) // 2
    return _decode(files[:half], device) + _decode(files[half:], device)


def _decode_at_once(files: list[Encoded], device: torch.device) -> list[Tensor | str]:
    on_gpu = device.type == "cuda"
    if on_gpu:
        # torchvision decodes in a stream of its own, into memory that this one may still read (pytorch/vision#9606).
        torch.cuda.current_stream(device).synchronize()
    images = decode_jpeg([file.data for file in files], ImageReadMode.RGB, device)
    pixels = [image.flip(0).permute(1, 2, 0).contiguous() for image in images]
    if on_gpu:
        torch.cuda.current_stream(device).synchronize()  # those that read them have streams of their own
    return [
        image if image.shape == file.shape else f"{tuple(image.shape)} pixels in place of {file.shape}"
        for image, file in zip(pixels, files, strict=True)
    ]


def _said(error: RuntimeError) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _as_tensor(data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)
