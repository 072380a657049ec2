"""Comparisons resume, never repeat, tell of failures, and their tables say what happened: on the planted pool."""

import json
import subprocess
import sys
import time
from pathlib import Path

import comparison_tables as tables
import numpy as np
import pandas as pd
import psutil
import pytest
import yaml
from compare_strategies import run
from comparison_cells import HERE, KEYS, RESULTS, cells, earlier, load, place
from scipy import stats

SMALL = {
    "dataset": "planted",
    "size": 128,
    "iterations": 1,
    "first_iterations": 1,
    "initial": 10,
    "budget": {"images": 6},
    "rounds": 3,
    "seeds": [0, 1],
    "strategies": {"random": None, "entropy-sum": {"strategy": "entropy", "options": {"how": "sum"}}},
}


def written(folder: Path, **changes: object) -> Path:
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump({**SMALL, **changes}))
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder in which the small comparison is finished, and its table."""
    folder = tmp_path_factory.mktemp("comparison")
    table = run(written(folder), folder / "work", None, 2, results=folder / "results")
    return folder, table


def results(work: Path) -> dict[Path, int]:
    return {file: file.stat().st_mtime_ns for file in work.rglob("result-*.json")}


def test_a_row_a_cell_with_all_it_depends_on(finished):
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
    assert [len(asked) for asked in by_seed.values()] == [1, 1]
    assert by_seed[0] != by_seed[1]


def test_nothing_is_asked_for_twice(finished):
    _, table = finished
    for _, rows in table.groupby(["name", "seed"]):
        asked = [image_id for ids in rows["asked"] for image_id in ids]
        assert len(asked) == len(set(asked)) == 22


def test_finished_cells_are_not_run_again_and_new_ones_are(finished):
    folder, table = finished
    before = results(folder / "work")
    again = run(written(folder), folder / "work", None, 1, results=folder / "results")
    pd.testing.assert_frame_equal(again, table)
    more = {**SMALL["strategies"], "box-count": None}  # type: ignore[dict-item]
    grown = run(written(folder, strategies=more), folder / "work", None, 1, results=folder / "results")
    after = results(folder / "work")
    assert {file: after[file] for file in before} == before
    assert len(after) == len(before) + 4
    assert len(grown) == 18


def test_a_lost_cell_is_made_again_and_comes_out_alike(finished):
    folder, table = finished
    config = load(written(folder))
    lost = next(c for c in cells(config) if c.strategy == "entropy-sum" and c.round == 2 and c.seed == 1)
    file = place(folder / "work", config, lost) / "result-002.json"
    had = json.loads(file.read_text())
    file.unlink()
    (folder / "results" / "small.parquet").unlink()
    found = run(written(folder), folder / "work", None, 1, results=folder / "results")
    now = json.loads(file.read_text())
    same = [key for key in had if not key.endswith("_s")]
    assert [now[key] for key in same] == [had[key] for key in same]
    assert len([*(file.parent / "rounds").iterdir()]) == 3
    assert len(found[found["name"].isin(table["name"])]) == len(table)


def test_only_the_table_is_left(finished, tmp_path):
    """Without the workspaces no cell of it is run again, and new seeds start alike."""
    _, table = finished
    file = tmp_path / "results" / "small.parquet"
    file.parent.mkdir()
    elsewhere = table[table["name"] == "random"].assign(name="elsewhere")  # another machine's, not in the config
    pd.concat([table[table["seed"] == 0], elsewhere]).to_parquet(file, index=False)
    work = tmp_path / "work"
    found = run(written(tmp_path), work, None, 1, results=file.parent)
    assert {int(one.parent.name[-1]) for one in results(work)} == {1}
    assert found.groupby("name").size().to_dict() == {"elsewhere": 6, "entropy-sum": 6, "random": 6}
    pick = found[found["name"] != "elsewhere"].sort_values(KEYS, ignore_index=True)
    same = ["mAP", "boxes", "cell", "options"]
    pd.testing.assert_frame_equal(pick[same], table.sort_values(KEYS, ignore_index=True)[same])

    # Half of a strategy's rounds are not enough to go on from.
    table[(table["seed"] == 0) & (table["round"] < 2)].to_parquet(file, index=False)
    found = run(written(tmp_path, seeds=[0]), tmp_path / "again", None, 1, results=file.parent)
    assert len(results(tmp_path / "again")) == 5
    assert len(found) == 6


def test_a_table_of_another_config_is_not_overwritten(finished, tmp_path):
    _, table = finished
    file = tmp_path / "results" / "small.parquet"
    file.parent.mkdir()
    table.to_parquet(file, index=False)
    for changes, said in (
        ({"initial": 12}, r"'entropy-sum' .*'initial': '12'.* got .*'10'.*another name"),
        ({"strategies": {"random": None, "entropy-sum": {"strategy": "entropy", "options": {}}}}, r"options.*how.*sum"),
    ):
        with pytest.raises(ValueError, match=said):
            run(written(tmp_path, **changes), tmp_path / "work", None, 1, results=file.parent)
    assert not (tmp_path / "work").exists()
    pd.testing.assert_frame_equal(pd.read_parquet(file), table)


def test_the_order_of_options_is_no_difference(finished, tmp_path):
    _, table = finished
    written(tmp_path, strategies={"random": {"options": {"b": 2, "a": 1}}})
    config = load(tmp_path / "small.yaml")
    rows = table[table["name"] == "random"].assign(options='{"a": 1, "b": 2}')
    rows.to_parquet(tmp_path / "small.parquet", index=False)
    assert len(earlier(tmp_path / "small.parquet", config)) == 6


def test_what_is_in_the_table_stays_as_it_is(finished, tmp_path):
    """A strategy that is added runs the seeds' first rounds anew; they must be those that the others began with."""
    _, table = finished
    file = tmp_path / "results" / "small.parquet"
    file.parent.mkdir()
    old = table[table["name"] == "random"].assign(code="old")
    old.to_parquet(file, index=False)
    found = run(written(tmp_path), tmp_path / "work", None, 2, results=file.parent)
    assert found.groupby(["name", "code"]).size().tolist() == [6, 6]
    kept = found[found["name"] == "random"].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept[[*old]], old.reset_index(drop=True))

    old.assign(mAP=old["mAP"] + 1e-6).to_parquet(file, index=False)
    with pytest.raises(ValueError, match=r"expected seed 0 to start as in .*small\.parquet, with mAP"):
        run(written(tmp_path), tmp_path / "work", None, 1, results=file.parent)
    assert len(pd.read_parquet(file)) == 6


