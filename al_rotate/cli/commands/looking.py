"""The commands that make pages to look at: report and look."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...workspace import Workspace
from ..arguments import AddCommand, add_workspace, whole_number
from ..wording import print_next

IMAGES, SIDE = 300, 640  # of the gallery by default


def add(add_command: AddCommand) -> None:
    """Add the commands to the parser."""
    report = add_command("report", _report, "Write the HTML report.", "al-rotate report work --out report.html")
    add_workspace(report)
    report.add_argument("--out", type=Path, help="by default report.html in the workspace")

    look = add_command(
        "look",
        _look,
        "Write a page to browse the images: predicted boxes, labels, and what people changed.",
        "al-rotate look work --images 500",
    )
    add_workspace(look)
    look.add_argument("--out", type=Path, help="by default gallery.html in the workspace")
    images = "the most images, the newest queries and the top of the newest ranking first; by default %(default)s"
    look.add_argument("--images", type=whole_number(1), default=IMAGES, metavar="N", help=images)
    side = "the longer side of a picture in pixels; boxes stay sharp at any; by default %(default)s"
    look.add_argument("--side", type=whole_number(16, 4096), default=SIDE, metavar="N", help=side)


def _report(args: argparse.Namespace) -> None:
    from ...report import write_report

    with Workspace.open(args.workspace, read_only=True) as workspace:
        print(write_report(workspace, args.out))
        print_next(workspace, args.workspace)


def _look(args: argparse.Namespace) -> None:
    from ...report import Gallery

    with Workspace.open(args.workspace, read_only=True) as workspace:
        gallery = Gallery.of(workspace, most=args.images, side=args.side)
        path = gallery.save(args.out or workspace.folder / "gallery.html")
        left_out = f" of {len(gallery) + gallery.n_left_out}" if gallery.n_left_out else ""
        print(f"{len(gallery)}{left_out} images, for a browser: {path}")
        print_next(workspace, args.workspace)
