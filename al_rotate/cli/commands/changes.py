"""The commands that change what a workspace works on, between its steps."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...data import images
from ..arguments import AddCommand, add_workspace
from ..wording import in_words, next_step
from .label_files import add_format, read_labels
from .loop import open_loop


def add(add_command: AddCommand) -> None:
    """Add the commands to the parser."""
    adding = add_command(
        "add",
        _add,
        "Add labels that exist already, of any format, to a workspace.",
        "al-rotate add work --labels labelTxt/",
    )
    add_workspace(adding)
    adding.add_argument("--labels", type=Path, required=True, help="a file or folder of labels")
    add_format(adding)
    overwrite = "replace answers that came in this loop, too"
    adding.add_argument("--overwrite", action="store_true", help=overwrite)


def _add(args: argparse.Namespace) -> None:
    with open_loop(args.workspace) as loop:
        workspace = loop.workspace
        pool = workspace.paths(i for status in workspace.counts() for i in workspace.ids(status))
        labels = read_labels(args.labels, args.format, workspace.classes, images.resolve(pool))
        loop.add_labels(labels, args.overwrite)
        print(in_words(workspace.counts()))
        print(f"next: {next_step(workspace, args.workspace)}")