TABLES = [one for one in sorted(RESULTS.glob("*.parquet")) if one.stem != "improve"]  # of variants that are gone


@pytest.mark.parametrize("table", TABLES, ids=lambda path: path.stem)
def test_tables_are_those_of_their_configs(table):
    """So that who adds a seed runs that seed, and nothing else."""
    config = load(HERE / "comparisons" / f"{table.stem}.yaml")
    had = {*map(tuple, earlier(table, config)[KEYS].to_numpy())}
    assert {(cell.strategy, cell.seed, cell.round) for cell in cells(config)} <= had


def lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE  # that nobody has fetched yet
    except psutil.NoSuchProcess:
        return False


def test_a_killed_comparison_leaves_no_workers_and_goes_on(tmp_path):
    config = written(tmp_path, seeds=[0])
    call = f"run(Path({str(config)!r}), Path({str(tmp_path / 'work')!r}), None, 2, results=Path({str(tmp_path)!r}))"
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys\nfrom pathlib import Path\nsys.path.insert(0, {str(HERE)!r})\n"
        f"from compare_strategies import run\nif __name__ == '__main__':\n    {call}\n"
    )
    with subprocess.Popen([sys.executable, script], stderr=subprocess.DEVNULL) as process:
        try:
            while not results(tmp_path / "work"):
                assert process.poll() is None
                time.sleep(0.05)
            workers = psutil.Process(process.pid).children(recursive=True)
        finally:
            process.kill()
    assert len(workers) >= 2
    until = time.monotonic() + 120
    while any(map(lives, workers)):
        assert time.monotonic() < until
        time.sleep(0.1)
    assert len(run(config, tmp_path / "work", None, 2, results=tmp_path)) == 6


