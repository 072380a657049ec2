"""The al-rotate command: thin, everything it does can be done from Python."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .. import __version__
from ..data.formats import dota
from ..loop.active_loop import ActiveLoop
from ..loop.settings import LoopSettings
from ..loop.simulated import SimulatedAnnotator
from ..sampling import STRATEGIES, Budget, rank
from ..storage.files import atomic_write
from ..workspace import Workspace
from ..workspace import artefacts as _round_files
from ..workspace.progress import advise_on
from . import label_studio as _cli_studio
from . import predict as _cli_predict
from .arguments import DictAction, as_classes, as_options


def run(argv: list[str]) -> int:
    """Run one command.

    Returns:
        0 when it did what was asked, 1 when it could not (the reason is on standard error), 2 for words it does
        not understand, 130 when interrupted.
    """
    command = ""
    try:
        arguments = _parser().parse_args(argv)
        command = f" {arguments.command}"
        return arguments.run(arguments) or 0
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        text = error.args[0] if isinstance(error, KeyError) and error.args else error
        hint = "\nrun `al-rotate doctor`: it names what is missing" if isinstance(error, ImportError) else ""
        print(f"al-rotate{command}: {text}{hint}", file=sys.stderr)
        return 1


def _init(args: argparse.Namespace) -> None:
    from ..detection.detector import Detector

    if bool(args.test_images) != bool(args.test_labels):
        raise ValueError("expected --test-images and --test-labels together")
    names = as_classes(args.classes)
    held_back = dota.read(args.simulate, names) if args.simulate else None
    names = names or (held_back.classes if held_back else None)
    if not names:
        raise ValueError("expected --classes (dota-v1, a list, or a file with one name a line)")
    detector = Detector(args.config, args.checkpoint, args.device, args.cfg_options, names)
    annotator = SimulatedAnnotator(held_back) if held_back else None
    test = (args.test_images, dota.read(args.test_labels, names)) if args.test_images else None
    with ActiveLoop(
        args.workspace, args.images, names, detector, args.strategy, annotator=annotator, test=test, seed=args.seed
    ) as loop:
        print(f"{loop.workspace.folder}: {loop.workspace.counts()['unlabelled']} images, {len(names)} classes")
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
    asks = (args.images, args.boxes, seconds) != (None, None, None)
    limits = Budget(images=args.images, boxes=args.boxes, seconds=seconds) if asks else None
    with ActiveLoop(
        args.workspace, strategy=args.strategy, budget=limits, strategy_options=as_options(args.options) or None
    ) as loop:
        _tell(loop, loop.query())


def _tell(loop: ActiveLoop, asked: pd.DataFrame) -> None:
    number = loop.workspace.begin_round().number
    folder = loop.workspace.folder / "rounds" / f"{number:03d}"
    whys = _round_files.read_explanations(folder)
    print(f"round {number}: {len(asked)} images asked for; the most wanted first:")
    print("\n".join(f"  {image_id}: {whys.get(image_id, '')}" for image_id in asked["image_id"].head(10)))
    print(f"all of them: {folder / 'selection.csv'}")


def _review(args: argparse.Namespace) -> None:
    with ActiveLoop(args.workspace) as loop:
        _tell(loop, loop.review(args.images))


def _collect(args: argparse.Namespace) -> None:
    with ActiveLoop(args.workspace) as loop:
        states = loop.collect()["status"].value_counts()
    print(", ".join(f"{count} {status}" for status, count in states.items()))
    if "queried" not in states:
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
        shown = [c for c in ("round", "stage", "strategy", "n_labelled", "n_boxes", "cost", "mAP") if c in history]
        with pd.option_context("display.width", 120):
            print(history[shown].to_string(index=False, na_rep="", float_format="{:.3f}".format))
    if any(one.stage == "trained" for one in rounds):
        print(advice.reason)
    stage = rounds[-1].stage if rounds else "trained"
    following = {"new": "query", "queried": "collect", "collected": "train", "trained": "query"}[stage]
    print(f"next: al-rotate {following} {args.workspace}")


def _report(args: argparse.Namespace) -> None:
    from ..report.page import write_report

    with Workspace.open(args.workspace, read_only=True) as workspace:
        print(write_report(workspace, args.out))


def _demo(args: argparse.Namespace) -> None:
    from . import demo

    with demo.run(args.folder, args.rounds, args.strategy, args.seed) as loop:
        history = loop.workspace.history()
        print(history[["round", "strategy", "n_labelled", "n_boxes", "mAP"]].to_string(index=False))
        print(f"open {loop.workspace.folder / 'report.html'} in a browser")


def _doctor(args: argparse.Namespace) -> int:
    from . import doctor

    return doctor.main([])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="al-rotate", description="Active learning for rotated object detection, around MMRotate and Label Studio."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Any, summary: str, example: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(run=run)
        return sub

    init = command(
        "init",
        _init,
        "Make a workspace from a folder of images.",
        "al-rotate init work --images tiles/ --classes dota-v1 --config rotated_rtmdet_tiny-3x-dota --checkpoint zoo",
    )
    init.add_argument("workspace", type=Path)
    init.add_argument("--images", type=Path, required=True, help="folder with the pool of images")
    init.add_argument("--classes", help="dota-v1, dota-v1.5, dota-v2, names with commas, or a file with one a line")
    _detector_arguments(init)
    _strategy_arguments(init, default=LoopSettings.strategy, with_options=False)
    init.add_argument("--simulate", type=Path, metavar="LABELTXT", help="answer queries from these DOTA labels")
    init.add_argument("--test-images", type=Path, help="images to measure each round on")
    init.add_argument("--test-labels", type=Path, help="their DOTA labels")

    _cli_predict.add(command, _detector_arguments)

    ranking = command(
        "rank",
        _rank,
        "Rank the images of predicted detections.",
        "al-rotate rank detections/ --strategy entropy --options how=sum --out ranking.csv",
    )
    ranking.add_argument("detections", type=Path, help="a Parquet file or a folder of shards")
    _strategy_arguments(ranking, default="entropy")
    ranking.add_argument("--images", type=int, help="how many to pick, for strategies that pick a set; by default all")
    ranking.add_argument("--out", type=Path, help="CSV of the whole ranking")
    ranking.add_argument("--top", type=int, default=10, help="rows to print")

    query = command(
        "query",
        _query,
        "Predict, rank, and ask for the most useful images.",
        "al-rotate query work --images 100 --strategy pal",
    )
    query.add_argument("workspace", type=Path)
    query.add_argument("--images", type=int, help="budget in images")
    query.add_argument("--boxes", type=int, help="budget in predicted boxes")
    query.add_argument("--minutes", type=float, help="budget in expected minutes of labelling")
    _strategy_arguments(query, default=None)

    review = command(
        "review",
        _review,
        "Ask about labels again that are in doubt, instead of a query.",
        "al-rotate review work --images 30",
    )
    review.add_argument("workspace", type=Path)
    review.add_argument("--images", type=int, help="budget in images; by default that of the queries")

    collect = command("collect", _collect, "Take over the answers there are.", "al-rotate collect work")
    collect.add_argument("workspace", type=Path)

    train = command(
        "train",
        _train,
        "Fine-tune on all labels and evaluate.",
        "al-rotate train work --cfg-options train_cfg.max_epochs=12",
    )
    train.add_argument("workspace", type=Path)
    train.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE")

    status = command("status", _status, "Show where a workspace stands.", "al-rotate status work")
    status.add_argument("workspace", type=Path)

    report = command("report", _report, "Write the HTML report.", "al-rotate report work --out report.html")
    report.add_argument("workspace", type=Path)
    report.add_argument("--out", type=Path)

    demo = command("demo", _demo, "Three rounds on rendered scenes, on a CPU.", "al-rotate demo demo")
    demo.add_argument("folder", type=Path)
    demo.add_argument("--rounds", type=int, default=3)
    _strategy_arguments(demo, default=LoopSettings.strategy, with_options=False)

    _cli_studio.add(command)
    command("doctor", _doctor, "Check the installation and name the repair.", "al-rotate doctor")
    return parser


def _detector_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", required=True, help="path, or the name of a config shipped with MMRotate")
    parser.add_argument("--checkpoint", help="path, or zoo for the published weights")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE")


def _strategy_arguments(parser: argparse.ArgumentParser, default: str | None, with_options: bool = True) -> None:
    parser.add_argument("--strategy", default=default, help=", ".join(STRATEGIES))
    if with_options:
        parser.add_argument("--options", nargs="+", metavar="KEY=VALUE", help="of the strategy, e.g. how=sum")
    if default is not None:
        parser.add_argument("--seed", type=int, default=0)
