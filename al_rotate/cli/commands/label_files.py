"""Labels that commands read, of any format: with an account on the screen."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...data import RotatedInstances
from ...data.formats import FORMATS, read

WRITABLE = tuple(name for name, known in FORMATS.items() if known.write)
MOST_IMAGES = 5  # that are left out, on the screen


def add_format(parser: argparse.ArgumentParser) -> None:
    """Add ``--format``, of the labels that a command reads."""
    help = "of the labels; by default guessed, and told"
    parser.add_argument("--format", choices=tuple(FORMATS), help=help)


def read_labels(
    source: Path,
    format: str | None = None,
    classes: Sequence[str] | None = None,
    images: Path | Mapping[str, Path] | None = None,
) -> RotatedInstances:
    """Read labels by :func:`al_rotate.data.formats.read`, and print the account of it."""
    imported = read(source, format, classes, images)
    print(f"{source}: {imported}")
    left_out = imported.labels.skipped
    for image_id, reason in list(left_out.items())[:MOST_IMAGES]:
        print(f"  left out: {image_id}: {reason}")
    if len(left_out) > MOST_IMAGES:
        print(f"  left out: and {len(left_out) - MOST_IMAGES} more images")
    return imported.labels


def is_label_studio(source: Path) -> bool:
    """Tell whether a file is Label Studio's JSON export, a list, by its start: it may be larger than memory."""
    if not source.is_file() or source.suffix.lower() != ".json":
        return False
    with open(source, encoding="utf-8-sig", errors="replace") as file:
        return file.read(4096).lstrip().startswith("[")
