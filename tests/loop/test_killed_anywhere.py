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


def left_in(folder):
    names = ("selection.csv", "ranking.csv", "metrics.json", "training/weights.json")
    return [(path.name, path.read_bytes()) for name in names for path in sorted(folder.glob(f"rounds/*/{name}"))]
