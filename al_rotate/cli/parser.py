"""The parser of the al-rotate command. The commands are thin: everything they do can be done from Python."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from .. import __version__
from ..loop.settings import LoopSettings
from . import label_studio, loop, predict
from .arguments import add_strategy_arguments


def run(argv: list[str]) -> int:
    """Run one command.

    Returns:
        0 on success, 1 on failure (the reason is on standard error), 2 for arguments that cannot be parsed, 130 when
        interrupted.
    """
    command = ""
    try:
        arguments = build_parser().parse_args(argv)
        command = f" {arguments.command}"
        return arguments.run(arguments) or 0
    except KeyboardInterrupt:
        print("interrupted; the same command resumes from here", file=sys.stderr)
        return 130
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        text = error.args[0] if isinstance(error, KeyError) and error.args else error
        hint = "\nrun `al-rotate doctor`: it names what is missing" if isinstance(error, ImportError) else ""
        print(f"al-rotate{command}: {text}{hint}", file=sys.stderr)
        return 1


def build_parser() -> argparse.ArgumentParser:
    """Build the parser; parsed arguments have the function to call with them in ``run``."""
    parser = argparse.ArgumentParser(
        prog="al-rotate", description="Active learning for rotated object detection, around MMRotate and Label Studio."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add_command(
        name: str, run: Callable[[argparse.Namespace], int | None], summary: str, example: str
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.set_defaults(run=run)
        return command

    loop.add_init(add_command)
    predict.add(add_command)
    loop.add(add_command)
    demo = add_command("demo", _demo, "Run three rounds on rendered scenes, on a CPU.", "al-rotate demo demo")
    demo.add_argument("folder", type=Path)
    demo.add_argument("--rounds", type=int, default=3)
    add_strategy_arguments(demo, default=LoopSettings.strategy, with_options=False)
    label_studio.add(add_command)
    add_command("doctor", _doctor, "Check the installation and name the repair.", "al-rotate doctor")
    return parser


def _demo(args: argparse.Namespace) -> None:
    from . import demo

    with demo.run(args.folder, args.rounds, args.strategy, args.seed) as loop:
        history = loop.workspace.history()
        print(history[["round", "strategy", "n_labelled", "n_boxes", "mAP"]].to_string(index=False))
        print(f"open {loop.workspace.folder / 'report.html'} in a browser")


def _doctor(args: argparse.Namespace) -> int:
    from . import doctor

    return doctor.main([])
