"""A detector's input: images by id, as files, arrays or functions that return arrays."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import images


@dataclass(frozen=True)
class ChosenBands:
    """An image file of which bands are chosen, or the depth is stretched, as by :func:`al_rotate.images.read`."""

    path: Path
    bands: tuple[int, ...] | None = None
    stretch: tuple[float, float] | None = None

    def __call__(self) -> NDArray[np.uint8]:
        """Return the pixels, (H, W, 3) BGR."""
        return images.read(self.path, "BGR", bands=self.bands, stretch=self.stretch)


Source = Path | NDArray[np.uint8] | Callable[[], NDArray[np.uint8]]
Images = str | Path | Sequence[str | Path] | Mapping[str, str | Path] | Iterable[Any]


def as_pairs(
    inputs: Images, bands: tuple[int, ...] | None = None, stretch: tuple[float, float] | None = None
) -> tuple[Iterator[tuple[str, Source]], int | None]:
    """Turn a detector's input into pairs (image id, source), and their number if it is known.

    Args:
        inputs: as they were given.
        bands, stretch: how files are read.

    Raises:
        TypeError: while iterating, for an item that is neither a file nor an array.
    """
    pairs, count = _as_pairs(inputs)
    if bands is None and stretch is None:
        return pairs, count
    return ((i, ChosenBands(s, bands, stretch) if isinstance(s, Path) else s) for i, s in pairs), count


def _as_pairs(inputs: Images) -> tuple[Iterator[tuple[str, Source]], int | None]:
    if isinstance(inputs, (str, Path, Mapping)) or (
        isinstance(inputs, Sequence) and all(isinstance(item, (str, Path)) for item in inputs)
    ):
        files = images.resolve(inputs)  # type: ignore[arg-type]
        return iter(files.items()), len(files)
    return _pairs(inputs), len(inputs) if isinstance(inputs, Sized) else None


def _pairs(inputs: Iterable[Any]) -> Iterator[tuple[str, Source]]:
    for position, item in enumerate(inputs):
        image_id, source = item if isinstance(item, tuple) else (None, item)
        if isinstance(source, (str, Path)):
            yield image_id or Path(source).stem, Path(source)
        elif isinstance(source, np.ndarray) or callable(source):
            yield image_id or str(position), source
        else:
            raise TypeError(f"expected image files or arrays, got {type(source).__name__} at position {position}")


def read(pair: tuple[str, Source]) -> NDArray[np.uint8] | images.UnreadableImage:
    """Read the pixels of an image.

    Args:
        pair: image id and source; a callable source may raise UnreadableImage.

    Returns:
        (H, W, 3) uint8 BGR, or the error of an unreadable image.

    Raises:
        ValueError: for an array of another shape or dtype, which is the caller's mistake.
    """
    image_id, source = pair
    try:
        if isinstance(source, Path):
            return images.read(source, "BGR")
        if callable(source):
            source = source()
    except images.UnreadableImage as error:
        return error
    if source.ndim != 3 or source.shape[2] != 3 or not source.size or source.dtype != np.uint8:
        got = f"{source.dtype} {source.shape} for image {image_id!r}"
        raise ValueError(f"expected image arrays (H, W, 3) uint8 BGR, got {got}")
    return np.ascontiguousarray(source)


def file_of(source: Source) -> Path | None:
    """Return the file that a source is read from; None where it is not known."""
    file = source if isinstance(source, Path) else getattr(source, "path", None)
    return file if isinstance(file, Path) else None


def size_of(source: Source) -> tuple[int, int]:
    """Return width and height in pixels; of a file, only the header is read.

    Raises:
        UnreadableImage: for a file that is no image.
    """
    if isinstance(source, Path | ChosenBands):
        return images.size(source.path if isinstance(source, ChosenBands) else source)
    array = source() if callable(source) else source
    return array.shape[1], array.shape[0]


class Shared:
    """An image that is used several times: decoded at the first use, released after the last.

    Args:
        pair: image id and source.
        uses: number of calls to come, from any thread.

    Attributes:
        path: the file, None where it is not known.
    """

    def __init__(self, pair: tuple[str, Source], uses: int) -> None:
        self.path = file_of(pair[1])
        self._pair: tuple[str, Source] | None = pair
        self._uses_left = uses
        self._lock = threading.Lock()
        self._decoded: NDArray[np.uint8] | images.UnreadableImage | None = None

    def __call__(self) -> NDArray[np.uint8]:
        """Return the pixels, (H, W, 3) BGR, which all uses share: do not write to them.

        Raises:
            UnreadableImage: for a file that cannot be decoded.
        """
        with self._lock:
            decoded = self._decoded
            if decoded is None:
                assert self._pair is not None, "expected no more calls than `uses`"
                decoded = read(self._pair)
            self._uses_left -= 1
            if self._uses_left:
                self._decoded = decoded
            else:
                self._decoded = self._pair = None  # releases the caller's array as well
        if isinstance(decoded, images.UnreadableImage):
            raise decoded
        return decoded
