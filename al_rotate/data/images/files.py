"""Image files and their ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from ..columns import require_unicode

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".jp2", ".bmp", ".webp")


def find(root: str | Path) -> dict[str, Path]:
    """Find all images in a folder and its sub-folders, sorted by id.

    Args:
        root: the folder; hidden files and folders in it are ignored.

    Returns:
        image id -> file. The id is the POSIX path below `root` without its suffix.

    Raises:
        FileNotFoundError: when `root` is no folder or holds no image.
        ValueError: when two files have the same id (``a.jpg`` and ``a.png``), or a name is not UTF-8 (from an archive
            made elsewhere): neither labels nor detections could be stored under it.
    """
    root = Path(root)
    files: dict[str, Path] = {}
    for file in sorted(file for file in root.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file()):
        relative = file.relative_to(root)
        if any(part.startswith(".") for part in relative.parts):
            continue
        require_unicode(str(relative), f"the names of image files below {root}")
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
