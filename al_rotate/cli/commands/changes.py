"""The commands that change what a workspace works on, between its steps: add, remove, unskip, undo, classes and set."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...data import images
from ...loop import ActiveLoop
from ...storage.plurals import many
from ..arguments import (
    CONFIG_HELP,
    AddCommand,
    add_device,
    add_start,
    add_workspace,
    as_class_map,
    as_pairs,
)
from ..wording import describe_change, in_words, list_classes, print_next
from . import cfg_options
from .label_files import add_format, add_set, read_labels, read_set
from .loop import open_loop


def add(add_command: AddCommand) -> None:
    """Add the commands to the parser."""
    _add_images_and_labels(add_command)
    _add_classes(add_command)
    _add_set(add_command)
    undo = add_command("undo", _undo, "Give up the last round: its query, answers and weights.", "al-rotate undo work")
    add_workspace(undo)


def _add_images_and_labels(add_command: AddCommand) -> None:
    adding = add_command(
        "add",
        _add,
        "Add images to a workspace, or labels that exist already, of any format.",
        "al-rotate add work --labels labelTxt/",
    )
    add_workspace(adding)
    adding.add_argument("--images", type=Path, help="the images to add: a folder, or one file")
    adding.add_argument("--labels", type=Path, help="labels of images of the workspace: a file or a folder")
    add_format(adding)
    overwrite = "let the labels replace answers that came in this loop, too"
    adding.add_argument("--overwrite", action="store_true", help=overwrite)

    remove = add_command(
        "remove",
        _remove,
        "Take images out of a workspace; 'add --images' brings them back with their labels.",
        "al-rotate remove work P0003__512__0___0 P0004__512__0___0",
    )
    add_workspace(remove)
    remove.add_argument("ids", nargs="+", metavar="IMAGE", help="ids, as status and selection.csv have them")

    unskip = add_command(
        "unskip", _unskip, "Make skipped images candidates of the next query again.", "al-rotate unskip work"
    )
    add_workspace(unskip)
    unskip.add_argument("ids", nargs="*", metavar="IMAGE", help="ids; by default all that were skipped")


def _add_classes(add_command: AddCommand) -> None:
    classes = add_command(
        "classes",
        _classes,
        "Print the classes of a workspace; add, rename or merge some.",
        "al-rotate classes work --merge large-vehicle small-vehicle --into vehicle",
    )
    add_workspace(classes)
    what = classes.add_mutually_exclusive_group()
    what.add_argument("--add", metavar="CLASS", help="a class to add at the end")
    what.add_argument("--rename", metavar="OLD=NEW", help="a class to rename, in all labels so far")
    what.add_argument("--merge", nargs="+", metavar="CLASS", help="classes to make one of, in all labels so far")
    classes.add_argument("--into", metavar="CLASS", help="with --merge: one of the classes, or a new name")


def _add_set(add_command: AddCommand) -> None:
    setting = add_command(
        "set",
        _set,
        "Go on with another test set, validation set or detector.",
        "al-rotate set work --test-images test/images --test-labels test/labelTxt",
    )
    add_workspace(setting)
    add_set(setting, "test", "images to evaluate each round on from now on")
    add_set(setting, "val", "images to validate each training on from now on")
    add_format(setting)
    setting.add_argument("--config", help=f"of another detector: {CONFIG_HELP}")
    add_start(setting)
    add_device(setting)


def _add(args: argparse.Namespace) -> None:
    if args.images is None and args.labels is None:
        raise ValueError("expected --images or --labels, or both")
    with open_loop(args.workspace) as loop:
        workspace = loop.workspace
        if args.images is not None:
            print(f"{args.images}: {many(len(loop.add_images(args.images)), 'image')} added")
        if args.labels is not None:
            pool = workspace.paths(i for status in workspace.counts() for i in workspace.ids(status))
            labels = read_labels(args.labels, args.format, workspace.classes, images.resolve(pool), args.empty)
            loop.add_labels(labels, args.overwrite)
        _print_state(loop, args.workspace)


def _remove(args: argparse.Namespace) -> None:
    with open_loop(args.workspace) as loop:
        print(f"{many(len(loop.remove_images(args.ids)), 'image')} removed")
        _print_state(loop, args.workspace)


def _unskip(args: argparse.Namespace) -> None:
    with open_loop(args.workspace) as loop:
        print(f"{many(len(loop.unskip(args.ids or None)), 'image')} can be queried again")
        _print_state(loop, args.workspace)


def _undo(args: argparse.Namespace) -> None:
    with open_loop(args.workspace) as loop:
        undone = loop.undo_last_round()
        print(f"round {undone.number} is undone; its files stay in {undone.folder}")
        _print_state(loop, args.workspace)


def _classes(args: argparse.Namespace) -> None:
    if (args.merge is None) != (args.into is None):
        raise ValueError("expected --merge and --into together")
    with open_loop(args.workspace) as loop:
        if args.add is not None:
            loop.add_class(args.add)
        elif args.rename is not None:
            for old, new in as_pairs([args.rename], "--rename as OLD=NEW").items():
                loop.rename_class(old, new)
        elif args.merge is not None:
            loop.merge_classes(args.merge, args.into)
        print(list_classes(loop.classes))
        print_next(loop.workspace, args.workspace)


def _set(args: argparse.Namespace) -> None:
    if args.checkpoint is not None and args.config is None:
        raise ValueError("expected --config with --checkpoint")
    with open_loop(args.workspace) as loop:
        test = read_set(args, "test", loop.classes)
        val = read_set(args, "val", loop.classes)
        if args.config is not None:
            from ...detection import Detector

            cfg_options.check(args.config, args.cfg_options, training=True)
            class_map = as_class_map(args.map)
            detector = Detector(
                args.config, args.checkpoint, args.device, args.cfg_options, loop.classes, class_map=class_map
            )
            loop.set_detector(detector)
        elif test is None and val is None:
            raise ValueError("expected a test set, a validation set, or --config")
        if test is not None:
            loop.set_test(*test)
        if val is not None:
            loop.set_val(*val)
        last = loop.workspace.changes().iloc[-1]
        print(describe_change(last["what"], last["summary"]))
        print_next(loop.workspace, args.workspace)


def _print_state(loop: ActiveLoop, typed: Path) -> None:
    print(in_words(loop.workspace.counts()))
    print_next(loop.workspace, typed)