def test_what_fails_is_told_of_after_all_else_was_run(tmp_path):
    path = written(tmp_path, seeds=[0], strategies={"angle-stability": None, "random": None})
    with pytest.raises(RuntimeError, match=r"1 cells failed.*angle-stability"):
        run(path, tmp_path / "work", None, 1, results=tmp_path / "results")
    table = pd.read_parquet(tmp_path / "results" / "small.parquet")
    assert table.groupby("name").size().to_dict() == {"angle-stability": 1, "random": 3}


def test_a_config_with_something_else_in_it_is_refused(tmp_path):
    with pytest.raises(ValueError, match="iteration"):
        load(written(tmp_path, iteration=3))


def hand_made():
    """Two strategies, two seeds, three rounds; `good` is 0.1 above random after the first."""
    rows = []
    for name, lead in (("random", 0.0), ("good", 0.1)):
        for seed in (0, 1):
            for number, height in enumerate((0.2, 0.3, 0.4)):
                value = height + lead * (number > 0) + 0.01 * seed
                draws = [value - 0.02, value, value + 0.02]
                row = {"name": name, "seed": seed, "round": number, "images": 10 * (number + 1), "mAP": value}
                asked = [f"{seed}-{number}-{k + (name == 'good')}" for k in range(2)]
                costs = {"boxes": 50 * (number + 1), "seconds": 100.0 * (number + 1), "asked": asked, "AP/ship": value}
                counts = dict.fromkeys(("empty", "added", "moved", "relabelled", "deleted"), number)
                counted = {f"asked_{key}": n for key, n in counts.items()}
                rows.append({**row, **costs, **counted, "resampled": draws, "query_s": 1.0})
    return pd.DataFrame(rows)


def test_areas_and_paired_intervals():
    found = tables.areas(hand_made(), "images")
    assert found.loc["random", "aulc"] == pytest.approx(0.305)
    assert found.loc["good", "difference"] == pytest.approx((0.5 * 0.1 + 0.1) / 2)
    # The draws move both alike, and both seeds say the same.
    assert found.loc["good", ["low", "high"]].tolist() == pytest.approx([0.075, 0.075])
    assert found.loc["good", ["seeds_better", "covered"]].tolist() == [2, 1]


def test_intervals_are_students():
    """With the seeds' degrees of freedom where these disagree, and no more than twice as many where images do."""
    table = hand_made()
    good = table["name"] == "good"
    moved = table.assign(mAP=table["mAP"] + 0.02 * (good & (table["seed"] == 1)))
    row = tables.areas(moved, "images").loc["good"]
    half = stats.t.ppf(0.975, 1) * 0.02 / np.sqrt(2) / np.sqrt(2)
    assert (row["low"], row["high"]) == pytest.approx((0.085 - half, 0.085 + half))
    wider = [
        np.array(draws) + np.array([-0.01, 0, 0.01]) * ours
        for draws, ours in zip(table["resampled"], good, strict=True)
    ]
    row = tables.areas(table.assign(resampled=wider), "images").loc["good"]
    assert row["high"] - row["difference"] == pytest.approx(stats.t.ppf(0.975, 2) * 0.01)
    alone = tables.areas(table[table["seed"] == 0], "images").loc["good"]
    assert alone["difference"] == pytest.approx(0.075)
    assert np.isnan(alone["low"])


@pytest.mark.parametrize("images", [0.1, 0.3, 1.0])  # variance of what test images bring, in seeds' variances
def test_where_nothing_differs_little_is_found(images):
    """300 comparisons of 13 strategies in three seeds, none better than random, which all of them share."""
    rng = np.random.default_rng(0)
    covered, daggers = [], 0
    for _ in range(300):
        shared, seeds = rng.normal(size=4), rng.normal(size=(13, 4))
        seeds = (shared + seeds) / np.sqrt(2)
        p = []
        for *differences, of_images in seeds:
            mean = np.mean(differences) + of_images * np.sqrt(images / 3)
            draws = rng.normal(scale=np.sqrt(images / 3), size=200)
            error, freedom = tables._error(np.array(differences), draws)
            p.append(2 * stats.t.sf(abs(mean) / error, freedom))
        covered += [value > 0.05 for value in p]
        daggers += bool((stats.false_discovery_control(p) < 0.05).any())
    assert 0.93 < np.mean(covered) < 0.995
    assert daggers / 300 < 0.08


