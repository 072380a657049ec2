"""The parser of the al-rotate command. The commands are thin: everything they do can be done from Python."""

from __future__ import annotations

import argparse
import io
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from .. import __version__
from ..loop.settings import LoopSettings
from . import completion
from .arguments import add_strategy_arguments, whole_number
from .commands import changes, create, detections, images, label_studio, labels, looking, loop
from .failures import describe, is_of_stdout, plain_warnings
from .wording import history_table


def run(argv: list[str]) -> int:
    """Run one command.

    Returns:
        0 on success, 1 on failure (one line on standard error says why, and names a log file if it was a fault that
        nobody foresaw), 130 when interrupted.

    Raises:
        SystemExit: 2 for arguments that cannot be parsed, 0 after ``--help`` and ``--version``.
    """
    is_closed = sys.stdout is None  # by `>&-`
    if is_closed:  # else the next file that is opened would take its number, and what C code prints
        sys.stdout = open(os.devnull, "w", encoding="utf-8")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names need not be Unicode
    arguments = None
    prefix = f"al-rotate {argv[0]}" if argv and not argv[0].startswith("-") else "al-rotate"
    try:
        with plain_warnings(prefix):
            arguments = build_parser().parse_args(argv)
        with plain_warnings(prefix, arguments):
            code = arguments.run(arguments) or 0
            sys.stdout.flush()
            if is_closed:
                raise OSError("standard output is closed: the command did its work, and what it prints is lost")
            return code
    except KeyboardInterrupt:
        print("interrupted; the same command resumes from here", file=sys.stderr)
        return 130
    except BrokenPipeError:  # who read the output has seen enough, as in `al-rotate rank ... | head`
        _drop_output()
        return 1
    except Exception as error:
        print(f"{prefix}: {describe(error, arguments, argv)}", file=sys.stderr)
        if is_of_stdout(error):
            _drop_output()
        return 1


def _drop_output() -> None:
    """Drop what standard output does not take: Python tries again at its end, and would complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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

    create.add(add_command)
    images.add(add_command)
    detections.add(add_command)
    loop.add(add_command)
    looking.add(add_command)
    changes.add(add_command)
    demo = add_command("demo", _demo, "Run three rounds on rendered scenes, on a CPU.", "al-rotate demo demo")
    demo.add_argument("folder", type=Path, help="the workspace to make or to resume")
    help = "rounds in all; by default %(default)s"
    demo.add_argument("--rounds", type=whole_number(1), default=3, metavar="N", help=help)
    add_strategy_arguments(demo, default=LoopSettings.strategy, with_options=False)
    label_studio.add(add_command)
    labels.add(add_command)
    completion.add(add_command)
    # al_rotate.cli.main starts these two itself: they are here for the list of commands.
    add_command("doctor", _installation, "Check the installation and name the repair.", "al-rotate doctor")
    add_command("install-mm", _installation, "Install PyTorch, mmcv and MMRotate.", "al-rotate install-mm")
    return parser


def _demo(args: argparse.Namespace) -> None:
    from . import demo

    with demo.run(args.folder, args.rounds, args.strategy, args.seed) as loop:
        print(history_table(loop.workspace.history()))
        print(f"the report, for a browser: {loop.workspace.folder / 'report.html'}")
        print(f"next: al-rotate studio {shlex.quote(str(args.folder))}")


def _installation(args: argparse.Namespace) -> int:
    from . import main

    return main([args.command])
