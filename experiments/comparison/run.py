"""Compare strategies: the same start, the same training, the same test images, several seeds.

    python -m experiments.comparison.run experiments/configs/comparisons/*.yaml --data PATH/TO/DATA --minutes 170

A cell is one round of one arm with one seed, run in a workspace of its own below --work: after a kill the same command
resumes in the cell where it stopped. What a seed begins with is run once and shared. The tidy table goes to
experiments/results/comparisons/NAME.parquet, one row per cell. It is written each minute, so that little is lost with
the machine. Finished cells are never run again, even if only the table is left of them: when you add arms or seeds to a
config, only these are run. Workspaces of runs whose rows are all in the table can be deleted.

The keys of a config are in :mod:`experiments.comparison.config`.
"""

from __future__ import annotations

import argparse
import heapq
import multiprocessing
import os
import threading
import time
from collections.abc import Collection
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import replace
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm.auto import tqdm

from ..paths import TABLES
from .cells import make_data, run_cell
from .code_state import code_digest
from .config import Cell, list_cells, load_config, n_shared, result_file, run_as
from .tidy import finished_runs, read_table, write_table

_SECONDS_BETWEEN_TABLES = 60


def run(
    config_file: Path, work: Path, data: Path | None, jobs: int, until: float | None = None, results: Path = TABLES
) -> pd.DataFrame:
    """Run every cell of a config that is not finished; a cell starts when the round before it is finished.

    Args:
        config_file: whose name without suffix is the name of the comparison.
        work: where data and workspaces are.
        data: where the folders of photographs are.
        jobs: processes.
        until: time after which no further cell is started, in seconds since 1970.
        results: where the table goes.

    Returns:
        The table of all finished cells.

    Raises:
        RuntimeError: if a cell failed, after all that does not need it was run.
        ValueError: if there is a table of this name from another config, or a seed starts otherwise than in it.
    """
    config, table_file = load_config(config_file), results / f"{config_file.stem}.parquet"
    finished = finished_runs(read_table(table_file, config), config)
    queue = CellQueue(work, config, finished)
    failed: dict[Cell, BaseException] = {}
    total = len(list_cells(config))
    with (
        _workers(jobs) as pool,
        tqdm(total=total, initial=total - len(queue), unit="cell", desc=config_file.stem) as bar,
    ):
        if queue.ready and not _is_over(until):
            pool.submit(make_data, work, data, config).result()
        running: dict[Future[dict[str, Any]], Cell] = {}
        written = time.monotonic()
        while queue.ready or running:
            while queue.ready and len(running) < jobs and not _is_over(until):
                cell = queue.pop()
                running[pool.submit(run_cell, work, data, config, cell)] = cell
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                cell = running.pop(future)
                if error := future.exception():  # cells that do not need this one still run
                    failed[cell] = error
                    bar.write(f"{cell}: {error!r}")
                    continue
                row, left = future.result(), len(queue)
                queue.finish(cell)
                bar.set_postfix_str(f"{cell.arm}/{cell.seed}/{cell.round} mAP {row['mAP']:.3f}", False)
                bar.update(left - len(queue))
            if time.monotonic() - written > _SECONDS_BETWEEN_TABLES:
                write_table(work, config, table_file, finished)
                written = time.monotonic()
    table = write_table(work, config, table_file, finished)
    if failed:
        cell, error = next(iter(failed.items()))
        raise RuntimeError(
            f"{len(failed)} cells failed, and what comes after them was not run; the first: {cell}"
        ) from error
    return table


class CellQueue:
    """The unfinished cells of a comparison, and those among them that can start now.

    Args:
        work: where the workspaces are.
        config: of the comparison.
        finished: pairs of arm and seed that need not be run.
    """

    def __init__(self, work: Path, config: dict[str, Any], finished: Collection[tuple[str, int]]) -> None:
        self._work, self._config = work, config
        self._unfinished = {
            (cell.arm, cell.seed, cell.round): cell
            for cell in list_cells(config)
            if (cell.arm, cell.seed) not in finished
        }
        self.ready: list[Cell] = []  # a heap
        for cell in sorted({run_as(config, cell) for cell in self._unfinished.values() if cell.round == 0}):
            self._add(cell)

    def __len__(self) -> int:
        """How many cells are unfinished; a shared one counts once per arm."""
        return len(self._unfinished)

    def pop(self) -> Cell:
        """Take the cell that shall start next."""
        return heapq.heappop(self.ready)

    def finish(self, cell: Cell) -> None:
        """Note that a cell is finished: the next rounds become ready, or are finished as well."""
        names = [cell.arm]
        if cell.round < n_shared(self._config):
            same = (replace(cell, arm=name) for name in self._config["arms"])
            names = [other.arm for other in same if run_as(self._config, other).arm == cell.arm]
        following = set()
        for name in names:
            self._unfinished.pop((name, cell.seed, cell.round), None)
            if after := self._unfinished.get((name, cell.seed, cell.round + 1)):
                following.add(run_as(self._config, after))
        for after in sorted(following):
            self._add(after)

    def _add(self, cell: Cell) -> None:
        if result_file(self._work, self._config, cell).exists():
            self.finish(cell)
        else:
            heapq.heappush(self.ready, cell)


def _is_over(until: float | None) -> bool:
    return until is not None and time.time() >= until


def _workers(jobs: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(jobs, context, initializer=_start_worker, initargs=(context.Value("i", 0), jobs))


def _start_worker(counter: Any, jobs: int) -> None:
    """Give each worker its share of the cores: one thread each trains more cells an hour than two together."""
    import torch  # only the workers compute

    # Otherwise a killed comparison leaves workers that hold the cells which the next start needs.
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    with counter.get_lock():
        number, counter.value = counter.value, counter.value + 1
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, set(cores[number % jobs :: jobs]) or set(cores))
        torch.set_num_threads(max(1, len(cores) // jobs))
    else:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // jobs))


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait_for([parent.sentinel])
    os._exit(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", type=Path, nargs="+", help="run one after the other")
    parser.add_argument("--work", type=Path, default=Path("work_dirs/comparisons"), help="data and workspaces")
    parser.add_argument("--data", type=Path, help="what holds vhr10/ and ssdd/, in DOTA form with splits/")
    parser.add_argument("--results", type=Path, default=TABLES, help="where the tables go")
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 2)), help="processes")
    parser.add_argument("--minutes", type=float, help="start no further cell after so long")
    args = parser.parse_args()
    until = None if args.minutes is None else time.time() + 60 * args.minutes
    work, data = args.work.absolute(), args.data and args.data.absolute()
    for config_file in args.configs:
        table = run(config_file, work, data, args.jobs, until, args.results)
        last = table[table["round"] == table["round"].max()].groupby("name")["mAP"].agg(["mean", "std", "count"])
        print(last.sort_values("mean", ascending=False).to_string(float_format="{:.4f}".format))
        if older := int((table.reindex(columns=["code"])["code"] != code_digest()).sum()):
            print(
                f"{older} of {len(table)} cells are of another state of the code, see the column `code`. To run cells"
            )
            print("again, delete their rows and their workspaces.")
        print(f"table: {args.results / config_file.stem}.parquet")


if __name__ == "__main__":
    main()
