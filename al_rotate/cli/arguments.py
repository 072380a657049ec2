"""Arguments that several commands share, and what their values mean."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

from ..data import class_names
from ..data.formats import dota
from ..sampling import STRATEGIES

# Adds a command to the parser: its name, the function that runs it, a summary and an example.
AddCommand = Callable[[str, Callable[[argparse.Namespace], "int | None"], str, str], argparse.ArgumentParser]

CLASSES = {"dota-v1": dota.DOTA_V1, "dota-v1.5": dota.DOTA_V15, "dota-v2": dota.DOTA_V2}


class DictAction(argparse.Action):
    """MMEngine's DictAction, imported when an option is parsed, so that the other commands need no MMEngine."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        from mmengine.config import DictAction

        DictAction(self.option_strings, self.dest, nargs="+")(parser, namespace, values, option_string)


def add_detector_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--config``, ``--checkpoint``, ``--device`` and ``--cfg-options``."""
    parser.add_argument("--config", required=True, help="path, or the name of a config shipped with MMRotate")
    parser.add_argument("--checkpoint", help="path, or zoo for the published weights")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE")


def add_strategy_arguments(parser: argparse.ArgumentParser, default: str | None, with_options: bool = True) -> None:
    """Add ``--strategy``, on request ``--options``, and ``--seed`` where the strategy has a default."""
    parser.add_argument("--strategy", default=default, help=", ".join(STRATEGIES))
    if with_options:
        parser.add_argument("--options", nargs="+", metavar="KEY=VALUE", help="of the strategy, e.g. how=sum")
    if default is not None:
        parser.add_argument("--seed", type=int, default=0)


def as_classes(text: str | None) -> tuple[str, ...] | None:
    """Read class names: those of a DOTA version, one per line of a file, or separated by commas.

    Raises:
        FileNotFoundError: for a path where there is no file.
        ValueError: for no name, or a name twice.
    """
    return None if text is None else class_names.from_text(text, CLASSES)


def as_options(pairs: list[str] | None) -> dict[str, Any]:
    """Convert ``how=sum k=3 share=0.5 use_class_scores=false`` to Python values.

    Raises:
        ValueError: for an option that is no ``KEY=VALUE``.
    """
    options: dict[str, Any] = {}
    for pair in pairs or []:
        name, equals, text = pair.partition("=")
        if not equals:
            raise ValueError(f"expected --options as KEY=VALUE, got {pair!r}")
        try:
            options[name] = json.loads(text.lower())
        except json.JSONDecodeError:
            options[name] = text
    return options
