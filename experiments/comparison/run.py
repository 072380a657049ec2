"""Strategies against each other: the same start, the same training, the same test images, several seeds.

    python experiments/compare_strategies.py experiments/comparisons/scenes_images.yaml --jobs 2
    python experiments/compare_strategies.py experiments/comparisons/vhr10_boxes.yaml --jobs 2 --data PATH/TO/vhr10

A cell is one round of one strategy with one seed. Each is a round of :class:`al_rotate.ActiveLoop` in a workspace of
its own below --work, so that the same command goes on after a kill, in the cell where it stood. The first round of a
seed, images at random, is run once and shared. The tidy table goes to experiments/results/comparisons/NAME.parquet, a
row a cell; it is written anew each minute, so that a machine that is taken away leaves it. Finished cells are never run
again, also when only the table is left of them: a config to which strategies or seeds are added runs these only.

What a config says, and where a cell's workspace is: comparison_cells.py.
"""

from __future__ import annotations

import argparse
import heapq
import multiprocessing
import os
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Any

import pandas as pd
from comparison_cells import (
    KEYS,
    RESULTS,
    Cell,
    cells,
    check_start,
    code,
    earlier,
    load,
    make_data,
    place,
    run_cell,
    table,
)
from tqdm.auto import tqdm

from al_rotate.storage.files import temporary_sibling


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
        ValueError: when there is a table of this name from another config, or where a seed starts otherwise.
    """
    config, out = load(path), results / f"{path.stem}.parquet"
    before = earlier(out, config)
    known = before.groupby(["name", "seed"])["round"].nunique()
    ended = {*known.index[known >= config["rounds"]]}  # these need no workspace any more
    every = cells(config)
    waiting = {(c.strategy, c.seed, c.round): c for c in every if (c.strategy, c.seed) not in ended}
    ready: list[Cell] = []
    failed: dict[Cell, BaseException] = {}
    going = {seed for _, seed, _ in waiting}
    shared = [Cell((i, 0, 0), seed, 0, "") for i, seed in enumerate(config["seeds"]) if seed in going]

    def finished(cell: Cell) -> None:
        names = config["strategies"] if cell.round == 0 else [cell.strategy]
        for name in names:
            waiting.pop((name, cell.seed, cell.round), None)
            if following := waiting.get((name, cell.seed, cell.round + 1)):
                note(following)

    def note(cell: Cell) -> None:
        if (place(work, config, cell) / f"result-{cell.round:03d}.json").exists():
            finished(cell)
        else:
            heapq.heappush(ready, cell)

    for cell in shared:
        note(cell)
    context = multiprocessing.get_context("spawn")
    numbers = context.Value("i", 0)
    with (
        ProcessPoolExecutor(jobs, context, initializer=_one_core, initargs=(numbers, jobs)) as pool,
        tqdm(total=len(every), initial=len(every) - len(waiting), unit="cell", desc=path.stem) as bar,
    ):
        if ready:
            pool.submit(make_data, work, data, config).result()
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
                row, left = future.result(), len(waiting)
                finished(cell)
                bar.set_postfix_str(f"{cell.strategy or 'first'}/{cell.seed}/{cell.round} mAP {row['mAP']:.3f}", False)
                bar.update(left - len(waiting))
            if time.monotonic() - written > 60:
                _write_table(work, config, out, ended)
                written = time.monotonic()
    found = _write_table(work, config, out, ended)
    if failed:
        cell, error = next(iter(failed.items()))
        raise RuntimeError(
            f"{len(failed)} cells failed, and what comes after them was not run; the first: {cell}"
        ) from error
    return found


def _write_table(work: Path, config: dict[str, Any], path: Path, ended: set[tuple[str, int]]) -> pd.DataFrame:
    """The table; what it has already, `ended` or of another machine, stays as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    before, found = earlier(path, config), table(work, config)
    check_start(path, before, found)
    found = found[~pd.MultiIndex.from_frame(found[["name", "seed"]]).isin(ended)]
    mine = pd.MultiIndex.from_frame(found[KEYS])
    found = pd.concat([found, before[~pd.MultiIndex.from_frame(before[KEYS]).isin(mine)]], ignore_index=True)
    scratch = temporary_sibling(path)
    found.to_parquet(scratch, index=False)
    os.replace(scratch, path)
    return found


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait_for([parent.sentinel])
    os._exit(1)


def _one_core(numbers: Any, jobs: int) -> None:
    """Each worker has its own share of the cores: one thread each trains more cells an hour than two together."""
    import torch  # only the workers compute

    # Or a killed comparison would leave workers that hold the cells which the next start wants.
    threading.Thread(target=_end_with_parent, daemon=True).start()
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
        if older := int((found.reindex(columns=["code"])["code"] != code()).sum()):
            print(f"{older} of {len(found)} cells are of another state of the code, see the column `code`; those whose")
            print("rows and folders you delete are run again.")
        print(f"table: {RESULTS / path.stem}.parquet")


if __name__ == "__main__":
    main()
