"""What words of the command line mean, for all commands."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ..data.formats import dota

CLASSES = {"dota-v1": dota.DOTA_V1, "dota-v1.5": dota.DOTA_V15, "dota-v2": dota.DOTA_V2}


class DictAction(argparse.Action):
    """MMEngine's DictAction, loaded when it is used: without it the core needs no MMEngine."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        from mmengine.config import DictAction

        DictAction(self.option_strings, self.dest, nargs="+")(parser, namespace, values, option_string)


def as_classes(given: str | None) -> tuple[str, ...] | None:
    if given is None:
        return None
    if given in CLASSES:
        return tuple(CLASSES[given])
    if Path(given).is_file():
        return tuple(line.strip() for line in Path(given).read_text(encoding="utf-8").splitlines() if line.strip())
    return tuple(name.strip() for name in given.split(",") if name.strip())


def as_options(pairs: list[str] | None) -> dict[str, Any]:
    """``how=sum k=3 share=0.5 use_class_scores=false`` as Python values."""
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
