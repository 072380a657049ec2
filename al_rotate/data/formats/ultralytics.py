"""Ultralytics' data sets, as YOLO reads them: rotated boxes, horizontal boxes and polygons, as fractions of the image.

There is one ``.txt`` per image, one object per line: the class number, then eight coordinates (the corners of a rotated
box), four (centre x and y, width and height of a horizontal box), or the points of a polygon. Ultralytics looks for an
image's labels by replacing the last ``images`` in its path by ``labels``::

    data.yaml        names, and the images of train, val and test: folders, lists of folders, or .txt files of images
    images/train/ID.jpg
    labels/train/ID.txt

An empty label file is an image without objects. An image without a label file is an image that nobody has labelled yet
(Ultralytics takes it for one without objects).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np

from .. import images
from ..class_names import names_of, read_file, read_text, read_yaml
from ..instances import RotatedInstances
from .reading import HORIZONTAL, POLYGONS, Gathered, LabelledObject, Notes
from .values import number_in, rectangle_around

Kind = Literal["any", "rotated", "horizontal"]

_SLACK = 0.01  # that Ultralytics allows beyond the image
_WANTED = {"any": "4, 8 or more coordinates", "rotated": "8 coordinates", "horizontal": "4 coordinates"}
_LARGEST_LIST = 1 << 28  # bytes of a .txt file of labels or image paths


def read(
    source: str | Path,
    classes: Sequence[str] | None = None,
    image_files: Mapping[str, str | Path] | None = None,
    notes: Notes | None = None,
    kind: Kind = "any",
) -> RotatedInstances:
    """Read a data set by its ``data.yaml``, or a folder with labels/, images/ and classes.txt.

    Args:
        source: a ``.yaml`` file; a folder with one; or a folder whose label files are in labels/, or in it, with their
            class names in classes.txt, obj.names or `classes`.
        classes: the class names in the order that the labels shall have, matched by name. None takes the data set's,
            in its order.
        image_files: image id -> file, for the sizes. Its ids are taken where the data set's images are among these
            files. None looks where the data set says.
        notes: collects what is odd.
        kind: of the lines that are accepted.

    Returns:
        Labels with `image_sizes` for all images with a label file, sorted by id. An id is the path below the data set,
        without ``images`` and the suffix: ``train/ID`` for images/train/ID.jpg as for train/images/ID.jpg.

    Raises:
        FileNotFoundError: without labels, images or class names.
        ValueError: for a line that cannot be read, or coordinates that are no fractions; names file and line.
        UnreadableImage: for a labelled image whose size cannot be read.
    """
    source, notes = Path(source), notes if notes is not None else Notes()
    file = find_yaml(source)
    files = {image_id: Path(path) for image_id, path in (image_files or {}).items()}
    if file is not None:
        data = read_yaml(file)
        names = names_of(data, file)
        pairs = dict(_pairs_of_yaml(data, file, files, notes))
    else:
        names = dict(enumerate(_class_names(source, classes)))
        pairs = _pairs_of_folder(source, files, notes)
    if len(set(names.values())) < len(names):
        raise ValueError(f"{file}: expected distinct class names, got {list(names.values())}")
    gathered = Gathered(list(names.values()) if classes is None else classes)
    with images.allow_large_images():
        sizes = {image_id: images.size(image_file) for image_id, (_, image_file) in sorted(pairs.items())}
    for image_id, size in sizes.items():
        label_file, _ = pairs[image_id]
        gathered.add(image_id, label_file, read_objects(label_file, names, size, kind, notes), size)
    return gathered.labels()


def read_objects(
    file: Path, names: Mapping[int, str], size: tuple[int, int], kind: Kind, notes: Notes
) -> list[LabelledObject]:
    """Read the label file of an image of `size` (width, height); ValueError names file and line."""
    objects = []
    for number, line in enumerate(read_text(file, _LARGEST_LIST).splitlines(), start=1):
        if words := line.split():
            try:
                label, shape = _object(words, names, kind)
            except ValueError as error:
                raise ValueError(f"{file}:{number}: {error}; the line is {line.strip()[:200]!r}") from None
            if len(shape) == 4:
                notes.add(HORIZONTAL, f"{file}:{number}")
                scaled = [*(np.array(shape) * np.tile(size, 2)).tolist(), 0.0]
            else:
                if len(shape) != 8:
                    notes.add(POLYGONS, f"{file}:{number}")
                scaled = rectangle_around((np.reshape(shape, (-1, 2)) * size).ravel().tolist())
            objects.append(LabelledObject(names[label], scaled))
    return objects


def find_yaml(source: Path) -> Path | None:
    """Return the YAML file that describes a data set: `source` itself, or the one in that folder with names or nc.

    Raises:
        ValueError: for several.
    """
    if source.suffix.lower() in (".yaml", ".yml"):
        return source
    for name in ("data.yaml", "data.yml", "dataset.yaml"):
        if (source / name).is_file():
            return source / name
    candidates = [file for file in sorted([*source.glob("*.yaml"), *source.glob("*.yml")]) if _describes(file)]
    if len(candidates) > 1:
        listed = ", ".join(file.name for file in candidates)
        raise ValueError(f"expected one data.yaml in {source}, got {listed}; name the file that you mean")
    return candidates[0] if candidates else None


def _describes(file: Path) -> bool:
    try:
        data = read_yaml(file)
    except ValueError:
        return False
    return "train" in data and ("names" in data or "nc" in data)


def _object(words: list[str], names: Mapping[int, str], kind: Kind) -> tuple[int, list[float]]:
    """Return the class number and the coordinates, as fractions, of a line."""
    try:
        numbers = [number_in(word, "a coordinate") for word in words[1:]]
    except ValueError:
        numbers = []
    counts = {"rotated": len(numbers) == 8, "horizontal": len(numbers) == 4}
    if not counts.get(kind, len(numbers) == 4 or (len(numbers) >= 6 and len(numbers) % 2 == 0)):
        raise ValueError(f"expected a class number and {_WANTED[kind]}, got {len(words) - 1} words after the first")
    label = int(words[0].partition(".")[0]) if _is_class_number(words[0]) else -1
    if label not in names:
        raise ValueError(
            f"expected a class number below {max(names, default=-1) + 1}, of classes.txt or data.yaml, got {words[0]}"
        )
    if len(numbers) == 4:
        centre, sides = np.array(numbers[:2]), np.array(numbers[2:])
    else:
        points = np.reshape(numbers, (-1, 2))
        centre, sides = (points.min(axis=0) + points.max(axis=0)) / 2, np.ptp(points, axis=0)
    inside = (centre >= -_SLACK) & (centre <= 1 + _SLACK) & (sides >= 0) & (sides <= 1 + _SLACK)
    if not inside.all():
        raise ValueError(
            "expected fractions of the image's width and height, of a box whose centre lies in the image "
            "and whose sides are no longer than the image's: are these pixels?"
        )
    return label, numbers


def _is_class_number(word: str) -> bool:
    whole, _, rest = word.partition(".")
    return word.isascii() and whole.isdecimal() and not rest.strip("0") and len(whole) < 7


def _class_names(source: Path, classes: Sequence[str] | None) -> tuple[str, ...]:
    for folder in (source, source / "labels", source.parent):
        for name in ("classes.txt", "obj.names"):
            if (folder / name).is_file() and (folder != source.parent or source.name == "labels"):
                return read_file(folder / name, numbered=True)
    if classes is None:
        raise FileNotFoundError(
            f"expected the class names in {source / 'data.yaml'} or {source / 'classes.txt'}, got "
            "neither; give classes, in the order of their numbers"
        )
    return tuple(classes)


def _pairs_of_folder(source: Path, files: dict[str, Path], notes: Notes) -> dict[str, tuple[Path, Path]]:
    folder = source / "labels" if (source / "labels").is_dir() else source
    labels = {
        file.relative_to(folder).with_suffix("").as_posix(): file
        for file in sorted(folder.rglob("*.txt"))
        if file.name != "classes.txt" or (folder == source / "labels" and file.parent != folder)
    }
    if not labels:
        raise FileNotFoundError(f"expected YOLO labels in {folder}, got no .txt file")
    if not files:
        near = folder.parent / "images" if folder.name == "labels" else source
        files = images.find(near)
    pairs = {}
    for image_id, file in labels.items():
        if image_id in files:
            pairs[image_id] = file, files[image_id]
        else:
            notes.add("label files left out, for there is no image of their name, for its size", file)
    if not pairs:
        first, example = next(iter(labels.items()))
        raise ValueError(
            f"{example}: expected an image with the id {first!r}, for its size, got none; "
            f"there are images {', '.join(list(files)[:3])}"
        )
    return pairs


def _pairs_of_yaml(
    data: dict[str, Any], file: Path, files: dict[str, Path], notes: Notes
) -> Iterator[tuple[str, tuple[Path, Path]]]:
    """Yield image id, label file and image file of all images of a data.yaml that have labels."""
    root = _root(data, file)
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
    if not found:
        raise FileNotFoundError(f"{file}: expected images in train, val or test, below {root}, got none")
    if len(absent) == len(found):
        raise FileNotFoundError(f"{file}: expected labels such as {_label_file(next(iter(found.values())))}, got none")
    notes.add("images without a label file, taken as not labelled yet", "".join(absent[:1]), len(absent))


def _root(data: dict[str, Any], file: Path) -> Path:
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
        candidates = [root / entry, root / entry.removeprefix("../"), file.parent / entry.removeprefix("../")]
        path = next((candidate for candidate in candidates if candidate.exists()), None)
        if path is None:
            notes.add(f"{split} in {file.name} is {entry}, which is not there: left out")
        elif path.is_dir():
            listed = (image for image in sorted(path.rglob("*")) if image.suffix.lower() in images.SUFFIXES)
            yield from (image for image in listed if not image.name.startswith("."))
        elif path.suffix.lower() == ".txt":
            for line in filter(None, map(str.strip, read_text(path, _LARGEST_LIST).splitlines())):
                image = next((p for p in (path.parent / line, root / line, Path(line)) if p.is_file()), None)
                if image is None:
                    notes.add("images that a list names, and that are not there: left out", f"{path}: {line}")
                else:
                    yield image
        else:
            raise ValueError(f"{file}: expected {split} to be a folder or a .txt file of images, got {path}")


def _id_below(image: Path, root: Path) -> str:
    absolute, base = image.resolve(), root.resolve()
    below = absolute.relative_to(base) if absolute.is_relative_to(base) else Path(absolute.name)
    return PurePosixPath(*(part for part in below.with_suffix("").parts if part != "images")).as_posix()


def _label_file(image: Path) -> Path:
    parts = list(image.absolute().parts)
    places = [place for place, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    return Path(*parts).with_suffix(".txt")
