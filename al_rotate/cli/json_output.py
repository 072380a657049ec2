"""``--json``: what a command found as one JSON document on standard output, and everything else on standard error."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    help = "print one JSON document for programs, and all else on standard error"
    parser.add_argument("--json", action="store_true", help=help)


@contextlib.contextmanager
def only_json(asked: bool) -> Iterator[None]:
    """Send what is printed on standard output to standard error, if `asked`: libraries print there as they go."""
    with contextlib.redirect_stdout(sys.stderr) if asked else contextlib.nullcontext():
        yield


def print_json(document: Any) -> None:
    """Print a document of dicts, lists, tables, numbers and paths; NaN, NaT and infinities become null."""
    print(json.dumps(_plain(document), indent=1, allow_nan=False))


def _plain(value: Any) -> Any:
    """Turn a value into what JSON knows: a table into a list of one object a row."""
    if isinstance(value, pd.DataFrame):
        return [_plain(row) for row in value.to_dict("records")]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset | np.ndarray | pd.Series):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Path):
        return str(value)
    if value is pd.NaT or value is pd.NA:
        return None
    raise TypeError(f"expected dicts, lists, tables, numbers, text and paths, got {type(value).__name__}")
