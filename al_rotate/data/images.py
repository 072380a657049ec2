"""Image files <-> image ids, and the one way pixels are read: as Label Studio's browser shows them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, TiffImagePlugin, UnidentifiedImageError

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")
_LARGEST_SCENE = 20_000**2  # pixels


class UnreadableImage(ValueError):
    """An image file that cannot be decoded whole; the message says which and why."""


def find(root: str | Path) -> dict[str, Path]:
    """All images under a folder, sorted by id.

    Args:
        root: a folder, searched through all its sub-folders; hidden files are passed over.

    Returns:
        image id -> file. The id is the POSIX path under `root` without its suffix.

    Raises:
        FileNotFoundError: when `root` is no folder or holds no image.
        ValueError: when two files would have one id (``a.jpg`` beside ``a.png``).
    """
    root = Path(root)
    files = [f for f in root.rglob("*") if f.suffix.lower() in SUFFIXES and f.is_file()]
    found: dict[str, Path] = {}
    for file in sorted(files):
        relative = file.relative_to(root)
        if any(part.startswith(".") for part in relative.parts):
            continue
        image_id = relative.with_suffix("").as_posix()
        if image_id in found:
            both = f"{found[image_id]} and {file}, both {image_id!r}"
            raise ValueError(f"expected one image per id, got {both}; rename one")
        found[image_id] = file
    if not found:
        raise FileNotFoundError(f"expected a folder with images ({', '.join(SUFFIXES)}), got {root}")
    return dict(sorted(found.items()))


def resolve(images: str | Path | Iterable[str | Path] | Mapping[str, str | Path]) -> dict[str, Path]:
    """image id -> file, from a folder, one file, several files (id: the name without suffix) or such a mapping."""
    if isinstance(images, Mapping):
        return {str(image_id): Path(path) for image_id, path in images.items()}
    if isinstance(images, (str, Path)):
        path = Path(images)
        return find(path) if path.is_dir() or not path.suffix else {path.stem: path}
    found: dict[str, Path] = {}
    for path in map(Path, images):
        if path.stem in found:
            raise ValueError(
                f"expected one image per id, got {found[path.stem]} and {path}, both {path.stem!r}; "
                "give a folder, or a mapping of image ids to files"
            )
        found[path.stem] = path
    return found


def read(path: str | Path, order: Literal["RGB", "BGR"] = "RGB") -> NDArray[np.uint8]:
    """Decode an image as a browser shows it, and as MMRotate's OpenCV loader reads it.

    EXIF orientation is applied; alpha is dropped; palettes and grey become colour; of 16 bits the upper 8 are
    kept. A truncated file is refused: OpenCV would fill the missing part with grey and say nothing. So are 32 bits
    a channel, whose range nobody knows.

    Args:
        path: of the file.
        order: of the channels; MMDetection's pipelines begin with BGR.

    Returns:
        (H, W, 3) uint8.

    Raises:
        UnreadableImage: for a file that is missing, empty, truncated, too large or no image.
    """
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # another library may have set it since
    try:
        with Image.open(path) as image:
            if image.mode.startswith(("I", "F")):
                # Pillow's own conversion would clip at 255.
                grey = np.asarray(ImageOps.exif_transpose(image))
                if grey.dtype.kind == "f" or grey.min() < 0 or grey.max() >= 1 << 16:
                    raise ValueError(
                        f"expected 8 or 16 bits a channel, got {image.mode} with larger values or fractions"
                    )
                return np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, axis=2)
            # Each copy of a photograph costs as much as a good part of its decoding: in place, and one is made.
            ImageOps.exif_transpose(image, in_place=True)
            shown = image if image.mode == "RGB" else image.convert("RGB")
            packed = np.frombuffer(bytearray(shown.tobytes("raw", order)), np.uint8)
            return packed.reshape(shown.height, shown.width, 3)
    except UnidentifiedImageError:
        size = Path(path).stat().st_size
        raise UnreadableImage(f"{path}: {'empty file' if size == 0 else 'not an image'} ({size} bytes)") from None
    except Image.DecompressionBombError as error:
        raise UnreadableImage(f"{path}: {error} Raise PIL.Image.MAX_IMAGE_PIXELS if you trust the file.") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise UnreadableImage(f"{path}: {error}") from error


@contextmanager
def allow_large_images() -> Iterator[None]:
    """While open, images as large as scenes are (20,000 x 20,000 pixels) are no decompression bombs to Pillow."""
    before = Image.MAX_IMAGE_PIXELS
    if before is not None:
        Image.MAX_IMAGE_PIXELS = max(before, _LARGEST_SCENE)
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def size(path: str | Path) -> tuple[int, int]:
    """Width and height as :func:`read` would give them, from the header alone.

    Raises:
        UnreadableImage: as :func:`read`.
    """
    try:
        with Image.open(path) as image:
            turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            # Of a TIFF that needs turning, Pillow gives the size before or after, as its version goes.
            tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else None
            width, height = (tags[256], tags[257]) if tags else image.size
            return (height, width) if turned else (width, height)
    except Image.DecompressionBombError as error:
        raise UnreadableImage(f"{path}: {error} Raise PIL.Image.MAX_IMAGE_PIXELS if you trust the file.") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise UnreadableImage(f"{path}: {error}") from error
