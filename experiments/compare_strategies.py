"""Strategies against each other: the same start, the same training, the same test images, several seeds.

    python experiments/compare_strategies.py experiments/comparisons/scenes_images.yaml --jobs 2
    python experiments/compare_strategies.py experiments/comparisons/vhr10_boxes.yaml --jobs 2 --data PATH/TO/vhr10

A cell is one round of one strategy with one seed. Each is a round of :class:`al_rotate.ActiveLoop` in a workspace of
its own below --work, so that the same command goes on after a kill, in the cell where it stood; finished cells are
never run again, and a config to which strategies or seeds are added runs these only. The first round of a seed, images
at random, is run once and shared. The tidy table goes to experiments/results/comparisons/NAME.parquet, a row a cell;
it is written anew each minute, so that a machine that is taken away leaves it.

In the config: ``dataset`` and ``size`` (see sandbox_data.DATASETS), ``detector`` (sandbox, the quick one of sandbox.py,
if nothing is said; else the name of a file in configs/, trained whole), ``iterations`` and ``lr`` of each training,
``first_iterations`` of one that starts from nothing, ``warm_start``, ``initial`` images, ``budget`` of each further
round as of :class:`al_rotate.Budget`, ``rounds`` with the first, ``seeds``, ``measure`` (val while something is being
chosen, test for what is reported), ``annotator`` (how far people are wrong, see mistakes.Mistakes) and ``strategies``:
name -> strategy and its options.
"""

from __future__ import annotations

import argparse
import hashlib
import heapq
import importlib.metadata
import json
import multiprocessing
import os
import shutil
import time
import warnings
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
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
from tqdm.auto import tqdm

import al_rotate as al
from al_rotate._files import beside, whole

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
        "code": _code(),
    }
    with whole(file) as stream:
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


def _make_data(work: Path, data: Path | None, config: dict[str, Any]) -> None:
    _materials(work, data, config, 0)


def table(work: Path, config: dict[str, Any]) -> pd.DataFrame:
    """The finished cells, a row each; the first round once for each strategy."""
    rows = []
    for cell in cells(config):
        file = place(work, config, cell) / f"result-{cell.round:03d}.json"
        if file.exists():
            about = {**recipe(config), "budget": config["budget"], **_strategy(config, cell.strategy)}
            noted = {name: value if isinstance(value, str) else json.dumps(value) for name, value in about.items()}
            row = {"name": cell.strategy, **json.loads(file.read_text(encoding="utf-8")), **noted}
            rows.append({**row, "cell": digest(about, cell.seed, cell.round)})
    return pd.DataFrame(rows)


@lru_cache
def _code() -> str:
    """Of what decides which images are asked for, and what is learnt from them."""
    files = [*Path(al.sampling.__file__).parent.glob("*.py"), *HERE.glob("*sandbox*.py"), HERE / "mistakes.py"]
    return digest(*(file.read_text(encoding="utf-8") for file in sorted(files)))


def _write_table(work: Path, config: dict[str, Any], path: Path) -> pd.DataFrame:
    """The table, with what an earlier one of the same recipe has beyond it: another machine's cells are not lost."""
    path.parent.mkdir(parents=True, exist_ok=True)
    found = table(work, config)
    if path.exists() and len(found):
        old = pd.read_parquet(path)
        same, keys = [*RECIPE, "budget"], ["name", "seed", "round"]
        mine = pd.MultiIndex.from_frame(found[keys])
        if {*same} <= {*old} and (old[same] == found[same].iloc[0]).all(axis=None):
            found = pd.concat([found, old[~pd.MultiIndex.from_frame(old[keys]).isin(mine)]], ignore_index=True)
    scratch = beside(path)
    found.to_parquet(scratch, index=False)
    os.replace(scratch, path)
    return found


def cells(config: dict[str, Any]) -> list[Cell]:
    return [
        Cell((i, number, k), seed, number, name)
        for i, seed in enumerate(config["seeds"])
        for number in range(config["rounds"])
        for k, name in enumerate(config["strategies"])
    ]


