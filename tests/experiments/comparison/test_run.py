"""Comparisons resume, repeat nothing, report failures, and note in the table what each cell depends on."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest

from experiments.comparison.config import cell_folder, list_cells, load_config
from experiments.comparison.run import run
from experiments.paths import REPOSITORY


def results(work: Path) -> dict[Path, int]:
    return {file: file.stat().st_mtime_ns for file in work.rglob("result-*.json")}


def test_each_row_is_a_cell_with_all_it_depends_on(finished):
    _, table = finished
    assert len(table) == 2 * 2 * 3
    assert table["cell"].is_unique
    assert sorted(map(len, table["asked"])) == [6] * 8 + [10] * 4
    assert (table[table["round"] == 2]["images"] == 22).all()
    assert {"torch", "onedl-mmrotate"} <= {*json.loads(table["versions"][0])}
    assert table[table["name"] == "entropy-sum"]["options"].map(json.loads).tolist() == [{"how": "sum"}] * 6


def test_all_strategies_of_a_seed_start_alike_and_seeds_do_not(finished):
    _, table = finished
    first = table[table["round"] == 0]
    by_seed = {seed: {*map(tuple, rows["asked"])} for seed, rows in first.groupby("seed")}
    assert [len(starts) for starts in by_seed.values()] == [1, 1]
    assert by_seed[0] != by_seed[1]


def test_no_image_is_queried_twice(finished):
    _, table = finished
    for _, rows in table.groupby(["name", "seed"]):
        queried = [image_id for ids in rows["asked"] for image_id in ids]
        assert len(queried) == len(set(queried)) == 22


def test_finished_cells_are_not_run_again_and_new_ones_are(finished, write_config):
    folder, table = finished
    before = results(folder / "work")
    again = run(write_config(folder), folder / "work", None, 1, results=folder / "results")
    pd.testing.assert_frame_equal(again, table)
    arms = load_config(folder / "small.yaml")["arms"]
    more = write_config(folder, arms={**arms, "box-count": None})
    grown = run(more, folder / "work", None, 1, results=folder / "results")
    after = results(folder / "work")
    assert {file: after[file] for file in before} == before
    assert len(after) == len(before) + 4
    assert len(grown) == 18


def test_a_lost_cell_is_made_again_and_comes_out_alike(finished, write_config):
    folder, table = finished
    config = load_config(write_config(folder))
    lost = next(c for c in list_cells(config) if c.arm == "entropy-sum" and c.round == 2 and c.seed == 1)
    file = cell_folder(folder / "work", config, lost) / "result-002.json"
    before = json.loads(file.read_text())
    file.unlink()
    (folder / "results" / "small.parquet").unlink()
    again = run(write_config(folder), folder / "work", None, 1, results=folder / "results")
    after = json.loads(file.read_text())
    same = [key for key in before if not key.endswith("_s")]
    assert [after[key] for key in same] == [before[key] for key in same]
    assert len([*(file.parent / "rounds").iterdir()]) == 3
    assert len(again[again["name"].isin(table["name"])]) == len(table)


def is_running(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE  # a zombie has ended; nobody has waited for it yet
    except psutil.NoSuchProcess:
        return False


def test_a_killed_comparison_leaves_no_workers_and_resumes(tmp_path, write_config):
    config = write_config(tmp_path, seeds=[0])
    options = ["--work", tmp_path / "work", "--results", tmp_path, "--jobs", "2"]
    command = [sys.executable, "-m", "experiments.comparison.run", config, *options]
    with subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL) as process:
        try:
            while not results(tmp_path / "work"):
                assert process.poll() is None
                time.sleep(0.05)
            workers = psutil.Process(process.pid).children(recursive=True)
        finally:
            process.kill()
    assert len(workers) >= 2
    until = time.monotonic() + 120
    while any(map(is_running, workers)):
        assert time.monotonic() < until
        time.sleep(0.1)
    assert len(run(config, tmp_path / "work", None, 2, results=tmp_path)) == 6


def test_after_its_time_nothing_is_begun(tmp_path, write_config):
    config = write_config(tmp_path, pool="vhr10", known=1)  # whose data would be made first
    assert run(config, tmp_path / "work", None, 1, until=time.time(), results=tmp_path / "results").empty
    assert not (tmp_path / "work").exists()


def test_failures_are_reported_after_all_else_was_run(tmp_path, write_config):
    path = write_config(tmp_path, seeds=[0], arms={"angle-stability": None, "random": None})
    with pytest.raises(RuntimeError, match=r"1 cells failed.*angle-stability"):
        run(path, tmp_path / "work", None, 1, results=tmp_path / "results")
    table = pd.read_parquet(tmp_path / "results" / "small.parquet")
    assert table.groupby("name").size().to_dict() == {"angle-stability": 1, "random": 3}
