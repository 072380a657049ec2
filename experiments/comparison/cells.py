"""One cell of a comparison: a round of :class:`al_rotate.ActiveLoop` in a workspace of its own."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import time
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import al_rotate as al
from al_rotate.loop import Learner
from al_rotate.storage.files import atomic_write

from ..annotators.mistakes import Mistakes
from ..learners import planted
from ..learners.datasets import Parts, small_copies
from ..learners.features import prepare_sandbox
from .bootstrap import mean_ap
from .code_state import code_digest
from .config import Cell, cell_folder, result_file, strategy_of

RESAMPLES = 200  # of the test images; the same ones for every cell, so that differences are paired
_PACKAGES = ("torch", "onedl-mmcv", "onedl-mmengine", "onedl-mmdetection", "onedl-mmrotate", "numpy", "scikit-learn")


def run_cell(work: Path, data: Path | None, config: dict[str, Any], cell: Cell) -> dict[str, Any]:
    """Run a cell, or resume it.

    Args:
        work: where data and workspaces are.
        data: where photographs are.
        config: of the comparison.
        cell: of the config; the round before it is finished.

    Returns:
        Its row of the table, without what follows from the config.
    """
    file = result_file(work, config, cell)
    if file.exists():
        return json.loads(file.read_text(encoding="utf-8"))
    parts, learner = _materials(work, data, config, cell.seed)
    with _open_loop(work, config, cell, parts, learner) as loop:
        durations = _run_round(loop, cell)
        row = {"seed": cell.seed, "round": cell.round, **_outcome(loop, cell, parts[config["measure"]][0]), **durations}
    row["versions"] = json.dumps({name: importlib.metadata.version(name) for name in _PACKAGES})
    row["code"] = code_digest()
    with atomic_write(file) as stream:
        json.dump(row, stream)
    return row


def make_data(work: Path, data: Path | None, config: dict[str, Any]) -> None:
    """Make what all cells of a config share, before they run in parallel."""
    _materials(work, data, config, 0)


def _open_loop(work: Path, config: dict[str, Any], cell: Cell, parts: Parts, learner: Learner) -> al.ActiveLoop:
    """The loop of a cell: a new one for a first round, a copy of the first round's for the others."""
    folder = cell_folder(work, config, cell)
    common: dict[str, Any] = {"learner": learner, "warm_start": config["warm_start"], "seed": cell.seed}
    if cell.round == 0:
        labels, files = parts["pool"]
        person = Mistakes(**config["annotator"])
        answers = person.apply(labels, cell.seed)
        measured, measured_files = parts[config["measure"]]
        return al.ActiveLoop(
            folder,
            images=files,
            classes=labels.classes,
            strategy="random",
            budget=config["initial"],
            annotator=al.SimulatedAnnotator(answers, tolerance=person.tolerance),
            test=(measured_files, measured),
            **common,
        )
    if not (folder / "state.db").exists():
        scratch = folder.with_name(f".{folder.name}")
        shutil.rmtree(scratch, ignore_errors=True)
        first_round = cell_folder(work, config, Cell(cell.order, cell.seed, 0, ""))
        shutil.copytree(first_round, scratch, ignore=shutil.ignore_patterns("result-*"))
        os.replace(scratch, folder)
    strategy, budget = strategy_of(config, cell.strategy), al.Budget(**config["budget"])
    return al.ActiveLoop(
        folder, strategy=strategy["strategy"], strategy_options=strategy["options"], budget=budget, **common
    )


def _run_round(loop: al.ActiveLoop, cell: Cell) -> dict[str, float | None]:
    """Query, collect and train; the seconds that each took, None where it was finished before."""
    durations: dict[str, float | None] = dict.fromkeys(("query_s", "collect_s", "train_s"))
    # A kill may have come between the end of the round and its result: another query would begin the next round.
    if sum(r.stage == "trained" for r in loop.workspace.rounds()) > cell.round:
        return durations
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for step in ("query", "collect", "train"):
            started = time.perf_counter()
            getattr(loop, step)()
            durations[f"{step}_s"] = round(time.perf_counter() - started, 2)
    return durations


def _outcome(loop: al.ActiveLoop, cell: Cell, measured: al.RotatedInstances) -> dict[str, Any]:
    """What was labelled, what it cost, and how good the detector is now."""
    history = loop.workspace.history().iloc[cell.round]
    queried = loop.workspace.query(cell.round)["image_id"].tolist()
    ledger = loop.workspace.ledger()
    answered = ledger[ledger["image_id"].isin(queried)]
    detections = al.RotatedInstances.load(loop.workspace.folder / "rounds" / f"{cell.round:03d}" / "test_detections")
    return {
        "images": int(history["n_labelled"]),
        "boxes": int(history["n_boxes"]),
        "seconds": float(history["cost"]),
        "mAP": float(history["mAP"]),
        **{name: float(value) for name, value in history.items() if str(name).startswith("AP/")},
        "resampled": [round(float(value), 5) for value in mean_ap(detections, measured, RESAMPLES)],
        "asked": queried,
        "asked_empty": int((answered["n_boxes"] == 0).sum()),
        **{f"asked_{name}": int(answered[f"n_{name}"].sum()) for name in ("added", "moved", "relabelled", "deleted")},
    }


def _materials(work: Path, data: Path | None, config: dict[str, Any], seed: int) -> tuple[Parts, Learner]:
    """Labels and files of pool, val and test, and what learns from them."""
    if config["dataset"] == "planted":
        pool, test = planted.labels(planted.POOL, "pool", 0), planted.labels(planted.TEST, "test", 1)
        parts = {
            name: (labels, {i: Path(i) for i in labels.image_ids}) for name, labels in (("pool", pool), ("test", test))
        }
        return parts, planted.PlantedLearner(al.RotatedInstances.concat([pool, test]), seed)
    copies = config["dataset"], work / f"{config['dataset']}-{config['size']}", config["size"], data
    training = config["iterations"], config["first_iterations"], config["lr"], seed
    if config["detector"] == "sandbox":
        from ..learners.sandbox import SandboxLearner  # torch and OpenMMLab load here, in the workers

        sandbox = _cached_sandbox(*copies)
        return sandbox.parts, SandboxLearner(sandbox, *training)
    from ..learners.whole_detector import WholeDetector

    parts = small_copies(*copies)
    return parts, WholeDetector(config["detector"], parts["pool"][0].classes or (), *training)


_cached_sandbox = lru_cache(prepare_sandbox)  # hundreds of megabytes
