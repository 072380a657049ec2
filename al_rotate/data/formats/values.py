"""Values in label files of others: JSON and XML read safely, and numbers checked before they are used."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import numpy as np
import shapely

from ..columns import require_unicode
from ..images import SUFFIXES

LARGEST = 1e7  # pixels: no image has a coordinate beyond, and float32 still holds it to the pixel
_LARGEST_XML = 1 << 29  # bytes; the parsed tree takes several times as much memory


def load_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        FileNotFoundError: when it does not exist.
        ValueError: for anything but JSON; names the file.
    """
    try:
        return json.loads(path.read_bytes())
    except RecursionError:
        raise ValueError(f"{path}: expected JSON, got lists or objects nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON, got: {error}") from None


def load_xml(path: Path) -> Element:
    """Read an XML file and return its root. A document type, and with it every entity, is refused.

    Raises:
        FileNotFoundError: when it does not exist.
        ValueError: for anything but such XML, or a file of more than 512 MiB; names the file.
    """
    if (size := path.stat().st_size) > _LARGEST_XML:
        raise ValueError(f"{path}: expected XML of up to {_LARGEST_XML} bytes, got {size}; split it")
    builder, parser = TreeBuilder(), expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = _refuse_doctype
    try:
        parser.Parse(path.read_bytes(), True)
        return builder.close()
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise ValueError(f"{path}: expected XML, got: {error}") from None


def _refuse_doctype(*_: Any) -> None:
    raise ValueError("a document type (DOCTYPE), which label files do not need; remove it")


def as_number(value: Any, name: str, low: float = -LARGEST, high: float = LARGEST) -> float:
    """Return a JSON number as a float.

    Raises:
        ValueError: for anything else, NaN, or a number outside [low, high].
    """
    # Compared before it becomes a float, for which an integer of 400 digits is too large.
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        limits = f"from {low:g} to {high:g}"
        raise ValueError(f"expected {name} to be a number {limits}, got {_short(value)}")
    return float(value)


def as_count(value: Any, name: str, high: int = int(LARGEST)) -> int:
    """Return a JSON number as an integer from 0; ValueError for anything else."""
    number = as_number(value, name, 0, high)
    if not number.is_integer():
        raise ValueError(f"expected {name} to be an integer from 0 to {high}, got {_short(value)}")
    return int(number)


def as_numbers(values: Any, name: str, count: int | None = None) -> list[float]:
    """Return a JSON list of `count` finite numbers (None: any) as floats; ValueError for anything else."""
    wanted = f"{name} of {count} finite numbers" if count else f"{name} of finite numbers"
    if not isinstance(values, list) or (count and len(values) != count):
        raise ValueError(f"expected {wanted}, got {_short(values)}")
    try:
        return [as_number(value, name) for value in values]
    except ValueError as error:
        raise ValueError(f"expected {wanted}, got {_short(values)}: {error}") from None


def as_text(value: Any, name: str) -> str:
    """Return a text that is not blank, without blanks around it; ValueError for anything else."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"expected {name} to be a text, got {_short(value)}")
    require_unicode(value, name)
    return value.strip()


def as_difficult(value: Any) -> int:
    """Return DOTA's difficulty, 0 to 255, of a number, a truth value or their text; None and a blank are 0."""
    if isinstance(value, str):
        word = value.strip().lower()
        value = {"": 0, "true": 1, "yes": 1, "false": 0, "no": 0}.get(word, int(word) if word.isdecimal() else value)
    return int(value or 0) if value is None or isinstance(value, bool) else as_count(value, "difficult", 255)


def number_in(text: str | None, name: str, low: float = -LARGEST, high: float = LARGEST) -> float:
    """Return the number that a text holds, checked as by :func:`as_number`."""
    try:
        number = float(text or "")
    except ValueError:
        raise ValueError(f"expected {name} to be a number, got {_short(text)}") from None
    return as_number(number, name, low, high)


def radians_in(number: float, name: str) -> float:
    """Return an angle in radians; ValueError for one beyond a full turn, which must be meant in degrees.

    Files hold angles of less than a turn, whichever way their tools count them.
    """
    if abs(number) > 2 * math.pi + 0.01:
        raise ValueError(f"expected {name} in radians, from -2 pi to 2 pi, got {number:g}: are these degrees?")
    return number


def rectangle_around(points: Sequence[float]) -> list[float]:
    """Return the corners, 8 numbers, of the rectangle of least area around points x1, y1, x2, y2...

    Four points are returned as they are: :func:`al_rotate.boxes.from_corners` makes their rectangle more precisely.
    """
    if len(points) == 8:
        return list(points)
    envelope = shapely.oriented_envelope(shapely.MultiPoint(np.reshape(points, (-1, 2))))
    # Of collinear points the envelope is a line, of equal points a point; repeated, both make a flat rectangle.
    return np.resize(shapely.get_coordinates(envelope)[:4], 8).tolist()


def turned_box(left: float, top: float, right: float, bottom: float, degrees: float = 0.0) -> list[float]:
    """Return (cx, cy, w, h, theta) of a level box that is turned clockwise about its centre.

    Raises:
        ValueError: for a right side left of the left one, or a bottom above the top.
    """
    if right < left or bottom < top:
        raise ValueError(f"expected left <= right and top <= bottom, got {[left, top, right, bottom]}")
    return [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top, math.radians(degrees)]


def image_id_of(file_name: str) -> str:
    r"""Return the image id of a file name: its path without an image's suffix, with ``/`` for ``\``."""
    path = PurePosixPath(file_name.replace("\\", "/"))
    return (path.with_suffix("") if path.suffix.lower() in SUFFIXES else path).as_posix()


def _short(value: Any) -> str:
    if isinstance(value, int) and abs(value) > 10**20:
        return "an integer of more than 20 digits"
    return repr(value)[:200]
