"""Class names as people give them: in a text file, in a ``data.yaml``, separated by commas, or as the name of a set."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .columns import as_classes

_PATH = re.compile(r"[/\\]|\.(txt|names|csv|json|ya?ml|lst|list)$", re.IGNORECASE)
_LARGEST_FILE = 1 << 20  # bytes; class names are short


def from_text(text: str, known: Mapping[str, Sequence[str]] | None = None) -> tuple[str, ...]:
    """Read what stands for the classes on a command line.

    Args:
        text: a file as of :func:`read_file`; or the name of a known set, in any case; or names separated by commas.
        known: name of a set -> its classes, such as ``dota-v1``.

    Raises:
        FileNotFoundError: for one word that looks like a path (``classes.txt``) and is no file.
        ValueError: for no name, a name twice, or an unknown version of a known set.
    """
    sets = {name.lower(): tuple(names) for name, names in (known or {}).items()}
    if Path(text).is_file():
        return read_file(text)
    if text.strip().lower() in sets:
        return sets[text.strip().lower()]
    if "," not in text and _PATH.search(text.strip()):
        raise FileNotFoundError(f"expected class names or a file of them, got {text!r}, and there is no such file")
    stems = {re.split(r"[-_]v?\d", name)[0] for name in sets}
    if "," not in text and re.split(r"[-_ ]?v?\d", text.strip().lower())[0] in stems:
        raise ValueError(f"expected one of {', '.join(sets)}, or class names separated by commas, got {text!r}")
    return _checked((name.strip() for name in text.split(",") if name.strip()), repr(text))


def read_file(path: str | Path, numbered: bool = False) -> tuple[str, ...]:
    """Read a file of class names: one per line of a text file, or the `names` of a ``data.yaml``.

    Blanks around a name, blank lines and a byte order mark are ignored.

    Args:
        path: the file.
        numbered: the line of a name is its number in label files, so that a blank line before a name is refused: it
            could count or not.

    Returns:
        The names in the file's order.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: for text that is not UTF-8, no name or a name twice; names the file.
    """
    path = Path(path)
    if path.suffix.lower() in (".yaml", ".yml"):
        return _checked(names_of(read_yaml(path), path).values(), str(path))
    lines = [line.strip() for line in read_text(path).rstrip().splitlines()]
    if numbered and "" in lines:
        raise ValueError(
            f"{path}: expected a class name in every line, for its number, got none in {lines.index('') + 1}"
        )
    return _checked(filter(None, lines), str(path))


def read_text(path: Path, largest: int = _LARGEST_FILE) -> str:
    """Read a user's text file, UTF-8 with or without a byte order mark.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: for other bytes, or a file of more than `largest` bytes; names the file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"expected a text file, got {path}, and there is no such file")
    if (size := path.stat().st_size) > largest:
        raise ValueError(f"{path}: expected a text file of up to {largest} bytes, got {size}")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected UTF-8 text, got other bytes: {error}; save it as UTF-8") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a ``data.yaml``, a mapping.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: for anything but a mapping; names the file.
    """
    import yaml  # type: ignore[import-untyped]

    try:
        content = yaml.safe_load(read_text(path))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        said = " ".join(str(error).split())
        raise ValueError(said if said.startswith(f"{path}: ") else f"{path}: expected YAML, got: {said}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a mapping with names, train and val, got {type(content).__name__}")
    return content


def names_of(data: Mapping[str, Any], path: Path) -> dict[int, str]:
    """Return the class names in a ``data.yaml`` by their numbers, in ascending order.

    Args:
        data: its content. `names` is a list or a mapping; with `nc` alone the classes are ``class_0``, ``class_1``...
            as Ultralytics calls them.
        path: named in errors.

    Raises:
        ValueError: for names that are no text, numbers that are none, another number of names than `nc`, or without
            names.
    """
    names, count = data.get("names"), data.get("nc")
    if names is None and isinstance(count, int) and not isinstance(count, bool) and 0 < count <= 10_000:
        names = [f"class_{number}" for number in range(count)]
    pairs = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(pairs, dict) or not pairs:
        raise ValueError(f"{path}: expected names as a list or a mapping of numbers to names, got {str(names)[:200]}")
    given = list(pairs)
    pairs = {int(key) if _is_number(key) else key: name for key, name in pairs.items()}
    if len(pairs) < len(given):
        raise ValueError(f"{path}: expected distinct class numbers in names, got {', '.join(map(str, given))}")
    if isinstance(count, int) and count != len(pairs):  # of two equal keys, YAML keeps the last and says nothing
        raise ValueError(f"{path}: expected as many names as nc says, {count}, got {len(pairs)}")
    for number, name in pairs.items():
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise ValueError(f"{path}: expected class numbers from 0 in names, got {number!r}")
        # YAML reads a bare no, off or yes as a truth value, and the word is lost.
        if isinstance(name, bool) or not isinstance(name, str | int | float) or not str(name).strip():
            raise ValueError(f"{path}: expected a class name for {number}, got {name!r}; put it in quotes")
    return {number: str(pairs[number]).strip() for number in sorted(pairs)}


def _is_number(key: Any) -> bool:
    """Tell whether a key is a class number that somebody has put in quotes."""
    return isinstance(key, str) and key.isascii() and key.isdecimal() and len(key) < 7


def _checked(names: Any, source: str) -> tuple[str, ...]:
    names = tuple(names)
    if not names:
        raise ValueError(f"expected at least one class name, got none in {source}")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"expected distinct class names, got {twice[0]!r} more than once in {source}")
    return as_classes(names) or ()
