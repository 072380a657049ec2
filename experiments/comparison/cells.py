"""One cell of a comparison: a round of :class:`al_rotate.ActiveLoop` in a workspace of its own."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import time
import warnings
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import al_rotate as al
from al_rotate.detection.training.schedule import Schedule
from al_rotate.storage.files import atomic_write

from ..annotators.mistakes import Mistakes
from ..learners import planted
from ..learners.features import Sandbox, prepare_tiles
from ..learners.pools.tile_pool import POOLS, TilePool, make_pool
from .bootstrap import mean_ap
from .code_state import code_digest
from .config import Cell, arm_of, cell_folder, digest, n_shared, result_file, run_as, spent_after
from .controls import CONTROLS

RESAMPLES = 200  # of the test images; the same ones for every cell, so that differences are paired
KINDS = ("added", "moved", "relabelled", "deleted", "kept")  # of what people do with boxes
_PACKAGES = ("torch", "onedl-mmcv", "onedl-mmengine", "onedl-mmdetection", "onedl-mmrotate", "numpy", "scikit-learn")
_LEAST_QUERY = 0.1  # of what a round was to spend: as much is asked for even if answers took longer than expected


@dataclass(frozen=True)
class Materials:
    """What the cells of a seed work with.

    Attributes:
        labels, files: of the images that a loop may ask for and those that it knows.
        known: labels that are there before the loop begins; None: none.
        test, test_files: of the images that are measured.
        truth: what the detections are measured by in the table: of photographs, where `test` is tiles.
        tiles: where `test` is tiles.
    """

    labels: al.RotatedInstances
    files: dict[str, Path]
    known: al.RotatedInstances | None
    test: al.RotatedInstances
    test_files: dict[str, Path]
    truth: al.RotatedInstances
    tiles: TilePool | None = None


def run_cell(work: Path, data: Path | None, config: dict[str, Any], cell: Cell) -> dict[str, Any]:
    """Run a cell, or resume it.

    Args:
        work: where data and workspaces are.
        data: where the folders of photographs are.
        config: of the comparison.
        cell: of the config; the round before it is finished.

    Returns:
        Its row of the table, without what follows from the config.
    """
    file = result_file(work, config, cell)
    if file.exists():
        return json.loads(file.read_text(encoding="utf-8"))
    started = time.process_time()
    materials = _materials(work, data, config, cell.seed)
    with _open_loop(work, data, config, cell, materials) as loop:
        durations = _run_round(loop, cell)
        row = {"seed": cell.seed, "round": cell.round, **_outcome(loop, cell, materials), **durations}
    row["image_seconds"] = al.CostModel(**config["cost"]).image
    row["cpu_s"] = round(time.process_time() - started, 2)
    row["versions"] = json.dumps({name: importlib.metadata.version(name) for name in _PACKAGES})
    row["code"] = code_digest()
    with atomic_write(file) as stream:
        json.dump(row, stream)
    return row


def make_data(work: Path, data: Path | None, config: dict[str, Any]) -> None:
    """Make what all cells of a config share, before they run in parallel."""
    if "detector" in config:
        _cached_pool(work, data, config["pool"])
    elif config["pool"] != "planted":
        _cached_sandbox(work, data, config["pool"])


def _open_loop(work: Path, data: Path | None, config: dict[str, Any], cell: Cell, about: Materials) -> al.ActiveLoop:
    """The loop of a cell: a new one for a first round, a copy of the shared rounds' for an arm's own first one."""
    folder, arm = cell_folder(work, config, cell), arm_of(config, cell.arm)
    shared = cell.round < n_shared(config)
    if not shared and not (folder / "state.db").exists():
        scratch = folder.with_name(f".{folder.name}")
        shutil.rmtree(scratch, ignore_errors=True)
        start = cell_folder(work, config, run_as(config, replace(cell, round=n_shared(config) - 1)))
        shutil.copytree(start, scratch, ignore=shutil.ignore_patterns("result-*"))
        os.replace(scratch, folder)
    person = Mistakes(**config["annotator"])
    strategy = "random" if shared else arm["strategy"]
    arguments = {
        "strategy": CONTROLS[strategy]() if strategy in CONTROLS else strategy,
        "strategy_options": {} if shared else arm["options"],
        "learner": _learner(work, data, config, cell),
        "warm_start": False,
        "schedule": Schedule(**arm["training"]) if arm["training"] else None,
        "seed": cell.seed,
        **arm["loop"],
    }
    if cell.round == 0:
        arguments |= {
            "images": about.files,
            "classes": about.labels.classes,
            "annotator": al.SimulatedAnnotator(
                about.labels, al.CostModel(**config["cost"]), tolerance=person.tolerance
            ),
            "test": (about.test_files, about.test),
            "labels": about.known,
        }
    loop = al.ActiveLoop(folder, **arguments)
    try:
        loop.budget = _budget(loop, config, cell)
    except BaseException:
        loop.close()
        raise
    return loop


def _budget(loop: al.ActiveLoop, config: dict[str, Any], cell: Cell) -> al.Budget:
    """What is left to spend in a round: answers may have cost more, or less, than was expected."""
    axis, total = spent_after(config, cell.round)
    before = spent_after(config, cell.round - 1)[1] if cell.round else 0
    answered = loop.workspace.ledger()
    answered = answered[(answered["annotator"] != "imported") & (answered["status"] == "labelled")]
    spent = len(answered) if axis == "images" else float(answered["seconds"].astype(float).sum())
    left = max(1, round(total - spent), round(_LEAST_QUERY * (total - before)))
    return al.Budget(images=left) if axis == "images" else al.Budget(seconds=left)


def _run_round(loop: al.ActiveLoop, cell: Cell) -> dict[str, float | None]:
    """Query, collect and train; the seconds that each took, None where it was finished before or not done."""
    durations: dict[str, float | None] = dict.fromkeys(("query_s", "collect_s", "train_s"))
    # A kill may have come between the end of the round and its result: another query would begin the next round.
    if sum(r.stage == "trained" for r in loop.workspace.rounds()) > cell.round:
        return durations
    begins_with_labels = loop.workspace.waits_to_be_trained_on(0) and cell.round == 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for step in ("train",) if begins_with_labels else ("query", "collect", "train"):
            started = time.perf_counter()
            getattr(loop, step)()
            durations[f"{step}_s"] = round(time.perf_counter() - started, 2)
    return durations


def _outcome(loop: al.ActiveLoop, cell: Cell, about: Materials) -> dict[str, Any]:
    """What was labelled, what it cost, and how good the detector is now."""
    history = loop.workspace.history().iloc[cell.round]
    ledger = loop.workspace.ledger()
    queries = [loop.workspace.query(number)["image_id"].tolist() for number in range(cell.round + 1)]
    asked = ledger[ledger["image_id"].isin(queries[-1])]
    so_far = ledger[ledger["image_id"].isin([image_id for ids in queries for image_id in ids])]
    folder = loop.workspace.folder / "rounds" / f"{cell.round:03d}"
    detections, overlaps = al.RotatedInstances.load(folder / "test_detections"), []
    if about.tiles is not None:
        detections = about.tiles.merged(detections, about.truth.image_ids.tolist())
        overlaps = about.tiles.overlaps
    measured = al.evaluate(detections, about.truth).metrics()
    return {
        "images": len(so_far),
        "boxes": int(so_far["n_boxes"].sum()),
        "seconds": float(so_far["seconds"].astype(float).sum()),
        "iterations": int(history.get("iterations", 0)),
        **{name: float(value) for name, value in measured.items()},
        "mAP_images": float(history["mAP"]),
        "resampled": [round(float(value), 5) for value in mean_ap(detections, about.truth, RESAMPLES, overlaps)],
        "asked": queries[-1],
        "asked_empty": int((asked["n_boxes"] == 0).sum()),
        "asked_boxes": int(asked["n_boxes"].sum()),
        **{f"asked_{kind}": int(asked[f"n_{kind}"].fillna(0).sum()) for kind in KINDS[:-1]},
        "asked_kept": _n_kept(folder / "corrections.csv"),
        **_as_photographs("asked", about, asked["image_id"].tolist(), asked["n_boxes"].to_numpy(float)),
        **_known(about),
    }


def _known(about: Materials) -> dict[str, float]:
    """What was labelled before the loop began."""
    labels = about.labels.subset([]) if about.known is None else about.known
    whole = _as_photographs("known", about, labels.image_ids.tolist(), labels.counts)
    return {"known_images": len(labels), "known_boxes": labels.n_boxes, **whole}


def _as_photographs(what: str, about: Materials, image_ids: list[str], n_boxes: NDArray) -> dict[str, float]:
    """How many photographs and objects so many boxes on these images are, see :meth:`TilePool.shares`."""
    n = len(image_ids)
    photographs, objects = (np.ones(n), np.ones(n)) if about.tiles is None else about.tiles.shares(image_ids)
    return {f"{what}_photographs": float(photographs.sum()), f"{what}_objects": float(objects @ n_boxes)}


def _n_kept(corrections: Path) -> int:
    return int((pd.read_csv(corrections)["what"] == "kept").sum()) if corrections.exists() else 0


def _materials(work: Path, data: Path | None, config: dict[str, Any], seed: int) -> Materials:
    """Labels and files of a seed."""
    person = Mistakes(**config["annotator"])
    if config["pool"] == "planted":
        pool, test = planted.labels(planted.POOL, "pool", 0), planted.labels(planted.TEST, "test", 1)
        files, test_files = ({i: Path(i) for i in labels.image_ids.tolist()} for labels in (pool, test))
        return Materials(person.apply(pool, seed), files, None, test, test_files, test)
    tiles = _cached_pool(work, data, config["pool"])
    draw = tiles.draw(seed, config["measure"], config["known"])
    labels, known = tiles.labels.subset(draw.known + draw.pool), tiles.labels.subset(draw.known)
    return Materials(
        person.apply(labels, seed),
        {i: tiles.files[i] for i in draw.known + draw.pool},
        known,
        tiles.labels.subset(draw.measured),
        {i: tiles.files[i] for i in draw.measured},
        tiles.truth.subset(draw.photographs),
        tiles,
    )


def _learner(work: Path, data: Path | None, config: dict[str, Any], cell: Cell) -> Any:
    """A :class:`al_rotate.loop.Learner` without a validation set."""
    if config["pool"] == "planted":
        pool, test = planted.labels(planted.POOL, "pool", 0), planted.labels(planted.TEST, "test", 1)
        return planted.PlantedLearner(al.RotatedInstances.concat([pool, test]), cell.seed)
    keys = ("pool", "known", "first_iterations", "lr", "measure", "detector")
    recipe = {key: config[key] for key in keys if key in config}
    start = work / "known" / f"{digest(recipe)}-{cell.seed}"  # also of comparisons that differ in what comes later
    training = start, cell.round == 0, config["first_iterations"], config["lr"], cell.seed
    if "detector" in config:  # torch and OpenMMLab load with the learners, in the workers
        from ..learners.whole_detector import WholeDetector

        return WholeDetector(config["detector"], _cached_pool(work, data, config["pool"]).labels.classes, *training)
    from ..learners.pools.learner import TileLearner

    return TileLearner(_cached_sandbox(work, data, config["pool"]), *training)


@lru_cache(1)
def _cached_sandbox(work: Path, data: Path | None, name: str) -> Sandbox:
    return prepare_tiles(_cached_pool(work, data, name), work / "pools" / name)


@lru_cache(1)
def _cached_pool(work: Path, data: Path | None, name: str) -> TilePool:
    return make_pool(POOLS[name], work / "pools" / name, data)
