"""``al-rotate completion``: a script by which a shell completes commands, options and files."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import AddCommand

SHELLS = {
    "bash": "~/.local/share/bash-completion/completions/al-rotate",
    "zsh": "a folder of $fpath, as _al-rotate",
    "tcsh": "a file that ~/.tcshrc sources",
}


def add(add_command: AddCommand) -> None:
    """Add the command to the parser."""
    example = "al-rotate completion bash"
    command = add_command("completion", _completion, "Print a script that completes commands in a shell.", example)
    places = "; ".join(f"for {shell}, save it as {place}" for shell, place in SHELLS.items())
    command.add_argument("shell", choices=[*SHELLS], help=places)


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """Write the script of a shell, in which arguments that take a path are completed by files.

    Args:
        parser: of the al-rotate command; its arguments are marked for shtab.
        shell: bash, zsh or tcsh.
    """
    import shtab

    _mark_paths(parser, shtab.FILE)
    return shtab.complete(parser, shell)


def _mark_paths(parser: argparse.ArgumentParser, mark: object) -> None:
    """Mark every argument that is parsed as a Path."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _mark_paths(command, mark)
        elif action.type is Path:
            action.complete = mark  # type: ignore[attr-defined]


def _completion(args: argparse.Namespace) -> None:
    from .parser import build_parser

    print(script(build_parser(), args.shell))
