"""What a detector is given: images by id, as files or arrays, decoded ahead of their use."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import images

Source = Path | NDArray[np.uint8] | Callable[[], NDArray[np.uint8]]
Images = str | Path | Sequence[str | Path] | Mapping[str, str | Path] | Iterable[Any]


def as_pairs(given: Images) -> tuple[Iterator[tuple[str, Source]], int | None]:
    """(image id, file or array) one after the other, and how many if that is known."""
    if isinstance(given, (str, Path, Mapping)) or (
        isinstance(given, Sequence) and all(isinstance(item, (str, Path)) for item in given)
    ):
        files = images.resolve(given)  # type: ignore[arg-type]
        return iter(files.items()), len(files)
    return _pairs(given), len(given) if isinstance(given, Sized) else None


def _pairs(given: Iterable[Any]) -> Iterator[tuple[str, Source]]:
    for position, item in enumerate(given):
        image_id, source = item if isinstance(item, tuple) else (None, item)
        if isinstance(source, (str, Path)):
            yield image_id or Path(source).stem, Path(source)
        elif isinstance(source, np.ndarray) or callable(source):
            yield image_id or str(position), source
        else:
            raise TypeError(f"expected image files or arrays, got {type(source).__name__} at position {position}")


def read(pair: tuple[str, Source]) -> NDArray[np.uint8] | images.UnreadableImage:
    """The pixels (H, W, 3) BGR, or why a file has none; a source that is called may raise UnreadableImage too.

    Raises:
        ValueError: for an array of another kind: that is the caller's mistake, not a broken file.
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
        what = f"{source.dtype} {source.shape} for image {image_id!r}"
        raise ValueError(f"expected image arrays (H, W, 3) uint8 BGR, got {what}")
    return np.ascontiguousarray(source)


def size_of(source: Source) -> tuple[int, int]:
    """Width and height in pixels, of a file from its header alone.

    Raises:
        UnreadableImage: for a file that has none.
    """
    if isinstance(source, Path):
        return images.size(source)
    array = source() if callable(source) else source
    return array.shape[1], array.shape[0]


class Shared:
    """An image that several look at, each once: decoded when the first does, forgotten after the last."""

    def __init__(self, pair: tuple[str, Source], uses: int) -> None:
        self._pair: tuple[str, Source] | None = pair
        self._left = uses
        self._lock = threading.Lock()
        self._pixels: NDArray[np.uint8] | images.UnreadableImage | None = None

    def __call__(self) -> NDArray[np.uint8]:
        """(H, W, 3) BGR, not to be written to.

        Raises:
            UnreadableImage: for a file that has no pixels.
        """
        with self._lock:
            found = self._pixels
            if found is None:
                assert self._pair is not None, "looked at more often than was said"
                found = read(self._pair)
            self._left -= 1
            if self._left:
                self._pixels = found
            else:
                self._pixels = self._pair = None  # an array given by the caller, too
        if isinstance(found, images.UnreadableImage):
            raise found
        return found
