"""The config of a comparison, and the cells that follow from it.

A config is a YAML file with these keys:

- ``dataset`` and ``size``: see :data:`experiments.learners.datasets.DATASETS`, and ``planted``;
- ``detector``: ``sandbox`` (default), the quick one of :mod:`experiments.learners.sandbox`, or the name of a file in
  configs/detectors/, all of whose layers are trained;
- ``iterations`` and ``lr`` of each training, ``first_iterations`` of one without earlier weights, ``warm_start``;
- ``initial``: images of the first round; ``budget`` of each later round, as for :class:`al_rotate.Budget`;
- ``rounds``, the first included, and ``seeds``;
- ``measure``: ``val`` while something is being chosen, ``test`` for what is reported;
- ``annotator``: the mistakes in the answers, see :class:`experiments.annotators.mistakes.Mistakes`;
- ``strategies``: name -> strategy and its options.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

RECIPE = (
    "dataset",
    "size",
    "detector",
    "iterations",
    "first_iterations",
    "lr",
    "warm_start",
    "initial",
    "measure",
    "annotator",
)
_DEFAULTS = {"detector": "sandbox", "warm_start": True, "annotator": {}, "measure": "test", "lr": 2e-3}


@dataclass(frozen=True, order=True)
class Cell:
    """One round of one strategy with one seed; cells of earlier seeds, then of earlier rounds come first.

    The first round is the same for all strategies of a seed: one cell without a strategy stands for it.
    """

    order: tuple[int, int, int]  # positions of the seed, the round and the strategy
    seed: int
    round: int
    strategy: str


def load_config(path: Path) -> dict[str, Any]:
    """Read a config and fill in the defaults.

    Raises:
        ValueError: if a key is missing or unknown.
    """
    config = {**_DEFAULTS, **yaml.safe_load(path.read_text(encoding="utf-8"))}
    expected = {*RECIPE, "budget", "rounds", "seeds", "strategies"}
    if wrong := sorted(expected ^ {*config}):
        raise ValueError(f"expected in {path} exactly {', '.join(sorted(expected))}; wrong or missing: {wrong}")
    config["strategies"] = {name: strategy or {} for name, strategy in config["strategies"].items()}
    return config


def list_cells(config: dict[str, Any]) -> list[Cell]:
    """All cells of a config; the first round appears once per strategy."""
    return [
        Cell((i, number, k), seed, number, name)
        for i, seed in enumerate(config["seeds"])
        for number in range(config["rounds"])
        for k, name in enumerate(config["strategies"])
    ]


def recipe(config: dict[str, Any]) -> dict[str, Any]:
    """What all strategies of a config share."""
    return {name: config[name] for name in RECIPE}


def strategy_of(config: dict[str, Any], name: str) -> dict[str, Any]:
    """The strategy and options that a config calls `name`."""
    return {"strategy": name, "options": {}, **config["strategies"][name]}


def depends_on(config: dict[str, Any], name: str) -> dict[str, Any]:
    """All that a strategy's cells depend on except seed and round.

    Of a strategy that is not in the config, only what all strategies share.
    """
    own = strategy_of(config, name) if name in config["strategies"] else {}
    return {**recipe(config), "budget": config["budget"], **own}


def cell_folder(work: Path, config: dict[str, Any], cell: Cell) -> Path:
    """The workspace of a cell; its name is a digest of all that the cell depends on."""
    start = recipe(config)
    if cell.round == 0:
        return work / "first" / f"{digest(start)}-{cell.seed}"
    return work / "cells" / f"{digest(start, config['budget'], strategy_of(config, cell.strategy))}-{cell.seed}"


def result_file(work: Path, config: dict[str, Any], cell: Cell) -> Path:
    """The file that a finished cell leaves in its workspace."""
    return cell_folder(work, config, cell) / f"result-{cell.round:03d}.json"


def digest(*parts: Any) -> str:
    """Twelve hexadecimal digits of the SHA-256 of `parts` as JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