def run(
    path: Path, work: Path, data: Path | None, jobs: int, until: float | None = None, results: Path = RESULTS
) -> pd.DataFrame:
    """Every cell of a config that is not finished yet; a cell starts when the one before it in its chain is done.

    Args:
        path: of the config.
        work: where data and workspaces are.
        data: where photographs are.
        jobs: processes.
        until: time after which no further cell is started, in seconds since 1970.
        results: where the table goes.

    Returns:
        The table, of all that is finished.

    Raises:
        RuntimeError: when a cell failed; all that does not need it was run before.
    """
    config = load(path)
    waiting = {(cell.strategy, cell.seed, cell.round): cell for cell in cells(config)}
    ready: list[Cell] = []
    failed: dict[Cell, BaseException] = {}
    shared = {seed: Cell((i, 0, 0), seed, 0, "") for i, seed in enumerate(config["seeds"])}

    def finished(cell: Cell) -> None:
        names = config["strategies"] if cell.round == 0 else [cell.strategy]
        for name in names:
            waiting.pop((name, cell.seed, cell.round))
            if following := waiting.get((name, cell.seed, cell.round + 1)):
                note(following)

    def note(cell: Cell) -> None:
        if (place(work, config, cell) / f"result-{cell.round:03d}.json").exists():
            finished(cell)
        else:
            heapq.heappush(ready, cell)

    for cell in shared.values():
        note(cell)
    context = multiprocessing.get_context("spawn")
    numbers = context.Value("i", 0)
    with (
        ProcessPoolExecutor(jobs, context, initializer=_one_core, initargs=(numbers, jobs)) as pool,
        tqdm(total=len(cells(config)), initial=len(cells(config)) - len(waiting), unit="cell", desc=path.stem) as bar,
    ):
        if ready:
            pool.submit(_make_data, work, data, config).result()
        running: dict[Future[dict[str, Any]], Cell] = {}
        written = time.monotonic()
        while ready or running:
            while ready and len(running) < jobs and (until is None or time.time() < until):
                cell = heapq.heappop(ready)
                running[pool.submit(run_cell, work, data, config, cell)] = cell
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                cell = running.pop(future)
                if error := future.exception():  # what does not need this cell goes on
                    failed[cell] = error
                    bar.write(f"{cell}: {error!r}")
                    continue
                row, before = future.result(), len(waiting)
                finished(cell)
                bar.set_postfix_str(f"{cell.strategy or 'first'}/{cell.seed}/{cell.round} mAP {row['mAP']:.3f}", False)
                bar.update(before - len(waiting))
            if time.monotonic() - written > 60:
                _write_table(work, config, results / f"{path.stem}.parquet")
                written = time.monotonic()
    found = _write_table(work, config, results / f"{path.stem}.parquet")
    if failed:
        cell, error = next(iter(failed.items()))
        raise RuntimeError(
            f"{len(failed)} cells failed, and what comes after them was not run; the first: {cell}"
        ) from error
    return found


def _one_core(numbers: Any, jobs: int) -> None:
    """Each worker has its own share of the cores: one thread each trains more cells an hour than two together."""
    import torch  # only the workers compute

    with numbers.get_lock():
        number, numbers.value = numbers.value, numbers.value + 1
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, set(cores[number % jobs :: jobs]) or set(cores))
        torch.set_num_threads(max(1, len(cores) // jobs))
    else:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // jobs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", type=Path, nargs="+", help="run one after the other")
    parser.add_argument("--work", type=Path, default=Path("work_dirs/comparisons"), help="data and workspaces")
    parser.add_argument("--data", type=Path, help="the photographs, in DOTA form with splits/")
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 2)), help="processes")
    parser.add_argument("--minutes", type=float, help="start no further cell after so long")
    args = parser.parse_args()
    until = None if args.minutes is None else time.time() + 60 * args.minutes
    for path in args.configs:
        found = run(path, args.work.absolute(), args.data and args.data.absolute(), args.jobs, until)
        last = found[found["round"] == found["round"].max()].groupby("name")["mAP"].agg(["mean", "std", "count"])
        print(last.sort_values("mean", ascending=False).to_string(float_format="{:.4f}".format))
        if found["code"].nunique() > 1:
            print("Some cells are of an older state of the code, see the column `code`; without their folders they are")
            print("run again.")
        print(f"table: {RESULTS / path.stem}.parquet")


if __name__ == "__main__":
    main()
