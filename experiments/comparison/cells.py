"""A cell of a comparison: one round of one strategy with one seed, and the config that it follows from.

In the config: ``dataset`` and ``size`` (see sandbox_data.DATASETS), ``detector`` (sandbox, the quick one of sandbox.py,
if nothing is said; else the name of a file in configs/, trained whole), ``iterations`` and ``lr`` of each training,
``first_iterations`` of one that starts from nothing, ``warm_start``, ``initial`` images, ``budget`` of each further
round as of :class:`al_rotate.Budget`, ``rounds`` with the first, ``seeds``, ``measure`` (val while something is being
chosen, test for what is reported), ``annotator`` (how far people are wrong, see mistakes.Mistakes) and ``strategies``:
name -> strategy and its options.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import shutil
import time
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import planted
import yaml
from mistakes import Mistakes
from resampling import mean_ap
from sandbox_data import copies, prepare

import al_rotate as al
from al_rotate.storage.files import atomic_write

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "comparisons"
RESAMPLES = 200  # of the test images; the same ones for every cell, so that differences are paired
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
KEYS = ["name", "seed", "round"]  # of a row of the table
_NO_CELLS = pd.DataFrame(columns=KEYS).astype({"seed": int, "round": int})
_DEFAULTS = {"detector": "sandbox", "warm_start": True, "annotator": {}, "measure": "test", "lr": 2e-3}
_PACKAGES = ("torch", "onedl-mmcv", "onedl-mmengine", "onedl-mmdetection", "onedl-mmrotate", "numpy", "scikit-learn")


@dataclass(frozen=True, order=True)
class Cell:
    """One round of one strategy with one seed; earlier seeds, then earlier rounds come first."""

    place: tuple[int, int, int]  # of the seed, the round, the strategy
    seed: int
    round: int
    strategy: str


def load(path: Path) -> dict[str, Any]:
    """A config, with everything in it that it leaves to us.

    Raises:
        ValueError: for one that lacks something or has something we do not know.
    """
    config = {**_DEFAULTS, **yaml.safe_load(path.read_text(encoding="utf-8"))}
    wanted = {*RECIPE, "budget", "rounds", "seeds", "strategies"}
    if wrong := sorted(wanted ^ {*config}):
        raise ValueError(f"expected in {path} exactly {', '.join(sorted(wanted))}; wrong or missing: {wrong}")
    config["strategies"] = {name: one or {} for name, one in config["strategies"].items()}
    return config


def digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def recipe(config: dict[str, Any]) -> dict[str, Any]:
    return {name: config[name] for name in RECIPE}


def place(work: Path, config: dict[str, Any], cell: Cell) -> Path:
    """The workspace of a cell; its name follows from all that the cell depends on."""
    start = recipe(config)
    if cell.round == 0:
        return work / "first" / f"{digest(start)}-{cell.seed}"
    return work / "cells" / f"{digest(start, config['budget'], _strategy(config, cell.strategy))}-{cell.seed}"


def _strategy(config: dict[str, Any], name: str) -> dict[str, Any]:
    return {"strategy": name, "options": {}, **config["strategies"][name]}


def run_cell(work: Path, data: Path | None, config: dict[str, Any], cell: Cell) -> dict[str, Any]:
    """Run a cell, or go on with it; what it brought, see the columns of the table."""
    folder = place(work, config, cell)
    file = folder / f"result-{cell.round:03d}.json"
    if file.exists():
        return json.loads(file.read_text(encoding="utf-8"))

    parts, learner = _materials(work, data, config, cell.seed)
    labels, files = parts["pool"]
    common: dict[str, Any] = {"learner": learner, "warm_start": config["warm_start"], "seed": cell.seed}
    if cell.round == 0:
        answers = Mistakes(**config["annotator"]).made(labels, cell.seed)
        measured, where = parts[config["measure"]]
        first: dict[str, Any] = {
            "images": files,
            "annotator": al.SimulatedAnnotator(answers),
            "test": (where, measured),
        }
        loop = al.ActiveLoop(
            folder, classes=labels.classes, strategy="random", budget=config["initial"], **first, **common
        )
    else:
        if not (folder / "state.db").exists():
            scratch = folder.with_name(f".{folder.name}")
            shutil.rmtree(scratch, ignore_errors=True)
            first_round = place(work, config, Cell(cell.place, cell.seed, 0, ""))
            shutil.copytree(first_round, scratch, ignore=shutil.ignore_patterns("result-*"))
            os.replace(scratch, folder)
        ask = _strategy(config, cell.strategy)
        budget = al.Budget(**config["budget"])
        loop = al.ActiveLoop(folder, strategy=ask["strategy"], strategy_options=ask["options"], budget=budget, **common)
    times = dict.fromkeys(("query_s", "collect_s", "train_s"))
    with loop, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # A kill may have come between the end of the round and its result: another query would begin the next round.
        ended = sum(one.stage == "trained" for one in loop.workspace.rounds()) > cell.round
        for step in () if ended else ("query", "collect", "train"):
            started = time.perf_counter()
            getattr(loop, step)()
            times[f"{step}_s"] = round(time.perf_counter() - started, 2)
        history = loop.workspace.history().iloc[cell.round]
        asked = loop.workspace.query(cell.round)["image_id"].tolist()
        ledger = loop.workspace.ledger()
    new = ledger[ledger["image_id"].isin(asked)]
    found = al.RotatedInstances.load(folder / "rounds" / f"{cell.round:03d}" / "test_detections")
    row = {
        "seed": cell.seed,
        "round": cell.round,
        "images": int(history["n_labelled"]),
        "boxes": int(history["n_boxes"]),
        "seconds": float(history["cost"]),
        "mAP": float(history["mAP"]),
        **{name: float(value) for name, value in history.items() if str(name).startswith("AP/")},
        "resampled": [round(float(v), 5) for v in mean_ap(found, parts[config["measure"]][0], RESAMPLES)],
        "asked": asked,
        "asked_empty": int((new["n_boxes"] == 0).sum()),
        **{f"asked_{name}": int(new[f"n_{name}"].sum()) for name in ("added", "moved", "relabelled", "deleted")},
        **times,
        "versions": json.dumps({name: importlib.metadata.version(name) for name in _PACKAGES}),
        "code": code(),
    }
    with atomic_write(file) as stream:
        json.dump(row, stream)
    return row


def _materials(work: Path, data: Path | None, config: dict[str, Any], seed: int) -> tuple[Any, Any]:
    """Labels and files of each part, and what learns from them."""
    if config["dataset"] == "planted":
        pool, test = planted.labels(planted.POOL, "pool", 0), planted.labels(planted.TEST, "test", 1)
        parts = {name: (one, {i: Path(i) for i in one.image_ids}) for name, one in (("pool", pool), ("test", test))}
        return parts, planted.PlantedLearner(al.RotatedInstances.concat([pool, test]), seed)
    made = config["dataset"], work / f"{config['dataset']}-{config['size']}", config["size"], data
    training = config["iterations"], config["first_iterations"], config["lr"], seed
    if config["detector"] == "sandbox":
        from sandbox import SandboxLearner  # PyTorch and OpenMMLab load here, in the workers

        sandbox = _prepared(*made)
        return sandbox.parts, SandboxLearner(sandbox, *training)
    from whole_detector import WholeDetector

    parts = copies(*made)
    return parts, WholeDetector(config["detector"], parts["pool"][0].classes, *training)


_prepared = lru_cache(prepare)  # hundreds of megabytes


def make_data(work: Path, data: Path | None, config: dict[str, Any]) -> None:
    _materials(work, data, config, 0)


def _depends_on(config: dict[str, Any], name: str) -> dict[str, Any]:
    """What a strategy's cells depend on but seed and round; of one that is not in the config, what all do."""
    own = _strategy(config, name) if name in config["strategies"] else {}
    return {**recipe(config), "budget": config["budget"], **own}


