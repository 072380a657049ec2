"""The command that makes a workspace: init."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...data import RotatedInstances, images
from ...loop import ActiveLoop, SimulatedAnnotator
from ...loop.create import restore_annotator
from ...loop.settings import LoopSettings
from ...sampling import Budget, CostModel
from ...storage.plurals import many
from ...storage.user_warnings import warn_user
from ...workspace import Workspace
from ..arguments import (
    CLASSES_HELP,
    AddCommand,
    add_cost,
    add_detector_arguments,
    add_strategy_arguments,
    add_training,
    as_class_map,
    as_classes,
    as_cost,
    as_schedule,
    whole_number,
)
from ..wording import in_words, list_classes, print_next
from . import cfg_options
from .label_files import add_format, add_set, read_labels, read_set

_OTHERWISE = "make another workspace, in another folder, or delete that one"


def add(add_command: AddCommand) -> None:
    """Add the command to the parser."""
    init = add_command(
        "init",
        _init,
        "Make a workspace from a folder of images.",
        "al-rotate init work --images tiles/ --classes dota-v1 --config rotated_rtmdet_tiny-3x-dota --checkpoint zoo",
    )
    init.add_argument("workspace", type=Path, help="the folder to make")
    init.add_argument("--images", type=Path, required=True, help="the images to label: a folder")
    by_default = "by default those of the labels given, else of the checkpoint"
    init.add_argument("--classes", help=f"{CLASSES_HELP}; {by_default}")
    add_detector_arguments(init)
    add_strategy_arguments(init, default=LoopSettings.strategy, with_options=False)
    budget = "the most images that a query asks for; by default 50"
    init.add_argument("--budget", type=whole_number(1), metavar="IMAGES", help=budget)
    add_training(init, "those where the config counts in epochs, unless --cfg-options say how long")
    help = "train each round from the weights that the workspace is made with, not from the last round's"
    init.add_argument("--cold-start", action="store_true", help=help)
    init.add_argument("--labels", type=Path, help="labels of some of the images that exist already: a file or a folder")
    init.add_argument("--simulate", type=Path, metavar="LABELS", help="answer the queries from these labels, no people")
    add_cost(init, "")
    add_set(init, "test", "images to evaluate each round on, outside the pool")
    add_set(init, "val", "images to validate each training on, outside the pool")
    add_format(init)


def _init(args: argparse.Namespace) -> None:
    from ...detection import Detector

    pool = images.resolve(args.images)
    classes = as_classes(args.classes)
    held_back = read_labels(args.simulate, args.format, classes, pool, args.empty) if args.simulate else None
    labels = read_labels(args.labels, args.format, classes, pool, args.empty) if args.labels else None
    classes = classes or (held_back or labels or RotatedInstances.empty()).classes
    known = _known_classes(args) if args.classes is None and args.checkpoint else ()
    if classes and known:
        _warn_of_classes_left_out(args, classes, known)
    classes = classes or known
    if not classes:
        raise ValueError(f"expected --classes: {CLASSES_HELP}")
    cfg_options.check(args.config, args.cfg_options, training=True)
    test = read_set(args, "test", classes)
    val = read_set(args, "val", classes)
    detector = Detector(
        args.config, args.checkpoint, args.device, args.cfg_options, classes, class_map=as_class_map(args.map)
    )
    cost = as_cost(args.cost)
    training: dict[str, Any] = {
        "schedule": as_schedule(args.schedule),
        "pseudo_labels": args.pseudo_labels,
        "warm_start": False if args.cold_start else None,
    }
    annotator = SimulatedAnnotator(held_back, cost) if held_back else None
    is_there = Workspace.exists(args.workspace)
    if is_there:
        _check_same(args, held_back, cost, training)
    with ActiveLoop(
        args.workspace,
        pool,
        classes,
        detector,
        args.strategy,
        budget=args.budget and Budget(images=args.budget),
        annotator=annotator,
        test=test,
        val=val,
        seed=args.seed,
        labels=labels,
        cost=cost,
        **training,
    ) as loop:
        counts = loop.workspace.counts()
        was_there = " (it was there already)" if is_there else ""
        print(f"{args.workspace}{was_there}: {many(sum(counts.values()), 'image')}, {in_words(counts)}")
        print(list_classes(loop.classes))
        print_next(loop.workspace, args.workspace)


def _known_classes(args: argparse.Namespace) -> tuple[str, ...]:
    """Return the classes that the checkpoint names, else those of the config, by their new names; none if neither."""
    from ...detection import checkpoints, configs

    config = configs.load(args.config)
    weights = checkpoints.read_checkpoint(args.checkpoint) if args.checkpoint != "zoo" else None
    known = (weights and weights.classes) or ()
    if not known:
        with suppress(ValueError):
            known = configs.dataset_classes(config)
    renamed = as_class_map(args.map) or {}
    return tuple(dict.fromkeys(renamed.get(name, name) for name in known))


def _warn_of_classes_left_out(args: argparse.Namespace, classes: Sequence[str], known: Sequence[str]) -> None:
    """Warn of classes that the checkpoint detects and a few labels happen not to show: the workspace goes without."""
    if (left_out := [name for name in known if name not in classes]) and len(left_out) < len(known):
        both = ",".join([*known, *(name for name in classes if name not in known)])
        warn_user(
            f"{args.checkpoint} detects {', '.join(left_out)}, too, which the labels do not name: this workspace goes "
            f"without. To keep them, delete {args.workspace} and say --classes {both}"
        )


def _check_same(
    args: argparse.Namespace, held_back: RotatedInstances | None, cost: CostModel | None, training: dict[str, Any]
) -> None:
    """Refuse to go on with a workspace that is made otherwise already: the arguments would be without effect."""
    with Workspace.open(args.workspace, read_only=True) as workspace:
        settings = LoopSettings.from_json(workspace.settings)
        for name in ("strategy", "seed"):
            if (kept := getattr(settings, name)) != (got := getattr(args, name)):
                raise ValueError(f"{args.workspace} is there already, with --{name} {kept}, got {got}: {_OTHERWISE}")
        if args.budget and settings.budget != Budget(images=args.budget):
            raise ValueError(
                f"{args.workspace} is there already, with {settings.budget}: give --budget to al-rotate query"
            )
        if cost not in (None, settings.cost):
            raise ValueError(f"{args.workspace} is there already, with {settings.cost}, got {cost}: {_OTHERWISE}")
        if settings.merged(**training) != settings:
            raise ValueError(
                f"{args.workspace} is there already, with another --schedule, --pseudo-labels or --cold-start: "
                f"{_OTHERWISE}, or give them to al-rotate train"
            )
        if held_back is not None and not isinstance(restore_annotator(workspace.folder), SimulatedAnnotator):
            raise ValueError(
                f"{args.workspace} is there already, without --simulate, and people answer it: {_OTHERWISE}"
            )
