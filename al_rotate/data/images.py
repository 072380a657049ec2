"""Image files, their ids, and their pixels as a browser, and so Label Studio, shows them."""

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
    """An image file that cannot be decoded completely; the message names the file and the reason."""


def find(root: str | Path) -> dict[str, Path]:
    """Find all images in a folder and its sub-folders, sorted by id.

    Args:
        root: the folder; hidden files and folders in it are ignored.

    Returns:
        image id -> file. The id is the POSIX path below `root` without its suffix.

    Raises:
        FileNotFoundError: when `root` is no folder or holds no image.
        ValueError: when two files have the same id (``a.jpg`` and ``a.png``).
    """
    root = Path(root)
    files: dict[str, Path] = {}
    for file in sorted(file for file in root.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file()):
        relative = file.relative_to(root)
        if any(part.startswith(".") for part in relative.parts):
            continue
        image_id = relative.with_suffix("").as_posix()
        if image_id in files:
            both = f"{files[image_id]} and {file}, both {image_id!r}"
            raise ValueError(f"expected one image per id, got {both}; rename one")
        files[image_id] = file
    if not files:
        raise FileNotFoundError(f"expected a folder with images ({', '.join(SUFFIXES)}), got {root}")
    return dict(sorted(files.items()))


def resolve(images: str | Path | Iterable[str | Path] | Mapping[str, str | Path]) -> dict[str, Path]:
    """Turn a folder, a file, several files or a mapping into a mapping image id -> file.

    Args:
        images: a folder is searched by :func:`find`; the id of a single file is its name without the suffix; a mapping
            of image ids to files is kept.

    Raises:
        FileNotFoundError: for a folder without images.
        ValueError: when two files have the same id.
    """
    if isinstance(images, Mapping):
        return {str(image_id): Path(path) for image_id, path in images.items()}
    if isinstance(images, (str, Path)):
        path = Path(images)
        return find(path) if path.is_dir() or not path.suffix else {path.stem: path}
    files: dict[str, Path] = {}
    for path in map(Path, images):
        if path.stem in files:
            raise ValueError(
                f"expected one image per id, got {files[path.stem]} and {path}, both {path.stem!r}; "
                "give a folder, or a mapping of image ids to files"
            )
        files[path.stem] = path
    return files


def read(path: str | Path, order: Literal["RGB", "BGR"] = "RGB") -> NDArray[np.uint8]:
    """Decode an image as a browser shows it, and as MMRotate's OpenCV loader reads it.

    EXIF orientation is applied, alpha is dropped, palettes and grey become colour, and of 16 bits the upper 8 are kept.
    Truncated files are refused, where OpenCV silently fills the missing part with grey. So are 32 bits per channel,
    whose range is unknown.

    Args:
        path: the file.
        order: of the channels; MMDetection's pipelines start from BGR.

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
                        f"expected 8 or 16 bits per channel, got {image.mode} with larger values or fractions"
                    )
                return np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, axis=2)
            # A copy of a photograph costs a good part of its decoding, so orient in place and copy only once.
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
    """Let Pillow open images of up to 20,000 x 20,000 pixels, which it takes for decompression bombs, in this block."""
    before = Image.MAX_IMAGE_PIXELS
    if before is not None:
        Image.MAX_IMAGE_PIXELS = max(before, _LARGEST_SCENE)
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def size(path: str | Path) -> tuple[int, int]:
    """Read width and height from an image's header; EXIF orientation is applied, as in :func:`read`.

    Raises:
        UnreadableImage: for a file that is missing, empty, too large or no image.
    """
    try:
        with Image.open(path) as image:
            turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            # Pillow versions differ in whether the size of a TIFF has the orientation applied; the tags never have.
            tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else None
            width, height = (tags[256], tags[257]) if tags else image.size
            return (height, width) if turned else (width, height)
    except Image.DecompressionBombError as error:
        raise UnreadableImage(f"{path}: {error} Raise PIL.Image.MAX_IMAGE_PIXELS if you trust the file.") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise UnreadableImage(f"{path}: {error}") from error
