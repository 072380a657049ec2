"""Labels that commands read, of any format: with an account on the screen."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...data import RotatedInstances, images
from ...data.formats import EMPTY, FORMATS, Empty, read
from ...loop.create import SETS
from ...storage.user_warnings import warn_user
from ...workspace.versions import SetName
from ..phrases import as_commands

WRITABLE = tuple(name for name, known in FORMATS.items() if known.write)
GEOJSON = "geojson"  # written from georeferenced images, and not read
LABEL_STUDIO = "label-studio"
PARQUET = "parquet"
MOST_IMAGES = 5  # that are left out, on the screen


def add_format(parser: argparse.ArgumentParser) -> None:
    """Add ``--format`` and ``--empty``, of the labels that a command reads."""
    help = f"of the labels; by default guessed, and told. {LABEL_STUDIO} is its JSON export"
    parser.add_argument("--format", choices=(LABEL_STUDIO, *FORMATS), help=help)
    add_empty(parser)


def add_empty(parser: argparse.ArgumentParser) -> None:
    """Add ``--empty``."""
    help = (
        "what images without an object are: labelled, for they show none, or unlabelled, as nobody has looked at them"
    )
    parser.add_argument("--empty", choices=EMPTY, default=EMPTY[0], help=f"{help} (default: {EMPTY[0]})")


def read_labels(
    source: Path,
    format: str | None = None,
    classes: Sequence[str] | None = None,
    image_files: Mapping[str, Path] | None = None,
    empty: Empty = "labelled",
) -> RotatedInstances:
    """Read labels of any format, Label Studio's JSON export too, and print the account of it."""
    if format == LABEL_STUDIO or (format is None and is_label_studio(source)):
        from ...bridge import read_export

        imported = read_export(source, classes, image_files)
    else:
        imported = read(source, format, classes, image_files, empty)
    print(f"{source}: {as_commands(str(imported))}")
    left_out = imported.labels.skipped
    for image_id, reason in list(left_out.items())[:MOST_IMAGES]:
        print(f"  left out: {image_id}: {reason}")
    if len(left_out) > MOST_IMAGES:
        print(f"  left out: and {len(left_out) - MOST_IMAGES} more images")
    return imported.labels


def add_set(parser: argparse.ArgumentParser, name: str, what: str) -> None:
    """Add ``--NAME-images`` and ``--NAME-labels``."""
    parser.add_argument(f"--{name}-images", type=Path, help=f"{what}: a folder")
    parser.add_argument(f"--{name}-labels", type=Path, help="their labels: a file or a folder")


def read_set(
    args: argparse.Namespace, name: SetName, classes: Sequence[str]
) -> tuple[Mapping[str, Path], RotatedInstances] | None:
    """Read the images and labels of a set to measure on, of the arguments of :func:`add_set`.

    Returns:
        image id -> file, and labels; None where the set is not given. A warning tells images without labels.

    Raises:
        ValueError: if only one of the two arguments is given.
    """
    folder, source = getattr(args, f"{name}_images"), getattr(args, f"{name}_labels")
    if folder is None and source is None:
        return None
    if folder is None or source is None:
        raise ValueError(f"expected --{name}-images and --{name}-labels together")
    files = images.resolve(folder)
    labels = read_labels(source, args.format, classes, files, args.empty)
    if without := sorted(files.keys() - set(labels.image_ids)):
        warn_user(
            f"{len(without)} of {len(files)} images of the {SETS[name]} have no labels in {source} and are not "
            f"measured on, e.g. {without[0]!r}; an image that shows no object needs an empty label file"
        )
    return files, labels


def is_label_studio(source: Path) -> bool:
    """Tell whether a file is Label Studio's JSON export, a list, by its start: it may be larger than memory."""
    if not source.is_file() or source.suffix.lower() != ".json":
        return False
    with open(source, encoding="utf-8-sig", errors="replace") as file:
        return file.read(4096).lstrip().startswith("[")


def is_parquet(source: Path) -> bool:
    """Tell whether a source is a Parquet file, or a folder of them as predict writes it."""
    return source.suffix.lower() == ".parquet" or (source.is_dir() and any(source.glob("*.parquet")))
