"""The config of a comparison, and the cells that follow from it.

A config is a YAML file with these keys:

- ``pool``: a name of :data:`experiments.learners.pools.tile_pool.POOLS`, or ``planted``;
- ``known``: photographs that the detector is trained on before the loop begins, and keeps; 0 for ``planted``;
- ``first_iterations`` of the weights that all trainings start from, on those photographs; ``training`` (arguments of
  :class:`al_rotate.detection.Schedule`), with the known photographs alone, too; ``lr`` of all;
- ``detector``: a name of configs/detectors/, to train all of it by MMEngine's Runner; by default the sandbox's, whose
  backbone is frozen;
- ``budget``: what has been spent after each query, in all: ``images: [10, 20]`` or ``seconds: [600, 1200]``. The first
  query is drawn at random, the same for all arms of a seed;
- ``seeds``: each draws its own photographs, first query and weights;
- ``measure``: ``val`` while something is being chosen, ``test`` for what is reported;
- ``cost``: seconds for each kind of correction, where they are not the library's: arguments of
  :class:`al_rotate.CostModel`. A photograph takes 1 s to open and 4 s to look over, a tile 1 s and its share of 4 s;
- ``annotator``: the mistakes in the answers, see :class:`experiments.annotators.mistakes.Mistakes`;
- ``arms``: name -> strategy (by default of the arm's name; the library's, or one of
  :data:`experiments.comparison.controls.CONTROLS`) and its options, and where they are not those of all: ``training``,
  and ``loop``, further arguments of :class:`al_rotate.ActiveLoop`;
- ``like``: another file, whose keys hold where this one does not name them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

RECIPE = ("pool", "known", "first_iterations", "lr", "measure", "annotator", "cost")  # what all arms share
OPTIONAL = ("detector",)  # of it; a config without such a key has the digests that it had before there was one
OF_ARM = ("strategy", "options", "training", "loop")
_DEFAULTS = {"known": 0, "first_iterations": 400, "annotator": {}, "cost": {}, "measure": "test", "lr": 2e-3}


@dataclass(frozen=True, order=True)
class Cell:
    """One round of one arm with one seed; cells of earlier seeds, then of earlier rounds come first.

    In shared rounds one cell stands for all arms that are trained alike: it has the name of the first of them.
    """

    order: tuple[int, int, int]  # positions of the seed, the round and the arm
    seed: int
    round: int
    arm: str


def load_config(path: Path) -> dict[str, Any]:
    """Read a config and fill in the defaults.

    Raises:
        ValueError: if a key is missing or unknown, or the budget does not rise.
    """
    config = {**_DEFAULTS, **_read(path)}
    expected = {*RECIPE, "training", "budget", "seeds", "arms"}
    if wrong := sorted(expected ^ ({*config} - {*OPTIONAL})):
        raise ValueError(f"expected in {path} exactly {', '.join(sorted(expected))}; wrong or missing: {wrong}")
    config["arms"] = {name: arm or {} for name, arm in config["arms"].items()}
    for name, arm in config["arms"].items():
        if wrong := sorted({*arm} - {*OF_ARM}):
            raise ValueError(f"expected of the arm {name!r} in {path} some of {', '.join(OF_ARM)}, got {wrong}")
    ((axis, totals),) = config["budget"].items()
    if axis not in ("images", "seconds") or totals != sorted({*totals}):
        raise ValueError(f"expected in {path} a budget of images or seconds that rises, got {config['budget']}")
    return config


def n_rounds(config: dict[str, Any]) -> int:
    """The rounds of an arm: one without a query if the detector knows photographs, and one for each query."""
    return _before_queries(config) + len(next(iter(config["budget"].values())))


def n_shared(config: dict[str, Any]) -> int:
    """The rounds that arms which are trained alike share: up to the first query."""
    return _before_queries(config) + 1


def spent_after(config: dict[str, Any], number: int) -> tuple[str, int]:
    """What the budget counts, and how much of it is spent in all after a round."""
    ((axis, totals),) = config["budget"].items()
    queries = number + 1 - _before_queries(config)
    return axis, totals[queries - 1] if queries else 0


def arm_of(config: dict[str, Any], name: str) -> dict[str, Any]:
    """All of OF_ARM of the arm that a config calls `name`."""
    return {"strategy": name, "options": {}, "training": config["training"], "loop": {}, **config["arms"][name]}


def leader(config: dict[str, Any], name: str) -> str:
    """The first arm that begins as `name` does: its cells stand for both in shared rounds."""
    begins = [arm_of(config, name)[key] for key in ("training", "loop")]
    return next(n for n in config["arms"] if [arm_of(config, n)[key] for key in ("training", "loop")] == begins)


def list_cells(config: dict[str, Any]) -> list[Cell]:
    """All cells of a config; shared ones appear once per arm."""
    return [
        Cell((i, number, k), seed, number, name)
        for i, seed in enumerate(config["seeds"])
        for number in range(n_rounds(config))
        for k, name in enumerate(config["arms"])
    ]


def run_as(config: dict[str, Any], cell: Cell) -> Cell:
    """The cell that is run for one: itself, or in shared rounds that of the arm's leader."""
    name = leader(config, cell.arm) if cell.round < n_shared(config) else cell.arm
    return Cell((*cell.order[:2], list(config["arms"]).index(name)), cell.seed, cell.round, name)


def depends_on(config: dict[str, Any], name: str) -> dict[str, Any]:
    """All that an arm's cells depend on except seed and round.

    Of an arm that is not in the config, only what all arms share.
    """
    own = arm_of(config, name) if name in config["arms"] else {}
    return {**{key: config[key] for key in (*RECIPE, *OPTIONAL) if key in config}, "budget": config["budget"], **own}


def cell_folder(work: Path, config: dict[str, Any], cell: Cell) -> Path:
    """The workspace of a cell; its name is a digest of all that the cell depends on."""
    about = depends_on(config, cell.arm)
    if cell.round < n_shared(config):
        del about["strategy"], about["options"]
        axis, totals = next(iter(about["budget"].items()))
        return work / "first" / f"{digest({**about, 'budget': {axis: totals[0]}})}-{cell.seed}"
    return work / "cells" / f"{digest(about)}-{cell.seed}"


def result_file(work: Path, config: dict[str, Any], cell: Cell) -> Path:
    """The file that a finished cell leaves in its workspace."""
    return cell_folder(work, config, cell) / f"result-{cell.round:03d}.json"


def digest(*parts: Any) -> str:
    """Twelve hexadecimal digits of the SHA-256 of `parts` as JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def _read(path: Path) -> dict[str, Any]:
    own = yaml.safe_load(path.read_text(encoding="utf-8"))
    like = own.pop("like", None)
    return own if like is None else {**_read(path.parent / like), **own}


def _before_queries(config: dict[str, Any]) -> int:
    return int(config["known"] > 0)
