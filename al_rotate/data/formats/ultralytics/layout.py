"""Where an Ultralytics data set has its class names, its images and their label files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ... import images
from ...class_names import read_file, read_text, read_yaml
from ..matching import pair
from ..reading import Notes, files_of, is_listing

Pairs = dict[str, tuple[Path, Path]]  # image id -> label file and image file

LARGEST_LIST = 1 << 28  # bytes of a .txt file of labels or image paths
_NAMES_FILES = ("classes.txt", "obj.names")


def find_yaml(source: Path) -> Path | None:
    """Return the YAML file that describes a data set: `source` itself, or the one in that folder with names or nc.

    Or the one in a folder of that folder, as unpacked archives have it.

    Raises:
        ValueError: for several.
    """
    if source.suffix.lower() in (".yaml", ".yml"):
        return source
    for pattern in ("", "*/"):
        found = sorted(file for end in ("yaml", "yml") for file in source.glob(f"{pattern}*.{end}"))
        named = [file for file in found if file.stem in ("data", "dataset") and (not pattern or _describes(file))]
        candidates = named or [file for file in found if not file.name.startswith(".") and _describes(file)]
        if len(candidates) > 1:
            listed = ", ".join(str(file.relative_to(source)) for file in candidates)
            raise ValueError(f"expected one data.yaml in {source}, got {listed}; name the file that you mean")
        if candidates:
            return candidates[0]
    return None


def _describes(file: Path) -> bool:
    try:
        data = read_yaml(file)
    except ValueError:
        return False
    return "train" in data and ("names" in data or "nc" in data)


def names_files(source: Path) -> list[Path]:
    """Return the file of class names beside labels; or all below them, where a tool put one into each folder."""
    for folder in (source, source / "labels", *([source.parent] if source.name == "labels" else [])):
        for name in _NAMES_FILES:
            if (folder / name).is_file():
                return [folder / name]
    return sorted(file for name in _NAMES_FILES for file in source.rglob(name))


def class_names(source: Path, listing: Sequence[Path], classes: Sequence[str] | None) -> tuple[str, ...]:
    """Return the class names in the order of their numbers, from the files of :func:`names_files`, else `classes`.

    Raises:
        FileNotFoundError: without either.
        ValueError: for files with different names.
    """
    listed = {read_file(file, numbered=True): file for file in listing}
    if len(listed) > 1:
        raise ValueError(f"expected the same class names in {' and '.join(map(str, listed.values()))}, got others")
    if not listed and classes is None:
        raise FileNotFoundError(
            f"expected the class names in {source / 'data.yaml'} or {source / 'classes.txt'}, got "
            "neither; give classes, in the order of their numbers"
        )
    return next(iter(listed), tuple(classes or ()))


def pairs_of_folder(source: Path, files: dict[str, Path], listing: Sequence[Path]) -> tuple[Pairs, dict[str, str]]:
    """Pair the label files of a folder with images of their names.

    Args:
        source: the folder.
        files: image id -> file; without any, the images in the folder.
        listing: files that are no labels.

    Returns:
        image id -> label file and image file; and label id -> reason for labels without an image.

    Raises:
        FileNotFoundError: without labels or images.
        ValueError: if no label file has an image.
    """
    folder = source / "labels" if (source / "labels").is_dir() else source
    found = {image_id: file for image_id, file in files_of(folder, ".txt").items() if file not in listing}
    labels = _without_folder(found, "labels")
    if not labels:
        raise FileNotFoundError(f"expected YOLO labels in {folder}, got no .txt file with labels")
    if not files:
        near = folder.parent / "images" if folder.name == "labels" else source
        files = _without_folder(images.find(near), "images")
    image_of, left_out = pair(labels, files)
    if not image_of:
        first, example = next(iter(labels.items()))
        raise ValueError(
            f"{example}: expected an image with the id {first!r}, for its size, got none; "
            f"there are images {', '.join(list(files)[:3])}"
        )
    reasons = {i: f"{labels[i]}: {why}" for i, why in left_out.items() if not is_listing(labels[i])}
    return {image_id: (labels[label_id], files[image_id]) for label_id, image_id in image_of.items()}, reasons


def pairs_of_yaml(
    data: dict[str, Any], file: Path, files: dict[str, Path], notes: Notes
) -> Iterator[tuple[str, tuple[Path, Path]]]:
    """Yield image id, label file and image file of all images of a data.yaml that have labels.

    Raises:
        FileNotFoundError: without images, unless there are `files`, or without labels.
        ValueError: for entries that are no folders or lists, and for two images of one id.
    """
    root = root_of(data, file)
    ids = {path.resolve(): image_id for image_id, path in files.items()}
    found: dict[str, Path] = {}
    absent: list[str] = []
    for split in ("train", "val", "test"):
        for image in dict.fromkeys(_images_of(data.get(split), split, root, file, notes)):
            image_id = ids.get(image.resolve()) or _id_below(image, root)
            if found.get(image_id, image).resolve() != image.resolve():
                raise ValueError(
                    f"{file}: expected one image per id, got {found[image_id]} and {image}, both {image_id!r}"
                )
            label_file = _label_file(image)
            if label_file.is_file():
                yield image_id, (label_file, image)
            elif image_id not in found:
                absent.append(image_id)
            found[image_id] = image
    if not found and not files:
        raise FileNotFoundError(
            f"{file}: expected images in train, val or test, below {root}, got none; give the images, if they lie "
            "elsewhere"
        )
    if found and len(absent) == len(found):
        raise FileNotFoundError(f"{file}: expected labels such as {_label_file(next(iter(found.values())))}, got none")
    notes.add("images without a label file, taken as not labelled yet", "".join(absent[:1]), len(absent))


def unnamed_labels(root: Path, pairs: Pairs, file: Path) -> dict[str, str]:
    """Return id -> reason of the files in folders named labels that are of no image of the data.yaml's splits."""
    used = {label_file.resolve() for label_file, _ in pairs.values()}
    found = [label for folder in sorted(root.rglob("labels")) if folder.is_dir() for label in folder.rglob("*.txt")]
    others = [label for label in sorted({*found}) if label.resolve() not in used and label.name not in _NAMES_FILES]
    return {
        label.relative_to(root).with_suffix("").as_posix(): f"{label}: of no image that {file.name} names"
        for label in others
    }


