"""Messages of the library, which speak Python, in the words of the command line."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

# Method of ActiveLoop -> the command that calls it, and what follows the workspace there.
_COMMANDS = {
    "query": ("query", ""),
    "collect": ("collect", ""),
    "train": ("train", ""),
    "review": ("review", ""),
    "report": ("report", ""),
    "unskip": ("unskip", ""),
    "undo_last_round": ("undo", ""),
    "add_images": ("add", " --images FOLDER"),
    "add_labels": ("add", " --labels FOLDER"),
    "remove_images": ("remove", " IMAGE"),
    "add_class": ("classes", " --add CLASS"),
    "rename_class": ("classes", " --rename OLD=NEW"),
    "merge_classes": ("classes", " --merge CLASS CLASS --into CLASS"),
    "set_test": ("set", " --test-images FOLDER --test-labels FOLDER"),
    "set_val": ("set", " --val-images FOLDER --val-labels FOLDER"),
    "set_detector": ("set", " --config CONFIG"),
}
# A name of one word is an ordinary word, too, unless it is called.
_ONE_WORD, _SEVERAL = ("|".join(name for name in _COMMANDS if ("_" in name) is several) for several in (False, True))
_METHOD = re.compile(rf"\b(?:(?P<called>{_ONE_WORD})\(\)|(?P<named>{_SEVERAL})\b(?:\([^()]*\))?)")
_OPTIONS = {
    "class_map": "map",
    "cfg_options": "cfg-options",
    "bands": "bands",
    "stretch": "stretch",
    "empty": "empty",
}
_ARGUMENT = re.compile(rf"\b({'|'.join(_OPTIONS)})=(?:\(([^()]*)\)|\{{([^{{}}]*)\}}|'([^']*)')")
_MAP = re.compile(r"\b(?:a )?class_map\b(?!=)")  # the one option whose name in Python is no ordinary word


def as_commands(text: str, arguments: argparse.Namespace | None = None) -> str:
    """Replace calls and arguments of Python by commands and options.

    Args:
        text: of an exception or a warning.
        arguments: of the command, for the workspace's folder as it was typed; None: it is called WORK.

    >>> as_commands("nothing is labelled yet: collect() first")
    'nothing is labelled yet: `al-rotate collect WORK` first'
    >>> as_commands("say bands=(3, 2, 1), or class_map={'plane': 'pier'}")
    'say --bands 3 2 1, or --map plane=pier'
    >>> as_commands("read with empty='unlabelled'; expected classes in class_map")
    'read with --empty unlabelled; expected classes in --map'
    """
    typed = getattr(arguments, "workspace", None)
    work = shlex.quote(str(typed)) if isinstance(typed, Path) else "WORK"

    def as_command(match: re.Match[str]) -> str:
        command, rest = _COMMANDS[match["called"] or match["named"]]
        return f"`al-rotate {command} {work}{rest}`"

    return _MAP.sub("--map", _ARGUMENT.sub(_as_option, _METHOD.sub(as_command, text)))


def _as_option(match: re.Match[str]) -> str:
    name, items, pairs, word = match.groups()
    if word is not None:
        values = [word]
    elif pairs is not None:
        values = [re.sub(r"\s*:\s*", "=", pair.strip()).replace("'", "") for pair in pairs.split(",")]
    else:
        values = [item.strip() for item in items.split(",") if item.strip()]
    return f"--{_OPTIONS[name]} {shlex.join(values)}"
