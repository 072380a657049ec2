"""Which format label files have: told by what is in them, and said why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from . import voc
from .reading import files_of
from .ultralytics import find_yaml
from .values import load_json, load_xml

_LOOKED_AT = 50  # label files of a folder: most may be empty
_START = 1 << 16  # bytes of a text file


class Guess(NamedTuple):
    """A format, and why: a part of a sentence for people, such as "P1.txt has four corners and a class"."""

    format: str
    reason: str


def guess(source: str | Path) -> Guess:
    """Tell the format of label files from their content.

    Args:
        source: a file or a folder, as for :func:`al_rotate.data.formats.read`.

    Raises:
        FileNotFoundError: when there is no such file or folder, or nothing in it that could be labels.
        ValueError: for files of no known format, or of several in one folder; says what was found.
    """
    source = Path(source)
    if not source.exists():
        raise FileNotFoundError(f"expected a file or folder of labels, got {source}, and there is no such file")
    if source.suffix.lower() == ".zip":
        raise ValueError(f"expected labels, got the archive {source}; unpack it first")
    if source.suffix.lower() == ".parquet":
        return Guess("parquet", f"{source.name} is a Parquet file")
    guesses: dict[str, str] = {}
    if (source.is_dir() or source.suffix.lower() in (".yaml", ".yml")) and (file := find_yaml(source)) is not None:
        guesses["ultralytics"] = f"{file.name} names the classes and the images"
    for of_file, files in (
        (guess_of_text, _label_files(source, ".txt")),
        (_of_xml, _label_files(source, ".xml")),
        (_of_json, _label_files(source, ".json")),
    ):
        for found in _first_guesses(of_file, files):
            guesses.setdefault(found.format, found.reason)
    if "ultralytics" in guesses:  # whatever its lines are
        guesses = {name: reason for name, reason in guesses.items() if not name.startswith("yolo")}
    elif {"yolo", "yolo-obb"} <= guesses.keys():
        guesses = {"ultralytics": f"{guesses.pop('yolo')}; {guesses.pop('yolo-obb')}", **guesses}
    if len(guesses) > 1:
        what = "; ".join(f"{name}: {reason}" for name, reason in guesses.items())
        raise ValueError(f"expected labels of one format in {source}, got {what}; name the format or one folder")
    if not guesses:
        raise ValueError(
            f"expected labels in {source}, got files that are empty or of no known format; name the format"
        )
    return Guess(*next(iter(guesses.items())))


def _label_files(source: Path, suffix: str) -> list[Path]:
    if source.is_file():
        return [source] if source.suffix.lower() == suffix else []
    try:
        return [*files_of(source, suffix).values()]
    except FileNotFoundError:
        return []


def _first_guesses(of_file: Callable[[Path], Guess | None], files: list[Path]) -> Iterator[Guess]:
    """Yield the guess of the first file that has content, and of the last, to notice a mixture."""
    for candidates in (files[:_LOOKED_AT], files[:-_LOOKED_AT:-1]):
        found = next(filter(None, map(of_file, candidates)), None)
        if found:
            yield found


def guess_of_text(file: Path) -> Guess | None:
    """Tell the format of a text file from its first line that is a label; None without such a line."""
    with open(file, encoding="utf-8-sig", errors="replace") as lines:
        for line in lines.read(_START).splitlines():
            words = line.split()
            numbers = [number for word in words if (number := _number(word)) is not None]
            leading = next((k for k, word in enumerate(words) if _number(word) is None), len(words))
            if leading == len(words) and words and words[0].isdecimal():
                within = all(-1 <= number <= 2 for number in numbers[1:])
                in_labels = "labels" in file.parts[:-1]
                if len(words) == 5 and (within or in_labels):
                    return Guess("yolo", f"{file.name} has a class number and four fractions")
                if len(words) == 9 and (within or in_labels):
                    return Guess("yolo-obb", f"{file.name} has a class number and eight fractions")
                if len(words) >= 7 and len(words) % 2 and (within or in_labels):
                    return Guess("ultralytics", f"{file.name} has a class number and polygons as fractions")
            if len(words) >= 9 and leading >= 8:
                return Guess("dota", f"{file.name} has four corners and a class")
    return None


def _of_xml(file: Path) -> Guess | None:
    root = load_xml(file)
    if root.tag == "annotations":
        return Guess("cvat", f"{file.name} has the root <annotations>")
    if root.tag == "annotation" and voc.has_rotated_boxes(root):
        return Guess("rolabelimg", f"{file.name} has rotated boxes (robndbox)")
    if root.tag == "annotation" and voc.has_objects(root):
        return Guess("voc", f"{file.name} has horizontal boxes (bndbox)")
    return None


def _of_json(file: Path) -> Guess | None:
    content: Any = load_json(file)
    if isinstance(content, dict) and "images" in content and "annotations" in content:
        return Guess("coco", f"{file.name} has images and annotations")
    if isinstance(content, dict) and "shapes" in content:
        return Guess("labelme", f"{file.name} has shapes")
    if isinstance(content, list) and content and isinstance(content[0], dict) and "data" in content[0]:
        raise ValueError(
            f"{file} is Label Studio's export: read it by al_rotate.bridge.read_export, or give it to a command"
        )
    return None


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None
