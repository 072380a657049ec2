"""A table without its workspaces is as good as with them; nothing in it is overwritten or mixed with other configs."""

from pathlib import Path

import pandas as pd
import pytest

from experiments.comparison.config import list_cells, load_config
from experiments.comparison.run import run
from experiments.comparison.tidy import KEYS, read_table
from experiments.paths import CHOICES, COMPARISONS, TABLES


def results(work: Path) -> list[Path]:
    return [*work.rglob("result-*.json")]


def test_only_the_table_is_left(finished, tmp_path, write_config):
    """Without the workspaces no cell of it is run again, and new seeds start alike."""
    _, table = finished
    file = tmp_path / "results" / "small.parquet"
    file.parent.mkdir()
    elsewhere = table[table["name"] == "random"].assign(name="elsewhere")  # another machine's, not in the config
    pd.concat([table[table["seed"] == 0], elsewhere]).to_parquet(file, index=False)
    work = tmp_path / "work"
    resumed = run(write_config(tmp_path), work, None, 1, results=file.parent)
    assert {int(result.parent.name[-1]) for result in results(work)} == {1}
    assert resumed.groupby("name").size().to_dict() == {"elsewhere": 6, "entropy-sum": 6, "random": 6}
    own = resumed[resumed["name"] != "elsewhere"].sort_values(KEYS, ignore_index=True)
    same = ["mAP", "boxes", "cell", "options"]
    pd.testing.assert_frame_equal(own[same], table.sort_values(KEYS, ignore_index=True)[same])

    # Half of a strategy's rounds are not enough to resume from.
    table[(table["seed"] == 0) & (table["round"] < 2)].to_parquet(file, index=False)
    resumed = run(write_config(tmp_path, seeds=[0]), tmp_path / "again", None, 1, results=file.parent)
    assert len(results(tmp_path / "again")) == 5
    assert len(resumed) == 6


def test_a_table_of_another_config_is_not_overwritten(finished, tmp_path, write_config):
    _, table = finished
    file = tmp_path / "results" / "small.parquet"
    file.parent.mkdir()
    table.to_parquet(file, index=False)
    for changes, message in (
        ({"known": 12}, r"'entropy-sum' .*'known': '12'.* got .*'0'.*another name"),
        ({"arms": {"random": None, "entropy-sum": {"strategy": "entropy", "options": {}}}}, r"options.*how.*sum"),
    ):
        with pytest.raises(ValueError, match=message):
            run(write_config(tmp_path, **changes), tmp_path / "work", None, 1, results=file.parent)
    assert not (tmp_path / "work").exists()
    pd.testing.assert_frame_equal(pd.read_parquet(file), table)


def test_the_order_of_options_makes_no_difference(finished, tmp_path, write_config):
    _, table = finished
    config = load_config(write_config(tmp_path, arms={"random": {"options": {"b": 2, "a": 1}}}))
    rows = table[table["name"] == "random"].assign(options='{"a": 1, "b": 2}')
    rows.to_parquet(tmp_path / "small.parquet", index=False)
    assert len(read_table(tmp_path / "small.parquet", config)) == 6


def test_rows_of_the_table_stay_as_they_are(finished, tmp_path, write_config):
    """An added strategy runs the seeds' first rounds anew; they must be those that the others began with."""
    _, table = finished
    file = tmp_path / "results" / "small.parquet"
    file.parent.mkdir()
    old = table[table["name"] == "random"].assign(code="old")
    old.to_parquet(file, index=False)
    grown = run(write_config(tmp_path), tmp_path / "work", None, 2, results=file.parent)
    assert grown.groupby(["name", "code"]).size().tolist() == [6, 6]
    kept = grown[grown["name"] == "random"].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept[[*old]], old.reset_index(drop=True))

    old.assign(mAP=old["mAP"] + 1e-6).to_parquet(file, index=False)
    with pytest.raises(ValueError, match=r"expected seed 0 to start as in .*small\.parquet, with mAP"):
        run(write_config(tmp_path), tmp_path / "work", None, 1, results=file.parent)
    assert len(pd.read_parquet(file)) == 6


RECORDS = {"scenes_images", "vhr10_images", "boxes", "noise", "batch_10"}  # of before; their configs are gone
COMMITTED = [file for file in sorted(TABLES.glob("*.parquet")) if file.stem not in RECORDS]


@pytest.mark.parametrize("table", COMMITTED, ids=lambda path: path.stem)
def test_committed_tables_are_those_of_their_configs(table):
    """So that whoever adds a seed runs that seed, and nothing else."""
    folder = CHOICES if table.stem.startswith("choose-") else COMPARISONS
    config = load_config(folder / f"{table.stem}.yaml")
    rows = {*map(tuple, read_table(table, config)[KEYS].to_numpy())}
    assert {(cell.arm, cell.seed, cell.round) for cell in list_cells(config)} <= rows
