"""The commands of the loop (init, query, review, collect, train, status and report), and rank."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from ..data.formats import dota
from ..loop import ActiveLoop, SimulatedAnnotator
from ..loop.settings import LoopSettings
from ..sampling import Budget, rank
from ..storage.files import atomic_write
from ..workspace import Workspace
from ..workspace.artefacts import read_explanations
from ..workspace.progress import advise_on
from .arguments import (
    AddCommand,
    DictAction,
    add_detector_arguments,
    add_strategy_arguments,
    as_classes,
    as_options,
)

NEXT_COMMANDS = {"new": "query", "queried": "collect", "collected": "train", "trained": "query"}  # by a round's stage


def add_init(add_command: AddCommand) -> None:
    """Add the command that makes a workspace."""
    init = add_command(
        "init",
        _init,
        "Make a workspace from a folder of images.",
        "al-rotate init work --images tiles/ --classes dota-v1 --config rotated_rtmdet_tiny-3x-dota --checkpoint zoo",
    )
    init.add_argument("workspace", type=Path)
    init.add_argument("--images", type=Path, required=True, help="folder with the pool of images")
    init.add_argument("--classes", help="dota-v1, dota-v1.5, dota-v2, names with commas, or a file with one per line")
    add_detector_arguments(init)
    add_strategy_arguments(init, default=LoopSettings.strategy, with_options=False)
    init.add_argument("--simulate", type=Path, metavar="LABELTXT", help="answer queries from these DOTA labels")
    init.add_argument("--test-images", type=Path, help="images to evaluate each round on")
    init.add_argument("--test-labels", type=Path, help="their DOTA labels")


def add(add_command: AddCommand) -> None:
    """Add the other commands."""
    ranking = add_command(
        "rank",
        _rank,
        "Rank the images of predicted detections.",
        "al-rotate rank detections/ --strategy entropy --options how=sum --out ranking.csv",
    )
    ranking.add_argument("detections", type=Path, help="a Parquet file or a folder of shards")
    add_strategy_arguments(ranking, default="entropy")
    ranking.add_argument("--images", type=int, help="how many to pick, for strategies that pick a set; by default all")
    ranking.add_argument("--out", type=Path, help="CSV of the whole ranking")
    ranking.add_argument("--top", type=int, default=10, help="rows to print")

    query = add_command(
        "query",
        _query,
        "Predict, rank, and ask for labels of the most useful images.",
        "al-rotate query work --images 100 --strategy pal",
    )
    query.add_argument("workspace", type=Path)
    query.add_argument("--images", type=int, help="budget in images")
    query.add_argument("--boxes", type=int, help="budget in predicted boxes")
    query.add_argument("--minutes", type=float, help="budget in expected minutes of labelling")
    add_strategy_arguments(query, default=None)

    review = add_command(
        "review",
        _review,
        "Have doubtful labels looked at again, instead of a query.",
        "al-rotate review work --images 30",
    )
    review.add_argument("workspace", type=Path)
    review.add_argument("--images", type=int, help="budget in images; by default that of the queries")

    collect = add_command("collect", _collect, "Collect the answers so far.", "al-rotate collect work")
    collect.add_argument("workspace", type=Path)

    train = add_command(
        "train",
        _train,
        "Fine-tune on all labels and evaluate.",
        "al-rotate train work --cfg-options train_cfg.max_epochs=12",
    )
    train.add_argument("workspace", type=Path)
    train.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE")

    status = add_command("status", _status, "Show where a workspace stands.", "al-rotate status work")
    status.add_argument("workspace", type=Path)

    report = add_command("report", _report, "Write the HTML report.", "al-rotate report work --out report.html")
    report.add_argument("workspace", type=Path)
    report.add_argument("--out", type=Path)


def _init(args: argparse.Namespace) -> None:
    from ..detection import Detector

    if bool(args.test_images) != bool(args.test_labels):
        raise ValueError("expected --test-images and --test-labels together")
    classes = as_classes(args.classes)
    held_back = dota.read(args.simulate, classes) if args.simulate else None
    classes = classes or (held_back.classes if held_back else None)
    if not classes:
        raise ValueError("expected --classes (dota-v1, a list, or a file with one name per line)")
    detector = Detector(args.config, args.checkpoint, args.device, args.cfg_options, classes)
    annotator = SimulatedAnnotator(held_back) if held_back else None
    test = (args.test_images, dota.read(args.test_labels, classes)) if args.test_images else None
    with ActiveLoop(
        args.workspace, args.images, classes, detector, args.strategy, annotator=annotator, test=test, seed=args.seed
    ) as loop:
        print(f"{loop.workspace.folder}: {loop.workspace.counts()['unlabelled']} images, {len(classes)} classes")
        print(f"next: al-rotate query {args.workspace} --images 50")


def _rank(args: argparse.Namespace) -> None:
    rng = np.random.default_rng(args.seed)
    ranking = rank(args.detections, args.strategy, rng, budget=args.images, **as_options(args.options))
    if args.out:
        with atomic_write(args.out) as file:
            ranking.to_csv(file, index=False)
    print(ranking.head(args.top).to_string(index=False))


def _query(args: argparse.Namespace) -> None:
    seconds = None if args.minutes is None else round(60 * args.minutes)
    limited = (args.images, args.boxes, seconds) != (None, None, None)
    budget = Budget(images=args.images, boxes=args.boxes, seconds=seconds) if limited else None
    options = as_options(args.options) or None
    with ActiveLoop(args.workspace, strategy=args.strategy, budget=budget, strategy_options=options) as loop:
        _print_query(loop, loop.query())


def _review(args: argparse.Namespace) -> None:
    with ActiveLoop(args.workspace) as loop:
        _print_query(loop, loop.review(args.images))


def _print_query(loop: ActiveLoop, selection: pd.DataFrame) -> None:
    current = loop.workspace.rounds()[-1]
    explanations = read_explanations(current.folder)
    print(f"round {current.number}: {len(selection)} images queried, the most useful first:")
    print("\n".join(f"  {image_id}: {explanations.get(image_id, '')}" for image_id in selection["image_id"].head(10)))
    print(f"all of them: {current.folder / 'selection.csv'}")


def _collect(args: argparse.Namespace) -> None:
    with ActiveLoop(args.workspace) as loop:
        statuses = loop.collect()["status"].value_counts()
    print(", ".join(f"{count} {status}" for status, count in statuses.items()))
    if "queried" not in statuses:
        print(f"next: al-rotate train {args.workspace}")


def _train(args: argparse.Namespace) -> None:
    with ActiveLoop(args.workspace, train_options=args.cfg_options) as loop:
        metrics = loop.train()
    for name, value in metrics.items():
        print(f"{name}: {value:.4g}")


def _status(args: argparse.Namespace) -> None:
    with Workspace.open(args.workspace, read_only=True) as workspace:
        counts, history, rounds = workspace.counts(), workspace.history(), workspace.rounds()
        advice = advise_on(workspace)
    print(", ".join(f"{count} {status}" for status, count in counts.items()))
    if len(history):
        columns = [c for c in ("round", "stage", "strategy", "n_labelled", "n_boxes", "cost", "mAP") if c in history]
        with pd.option_context("display.width", 120):
            print(history[columns].to_string(index=False, na_rep="", float_format="{:.3f}".format))
    if any(past.stage == "trained" for past in rounds):
        print(advice.reason)
    stage = rounds[-1].stage if rounds else "trained"
    print(f"next: al-rotate {NEXT_COMMANDS[stage]} {args.workspace}")


def _report(args: argparse.Namespace) -> None:
    from ..report import write_report

    with Workspace.open(args.workspace, read_only=True) as workspace:
        print(write_report(workspace, args.out))
