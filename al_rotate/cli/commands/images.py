"""The commands that prepare images: tile and render."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ...data import images
from ...data.formats import dota
from ...data.tiling import Tile, Tiling, cut, cut_labels
from ...storage.plurals import many
from ..arguments import CLASSES_HELP, AddCommand, as_classes, number, whole_number
from .label_files import add_format, read_labels


def add(add_command: AddCommand) -> None:
    """Add the commands to the parser."""
    _add_tile(add_command)
    render = add_command(
        "render",
        _render,
        "Make PNGs of images that browsers do not show (TIFF, more than 8 bits, many bands), of the same geometry.",
        "al-rotate render scenes/ --out pngs/ --bands 4 3 2 --stretch 2 98",
    )
    render.add_argument("images", type=Path, help="a folder, or one file")
    render.add_argument("--out", type=Path, required=True, help="folder for the PNGs")
    add_depth(render)


def _add_tile(add_command: AddCommand) -> None:
    tile = add_command(
        "tile",
        _tile,
        "Cut scenes into tiles to be ranked, labelled and trained on.",
        "al-rotate tile scenes/ --out tiles/ --labels labelTxt/ --classes dota-v1",
    )
    tile.add_argument("scenes", type=Path, help="a folder, or one file")
    tile.add_argument("--out", type=Path, required=True, help="folder for images/ and labelTxt/")
    side = "side in pixels; by default %(default)s"
    tile.add_argument("--tile", type=whole_number(1), default=1024, metavar="PIXELS", help=side)
    add_tiling_arguments(tile)
    add_depth(tile)
    tile.add_argument("--labels", type=Path, help="labels of the scenes, to be cut as well")
    add_format(tile)
    tile.add_argument("--classes", help=f"{CLASSES_HELP}; by default those of the labels")


def add_depth(parser: argparse.ArgumentParser) -> None:
    """Add ``--bands`` and ``--stretch``."""
    bands = "bands that become red, green and blue, or one; by default those that the file says, or the first three"
    parser.add_argument("--bands", type=whole_number(1), nargs="+", metavar="N", help=bands)
    stretch = (
        "percentiles that become black and white; by default 8 bits stay, and of 16 bits the upper 8 are kept or, "
        "where these are hardly used, 2 and 98"
    )
    parser.add_argument("--stretch", type=number(0, 100), nargs=2, metavar=("LOW", "HIGH"), help=stretch)


def add_tiling_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--overlap`` and ``--scales``."""
    overlap = "pixels that neighbouring tiles share; by default 200"
    parser.add_argument("--overlap", type=whole_number(0), metavar="PIXELS", help=overlap)
    scales = "of the scenes, e.g. 1 0.5; by default 1"
    parser.add_argument("--scales", type=number(0, above=True), nargs="+", metavar="FACTOR", help=scales)


def require_outside(source: Path | None, out: Path) -> None:
    """Refuse to write into the folder that is read: the next run would read what this one wrote."""
    if source is not None and source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise ValueError(
            f"expected --out to write outside {source}, got {out}: the next run would read what this one writes there"
        )


def _tile(args: argparse.Namespace) -> None:
    require_outside(args.scenes, args.out / "images")
    require_outside(args.labels, args.out / "labelTxt")
    tiling = as_tiling(args)
    scenes = images.resolve(args.scenes)
    labels = read_labels(args.labels, args.format, as_classes(args.classes), empty=args.empty) if args.labels else None
    if labels and (missing := [image_id for image_id in labels.image_ids if image_id not in scenes]):
        raise ValueError(f"expected a scene for every label file, got none of {missing[0]!r} in {args.scenes}")
    files = cut(scenes, args.out / "images", tiling, **as_depth(args))
    print(f"{args.out / 'images'}: {len(files)} tiles of {len(scenes)} scenes")
    if labels:
        cut_scenes = {Tile.of(tile_id).scene for tile_id in files}
        labels = labels.subset([image_id for image_id in labels.image_ids if image_id in cut_scenes])
        with images.allow_large_images():
            sizes = {image_id: images.size(scenes[image_id]) for image_id in labels.image_ids}
        tiles = cut_labels(labels, sizes, tiling)
        print(f"{dota.write(tiles, args.out / 'labelTxt')}: {tiles.n_boxes} boxes, of {labels.n_boxes} in the scenes")


def _render(args: argparse.Namespace) -> None:
    require_outside(args.images, args.out)
    made = images.render(args.images, args.out, **as_depth(args))
    print(f"{args.out}: {many(len(made), 'image')}")


def as_depth(args: argparse.Namespace) -> dict[str, Any]:
    """Return how images are read: `bands` and `stretch`."""
    return {"bands": args.bands, "stretch": args.stretch}


def as_tiling(args: argparse.Namespace) -> Tiling:
    """Return how scenes are cut."""
    options = {"overlap": args.overlap, "scales": args.scales and tuple(args.scales)}
    return Tiling(args.tile, **{name: value for name, value in options.items() if value is not None})