def test_more_strategies_ask_for_more():
    """p is that of a paired t test; adjusted, it is that of Benjamini and Hochberg, 1995."""
    table = hand_made()
    good, second = table["name"] == "good", table["seed"] == 1
    moved = table.assign(mAP=table["mAP"] + 0.02 * (good & second))
    other = table.assign(mAP=table["mAP"] + 0.002 * (good & second))[good].assign(name="other")
    found = tables.areas(pd.concat([moved, other]), "images")
    p = [stats.ttest_1samp(differences, 0).pvalue for differences in ([0.075, 0.095], [0.075, 0.077])]
    assert found.loc[["good", "other"], "p"].tolist() == pytest.approx(p)
    assert found.loc[["good", "other"], "q"].tolist() == pytest.approx([p[0], 2 * p[1]])
    assert tables.areas(moved, "images").loc["good", "q"] == pytest.approx(p[0])  # the reference does not count
    assert np.isnan(found.loc["random", "q"])


def test_each_is_compared_over_what_it_shares_with_random():
    """A third strategy that ends early takes nothing from the others."""
    table = hand_made()
    short = table[table["name"] == "good"].assign(name="short")
    short["images"] = 10 + (short["images"] - 10) / 4  # 10, 12.5, 15
    found = tables.areas(pd.concat([table, short]), "images")
    assert found.loc["good", "difference"] == pytest.approx(0.075)
    assert found.loc["short", "covered"] == pytest.approx(0.25)
    # It is 0.2, 0.4, 0.5 at 10, 12.5 and 15; random rises from 0.2 to 0.25 there.
    assert found.loc["short", "difference"] == pytest.approx((0.3 + 0.45) / 2 - 0.225)


def test_savings_on_the_means():
    found = tables.savings(hand_made(), "images")
    assert found.loc["random", "saving"] == 0
    # `good` comes to 0.405, where random ends, a hair after its second round.
    assert found.loc["good", "saving"] == pytest.approx(1 - 20 / 30, abs=0.01)
    assert found["reached"].tolist() == [2, 2]
    low = hand_made().assign(mAP=lambda rows: rows["mAP"] - 0.15 * ((rows["name"] == "good") & (rows["seed"] == 1)))
    assert tables.savings(low, "images").loc["good", "reached"] == 1


def test_likeness_of_the_selections():
    found = tables.likeness(hand_made())
    assert found.loc["random", "random"] == 1
    assert found.loc["random", "good"] == pytest.approx(1 / 3)  # one of two in common, in each round


def test_counts_are_means_over_the_seeds():
    found = tables.asked(hand_made())
    assert found.loc["good", "images"] == 4
    assert found.loc["good", "boxes"] == 100
    assert found.loc["good", "added"] == 3


def test_the_costs_assumed_are_those_that_were_charged(finished):
    """With the annotator's own rates the recounted seconds are the loop's."""
    _, table = finished
    as_it_was = tables.areas(table, "seconds")["difference"]
    found = tables.by_cost(table)
    assert found["as assumed"].tolist() == pytest.approx(as_it_was.tolist())
    assert found.loc["entropy-sum", "drawing takes 35 s"] != pytest.approx(as_it_was["entropy-sum"], abs=1e-4)


def test_gains_by_class():
    assert tables.class_gains(hand_made()).loc["good", "ship"] == pytest.approx(0.1)


def test_only_seeds_that_all_have_finished_count():
    table = hand_made()
    cut = table[~((table["name"] == "good") & (table["seed"] == 1) & (table["round"] == 2))]
    with pytest.warns(UserWarning, match=r"seeds \[1\] are left out: good have not finished"):
        assert tables.complete(cut)["seed"].unique().tolist() == [0]
    with pytest.raises(ValueError, match="finished seed"):
        tables.complete(cut[cut["seed"] == 1])


def test_means_stop_where_a_seed_ends():
    x, y = tables.mean_curve([(np.array([0.0, 10]), np.array([0.0, 1])), (np.array([2.0, 8]), np.array([1.0, 1]))])
    assert (x[0], x[-1]) == (2, 8)
    assert y[0] == pytest.approx((0.2 + 1) / 2)
