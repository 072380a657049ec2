"""Arguments that several commands share, and what their values mean."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from ..data import class_names
from ..data.formats import dota
from ..detection.training.schedule import Schedule
from ..loop.settings import CONFIGS_OWN
from ..sampling import STRATEGIES, CostModel
from ..storage.user_warnings import warn_user

# Adds a command to the parser: its name, the function that runs it, a summary and an example.
AddCommand = Callable[[str, Callable[[argparse.Namespace], "int | None"], str, str], argparse.ArgumentParser]

CLASSES = {"dota-v1": dota.DOTA_V1, "dota-v1.5": dota.DOTA_V15, "dota-v2": dota.DOTA_V2}
CLASSES_HELP = f"{', '.join(CLASSES)}, names separated by commas, or a file (one name per line, or data.yaml)"
CONFIG_HELP = "path of an MMRotate config, or the name of one shipped with MMRotate"
CHECKPOINT_HELP = "path of the weights, or zoo for the published ones"


class DictAction(argparse.Action):
    """MMEngine's DictAction, imported when an option is parsed, so that the other commands need no MMEngine."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        for value in values:
            if not value.partition("=")[0].strip() or "=" not in value:
                raise argparse.ArgumentError(
                    self, f"expected KEY=VALUE, such as train_cfg.max_epochs=12, got {value!r}"
                )
        from mmengine.config import DictAction

        DictAction(self.option_strings, self.dest, nargs="+")(parser, namespace, values, option_string)


class Renamed(argparse.Action):
    """An option's old name: it sets the new one, and a warning says so."""

    def __init__(self, option_strings: Any, dest: str, new: str, **options: Any) -> None:
        super().__init__(option_strings, dest, default=argparse.SUPPRESS, help=argparse.SUPPRESS, **options)
        self.new = new

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        warn_user(f"{option_string} is now called {self.new}; the old name will go")
        setattr(namespace, self.dest, values)


def add_workspace(parser: argparse.ArgumentParser) -> None:
    """Add the workspace's folder, the first argument of most commands."""
    parser.add_argument("workspace", type=Path, help="its folder")


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add ``--device`` and ``--cfg-options``."""
    help = "cpu, cuda:0, ...; by default %(default)s: a GPU if there is one"
    parser.add_argument("--device", default="auto", help=help)
    add_cfg_options(parser)


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options``."""
    help = "values of the config to change, e.g. train_cfg.max_epochs=12"
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE", help=help)


def add_detector_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--config``, ``--checkpoint``, ``--map``, ``--device`` and ``--cfg-options``."""
    parser.add_argument("--config", required=True, help=CONFIG_HELP)
    add_start(parser)
    add_device(parser)


def add_start(parser: argparse.ArgumentParser) -> None:
    """Add ``--checkpoint`` and ``--map``."""
    start = "by default a random head on the pretrained backbone that the config names"
    parser.add_argument("--checkpoint", help=f"{CHECKPOINT_HELP}; {start}")
    mapped = "class of the checkpoint=class that takes its weights, where the names differ: large-vehicle=truck"
    parser.add_argument("--map", nargs="+", metavar="OLD=NEW", help=mapped)


def add_strategy_arguments(parser: argparse.ArgumentParser, default: str | None, with_options: bool = True) -> None:
    """Add ``--strategy``, on request ``--options``, and ``--seed`` where the strategy has a default."""
    names = ", ".join(STRATEGIES)
    by_default = "%(default)s" if default else "the workspace's"
    parser.add_argument("--strategy", default=default, help=f"by default {by_default}; one of {names}")
    if with_options:
        parser.add_argument("--options", nargs="+", metavar="KEY=VALUE", help="of the strategy, e.g. how=sum")
    if default is not None:
        help = "of everything random; by default %(default)s"
        parser.add_argument("--seed", type=whole_number(0), default=0, metavar="N", help=help)


def add_budget(parser: argparse.ArgumentParser, help: str) -> None:
    """Add ``--budget``, in images; it was called ``--images``."""
    parser.add_argument("--budget", type=whole_number(1), metavar="IMAGES", help=help)
    parser.add_argument("--images", type=whole_number(1), dest="budget", action=Renamed, new="--budget")


def add_cost(parser: argparse.ArgumentParser, by_default: str) -> None:
    """Add ``--cost``."""
    assumed = " ".join(f"{name}={value:g}" for name, value in asdict(CostModel()).items())
    help = f"seconds of a person's time, which decide what boxes are worth showing; by default {by_default}{assumed}"
    parser.add_argument("--cost", nargs="+", metavar="WHAT=SECONDS", help=help)


def add_training(parser: argparse.ArgumentParser, by_default: str) -> None:
    """Add ``--schedule`` and ``--pseudo-labels``."""
    help = (
        "how long each training goes, in iterations, e.g. per_image=4 least=200 most=4000; also rate, warm_up, balance "
        f"and ema; or {CONFIGS_OWN}: as the config says. By default {by_default}"
    )
    parser.add_argument("--schedule", nargs="+", metavar="KEY=VALUE", help=help)
    help = "train on what the last query detected on unlabelled images, too, where it is surely right"
    parser.add_argument("--pseudo-labels", action=argparse.BooleanOptionalAction, help=help)


def whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    """Return a reader of whole numbers in a range, for argparse."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least or (most is not None and value > most):
            limits = f"of at least {least}" if most is None else f"from {least} to {most}"
            raise argparse.ArgumentTypeError(f"expected a whole number {limits}, got {text!r}")
        return value

    return read