def root_of(data: dict[str, Any], file: Path) -> Path:
    """Return the folder that a data.yaml is about; ValueError for a `path` that is no text."""
    given = data.get("path")
    if given is None or given == "":
        return file.parent
    if not isinstance(given, str):
        raise ValueError(f"{file}: expected path to be a folder, got {given!r}")
    # The path of somebody else's computer, or below Ultralytics' own folder of data sets, is not here.
    candidates = [file.parent / given, Path(given), file.parent]
    return next(folder for folder in candidates if folder.is_dir())


def _images_of(given: Any, split: str, root: Path, file: Path, notes: Notes) -> Iterator[Path]:
    """Yield the image files of a split: of a folder, a .txt file of paths, or a list of these."""
    for entry in given if isinstance(given, list) else [given] if given else []:
        if not isinstance(entry, str):
            raise ValueError(f"{file}: expected {split} to be folders or .txt files, got {entry!r}")
        # Some exports name ../train/images and lie next to train/ all the same; Ultralytics tries both.
        here = entry.replace("\\", "/").removeprefix("../")
        candidates = [root / entry, root / here, file.parent / here]
        path = next((candidate for candidate in candidates if candidate.exists()), None)
        if path is None:
            notes.add(f"{split} in {file.name} is {entry}, which is not there: left out")
        elif path.is_dir():
            listed = (image for image in sorted(path.rglob("*")) if image.suffix.lower() in images.SUFFIXES)
            yield from (image for image in listed if not image.name.startswith("."))
        elif path.suffix.lower() == ".txt":
            for line in filter(None, map(str.strip, read_text(path, LARGEST_LIST).splitlines())):
                below = line.replace("\\", "/")  # CVAT writes data/images/... for images/...
                places = (path.parent / line, root / line, Path(line), root / below, root / below.partition("/")[2])
                image = next((place for place in places if place.is_file()), None)
                if image is None:
                    notes.add("images that a list names, and that are not there: left out", f"{path}: {line}")
                else:
                    yield image
        else:
            raise ValueError(f"{file}: expected {split} to be a folder or a .txt file of images, got {path}")


def _id_below(image: Path, root: Path) -> str:
    absolute, base = image.resolve(), root.resolve()
    below = absolute.relative_to(base) if absolute.is_relative_to(base) else Path(absolute.name)
    return _without(below.with_suffix("").as_posix(), "images")


def _without_folder(files: Mapping[str, Path], folder: str) -> dict[str, Path]:
    shorter: dict[str, Path] = {}
    for image_id, file in files.items():
        if (name := _without(image_id, folder)) in shorter:
            raise ValueError(f"expected one file per id, got {shorter[name]} and {file}, both {name!r}")
        shorter[name] = file
    return shorter


def _without(image_id: str, folder: str) -> str:
    """Drop a folder from an id: ``train/labels/a`` and ``train/images/a`` are both ``train/a``."""
    *folders, name = image_id.split("/")
    return "/".join([*(part for part in folders if part != folder), name])


def _label_file(image: Path) -> Path:
    parts = list(image.absolute().parts)
    places = [place for place, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    return Path(*parts).with_suffix(".txt")
