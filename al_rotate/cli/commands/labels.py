"""The commands that convert labels: convert and export."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ...data import RotatedInstances, geojson, images
from ...data.formats import FORMATS
from ...storage.plurals import many
from ..arguments import CLASSES_HELP, AddCommand, add_workspace, as_classes, as_pairs
from ..wording import list_classes, print_next
from .label_files import GEOJSON, LABEL_STUDIO, PARQUET, WRITABLE, add_empty, is_label_studio, is_parquet, read_labels
from .label_studio import POLICIES, POLICY_HELP, POLYGONS_HELP

if TYPE_CHECKING:
    from ...bridge.export import Exported


def add(add_command: AddCommand) -> None:
    """Add the commands to the parser."""
    convert = add_command(
        "convert",
        _convert,
        "Convert labels from one format to another, rotation kept; also Label Studio's JSON export.",
        "al-rotate convert export.json --to dota --out labels/",
    )
    convert.add_argument("source", type=Path, help="a file or folder of labels")
    help = f"format of the source; by default guessed, and told. {LABEL_STUDIO} is its JSON export"
    convert.add_argument("--from", dest="source_format", choices=(LABEL_STUDIO, *FORMATS), help=help)
    add_empty(convert)
    convert.add_argument("--to", choices=(*WRITABLE, GEOJSON), required=True, help="format to write")
    convert.add_argument("--out", type=Path, help="a folder; by default next to the source")
    convert.add_argument("--classes", help=f"{CLASSES_HELP}; by default those of the source")
    images_help = f"the images: a folder; for their sizes, where the labels lack them, and for {GEOJSON} their places"
    convert.add_argument("--images", type=Path, help=images_help)
    _add_crs(convert)
    convert.add_argument("--rename", nargs="+", metavar="LABEL=CLASS", help="labels to rename or to merge")
    only = f"with {LABEL_STUDIO}:"
    config = f"{only} the project's labelling configuration, for its classes"
    convert.add_argument("--label-config", type=Path, help=config)
    convert.add_argument("--policy", choices=POLICIES, default="latest", help=f"{only} {POLICY_HELP}")
    convert.add_argument("--polygons", action=argparse.BooleanOptionalAction, help=f"{only} {POLYGONS_HELP}")

    export = add_command("export", _export, "Write a workspace's labels.", "al-rotate export work --to coco")
    add_workspace(export)
    export.add_argument("--to", choices=(*WRITABLE, GEOJSON), required=True, help="format to write")
    export.add_argument("--out", type=Path, help="a folder; by default in the workspace")
    _add_crs(export)


def _add_crs(parser: argparse.ArgumentParser) -> None:
    help = (
        f"with {GEOJSON}: of the coordinates, such as EPSG:32632, or {geojson.FROM_FILES} for that of the images; by "
        "default longitude and latitude on WGS 84"
    )
    parser.add_argument("--crs", help=help)


def _crs_of(args: argparse.Namespace) -> str:
    if args.crs is not None and args.to != GEOJSON:
        raise ValueError(f"expected --crs with --to {GEOJSON} alone")
    return args.crs or geojson.WGS84


def _convert(args: argparse.Namespace) -> None:
    from ...bridge.export import convert, write_labels

    out = args.out or args.source.with_name(f"{args.source.stem}-{args.to}")
    crs = _crs_of(args)
    if args.to == GEOJSON and args.images is None:
        raise ValueError(f"expected --images, which say where the boxes lie, with --to {GEOJSON}")
    rename = as_pairs(args.rename, "--rename as LABEL=CLASS")
    classes = as_classes(args.classes)
    if args.source_format == LABEL_STUDIO or (args.source_format is None and is_label_studio(args.source)):
        options = {"policy": args.policy, "polygons": args.polygons is not False, "rename": rename or None}
        places = {"label_config": args.label_config, "image_files": args.images}
        _print_exported(convert(args.source, args.to, out, classes, **places, **options, crs=crs))
        return
    if args.label_config or args.polygons is not None or args.policy != "latest":
        raise ValueError("expected --label-config, --policy and --polygons with Label Studio's JSON export alone")
    files = images.resolve(args.images) if args.images else None
    if args.to == GEOJSON and args.source_format in (None, PARQUET) and is_parquet(args.source):
        labels = RotatedInstances.load(args.source)  # detections, too: GeoJSON has a place for their scores
    else:
        labels = read_labels(args.source, args.source_format, None if rename else classes, files, args.empty)
    if rename:
        labels = _renamed(labels, rename, classes)
    _print_exported(write_labels(labels, args.to, out, files=files, crs=crs))


def _renamed(labels: RotatedInstances, rename: dict[str, str], classes: tuple[str, ...] | None) -> RotatedInstances:
    """Rename classes; two that get one name are merged."""
    before = labels.classes or ()
    if unknown := sorted(rename.keys() - set(before)):
        raise ValueError(f"expected --rename of a class among {', '.join(before)}, got {unknown[0]!r}")
    names = [rename.get(name, name) for name in before]
    after = classes or tuple(dict.fromkeys(names))
    if missing := sorted(set(names) - set(after)):
        raise ValueError(f"expected --classes to name every class, got none of {missing[0]!r}")
    codes = [after.index(name) for name in names]
    return labels.replace(labels=[codes[code] for code in labels.labels], classes=after)


def _export(args: argparse.Namespace) -> None:
    from ...bridge.export import export_workspace
    from ...workspace import Workspace

    with Workspace.open(args.workspace, read_only=True) as workspace:
        out = args.out or args.workspace / "export" / args.to
        _print_exported(export_workspace(workspace, args.to, out, _crs_of(args)))
        if workspace.ids("unlabelled") or workspace.ids("queried"):
            print_next(workspace, args.workspace)


def _print_exported(exported: Exported) -> None:
    labels = exported.labels
    print(f"{exported.folder}: {many(len(labels), 'image')}, {many(labels.n_boxes, 'box')}")
    print(list_classes(labels.classes or ()))
    if len(exported.account):
        print(f"{many(len(exported.account), 'note')} on what was left out or odd: {exported.folder / 'account.csv'}")