def number(least: float, most: float = math.inf, above: bool = False) -> Callable[[str], float]:
    """Return a reader of numbers from `least` to `most`, for argparse; with `above`, `least` itself is refused."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (least <= value <= most) or math.isinf(value) or (above and value == least):
            limits = f"{'above' if above else 'from'} {least:g}" + (f" to {most:g}" if most < math.inf else "")
            raise argparse.ArgumentTypeError(f"expected a number {limits}, got {text!r}")
        return value

    return read


score = number(0, 1)
port = whole_number(1, 65535)


def as_classes(text: str | None) -> tuple[str, ...] | None:
    """Read class names, see :func:`al_rotate.data.class_names.from_text`; a DOTA version stands for its own."""
    return None if text is None else class_names.from_text(text, CLASSES)


def as_class_map(pairs: list[str] | None) -> dict[str, str] | None:
    """Convert the pairs of ``--map``; None without any."""
    return as_pairs(pairs, "--map as OLD=NEW") or None


def as_cost(pairs: list[str] | None) -> CostModel | None:
    """Convert the pairs of ``--cost``, the others as assumed; None without any.

    Raises:
        ValueError: for what costs nothing, or no number of seconds.
    """
    if not pairs:
        return None
    known = asdict(CostModel())
    for name, text in as_pairs(pairs, "--cost as WHAT=SECONDS, such as added=20").items():
        if name not in known:
            raise ValueError(f"expected --cost of {', '.join(known)}, got {name!r}")
        try:
            known[name] = float(text)
        except ValueError:
            raise ValueError(f"expected seconds in --cost, such as {name}={known[name]:g}, got {text!r}") from None
    return CostModel(**known)


def as_schedule(pairs: list[str] | None) -> Schedule | Literal["config"] | None:
    """Convert the pairs of ``--schedule``, the others as :class:`~al_rotate.Schedule` has them; None without any.

    Raises:
        ValueError: for what a schedule does not have, or values out of their ranges.
    """
    if not pairs:
        return None
    if pairs == [CONFIGS_OWN]:
        return CONFIGS_OWN
    known = asdict(Schedule())
    for name, text in as_pairs(pairs, "--schedule as KEY=VALUE, such as per_image=4").items():
        if name not in known:
            raise ValueError(f"expected --schedule of {', '.join(known)}, got {name!r}")
        try:
            known[name] = type(known[name])(text)
        except ValueError:
            raise ValueError(f"expected a number in --schedule, such as {name}={known[name]}, got {text!r}") from None
    return Schedule(**known)


def as_options(pairs: list[str] | None) -> dict[str, Any]:
    """Convert ``how=sum k=3 share=0.5 use_class_scores=false`` to Python values.

    Raises:
        ValueError: for an option that is no ``KEY=VALUE``, or given twice.
    """
    options: dict[str, Any] = {}
    for name, text in as_pairs(pairs, "--options as KEY=VALUE").items():
        try:
            options[name] = json.loads(text.lower())
        except json.JSONDecodeError:
            options[name] = text
    return options


def as_pairs(pairs: list[str] | None, expected: str) -> dict[str, str]:
    """Split ``A=B`` pairs at their first ``=``.

    Args:
        pairs: as given.
        expected: for messages, such as "--rename as LABEL=CLASS".

    Raises:
        ValueError: for a pair without both sides, or a left side that occurs twice.
    """
    split: dict[str, str] = {}
    for pair in pairs or []:
        left, _, right = (part.strip() for part in pair.partition("="))
        if not left or not right:
            raise ValueError(f"expected {expected}, got {pair!r}")
        if left in split:
            raise ValueError(f"expected {expected}, each once, got {left!r} twice")
        split[left] = right
    return split