def _read(value: str) -> Any:
    """As it was noted; so that the order of options does not matter."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def _noted(about: dict[str, Any]) -> dict[str, str]:
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in about.items()}


def table(work: Path, config: dict[str, Any]) -> pd.DataFrame:
    """The finished cells, a row each; the first round once for each strategy."""
    rows = []
    for cell in cells(config):
        file = place(work, config, cell) / f"result-{cell.round:03d}.json"
        if file.exists():
            about = _depends_on(config, cell.strategy)
            row = {"name": cell.strategy, **json.loads(file.read_text(encoding="utf-8")), **_noted(about)}
            rows.append({**row, "cell": digest(about, cell.seed, cell.round)})
    return pd.DataFrame(rows) if rows else _NO_CELLS


def earlier(path: Path, config: dict[str, Any]) -> pd.DataFrame:
    """The cells of an earlier table of a config, also of strategies and seeds that are not in it (any more).

    Raises:
        ValueError: when one depends on something else than the config says.
    """
    if not path.exists():
        return _NO_CELLS
    found = pd.read_parquet(path)
    for name, rows in found.groupby("name"):
        wanted = _noted(_depends_on(config, str(name)))
        got = {key: rows[key].unique().tolist() if key in rows else [] for key in wanted}
        if wrong := [key for key, value in wanted.items() if [*map(_read, got[key])] != [_read(value)]]:
            said, had = ({key: of[key] for key in wrong} for of in (wanted, got))
            raise ValueError(
                f"expected in {path} for {name!r} {said}, got {had}: give the changed config another name, or move its "
                "table away"
            )
    return found


def check_start(path: Path, before: pd.DataFrame, first: pd.DataFrame) -> None:
    """That a seed starts here as it did in an earlier table: only then can its strategies be paired.

    Args:
        path: of the table.
        before: its cells.
        first: cells made here.

    Raises:
        ValueError: when another first round came out.
    """
    both = first[first["round"] == 0].merge(before[before["round"] == 0], on="seed", suffixes=("", "_before"))
    for row in both.itertuples():
        if row.mAP != row.mAP_before or [*row.asked] != [*row.asked_before]:
            raise ValueError(
                f"expected seed {row.seed} to start as in {path}, with mAP {row.mAP_before:.4f}, got {row.mAP:.4f}: "
                "another machine or another state of the code; take other seeds, or move the table away"
            )


@lru_cache
def code() -> str:
    """Of what decides which images are asked for, and what is learnt from them."""
    files = [*Path(al.sampling.__file__).parent.glob("*.py"), *HERE.glob("*sandbox*.py"), HERE / "mistakes.py"]
    return digest(*(file.read_text(encoding="utf-8") for file in sorted(files)))


def cells(config: dict[str, Any]) -> list[Cell]:
    return [
        Cell((i, number, k), seed, number, name)
        for i, seed in enumerate(config["seeds"])
        for number in range(config["rounds"])
        for k, name in enumerate(config["strategies"])
    ]
