"""A loop that is killed anywhere ends as if undisturbed."""

from helpers.loops.kills import dump, run_in_new_process


def test_killed_anywhere_it_ends_as_if_undisturbed(tmp_path):
    # The imports come before the forks: each child would make them again.
    code = "import pandas.io.formats.csvs, pyarrow.dataset\nfrom helpers.loops.loop import play_all\n"
    run_in_new_process(f"{code}play_all({str(tmp_path)!r})")
    expected, left = dump(tmp_path / "000"), left_in(tmp_path / "000")
    assert [row["stage"] for row in expected["rounds"]] == ["trained", "trained"]
    assert len(expected["queries"]) == len(expected["answers"]) == 10
    assert len(left) == 8
    killed = sorted(path for path in tmp_path.iterdir() if path.is_dir())[1:]
    assert len(killed) >= 25
    for folder in killed:
        assert dump(folder) == expected, folder
        assert left_in(folder) == left, folder


def test_changes_that_are_killed_end_as_if_undisturbed(tmp_path):
    code = "import pandas.io.formats.csvs, pyarrow.dataset\nfrom helpers.loops.loop import play_all_changes\n"
    run_in_new_process(f"{code}play_all_changes({str(tmp_path)!r})")
    expected = dump(tmp_path / "000")
    assert [row["stage"] for row in expected["rounds"]] == ["trained", "undone", "trained"]
    killed = sorted(path for path in tmp_path.iterdir() if path.is_dir())[1:]
    assert len(killed) >= 15
    for folder in killed:
        ended = dump(folder)
        for table in ("meta", "images", "rounds", "queries", "answers", "labels"):
            assert ended[table] == expected[table], (folder, table)
        # A set or a label file that was written just before the kill is there twice, and of no use.
        assert {*ended["files"]} >= {*expected["files"]} - {"test-001.files.json", "test-001.parquet"}


def left_in(folder):
    names = ("selection.csv", "ranking.csv", "metrics.json", "training/weights.json")
    return [(path.name, path.read_bytes()) for name in names for path in sorted(folder.glob(f"rounds/*/{name}"))]
