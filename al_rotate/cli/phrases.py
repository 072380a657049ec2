"""Messages of the library, which speak Python, in the words of the command line."""

from __future__ import annotations

import re
import shlex

_METHODS = re.compile(r"\b(query|collect|train|review|report)\(\)")
_CALLS = {"add_labels": "add WORK --labels"}
_OPTIONS = {"class_map": "map", "cfg_options": "cfg-options", "bands": "bands", "stretch": "stretch"}
_ARGUMENT = re.compile(rf"\b({'|'.join(_OPTIONS)})=(\(([^()]*)\)|\{{([^{{}}]*)\}})")


def as_commands(text: str) -> str:
    """Replace calls and arguments of Python by commands and options.

    >>> as_commands("nothing is labelled yet: collect() first")
    'nothing is labelled yet: `al-rotate collect` first'
    >>> as_commands("say bands=(3, 2, 1), or class_map={'plane': 'pier'}")
    'say --bands 3 2 1, or --map plane=pier'
    """
    text = _METHODS.sub(r"`al-rotate \1`", text)
    for call, command in _CALLS.items():
        text = re.sub(rf"\b{call}\([^()]*\)", f"`al-rotate {command} ...`", text)
    return _ARGUMENT.sub(_as_option, text)


def _as_option(match: re.Match[str]) -> str:
    name, _, items, pairs = match.groups()
    if pairs is not None:
        values = [re.sub(r"\s*:\s*", "=", pair.strip()).replace("'", "") for pair in pairs.split(",")]
    else:
        values = [item.strip() for item in items.split(",") if item.strip()]
    return f"--{_OPTIONS[name]} {shlex.join(values)}"
