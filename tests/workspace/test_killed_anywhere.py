"""A workspace whose process is killed anywhere ends as if undisturbed."""

from helpers.loops.kills import dump, run_in_new_process


def test_killed_anywhere_it_ends_as_if_undisturbed(tmp_path):
    run_in_new_process(f"from helpers.loops.workspace import play_all; play_all({str(tmp_path)!r})")
    expected = dump(tmp_path / "000")
    assert [row["status"] for row in expected["images"]] == ["labelled", "skipped", *["unlabelled"] * 3]
    assert len(expected["answers"]) == 3
    killed = sorted(path for path in tmp_path.iterdir() if path.is_dir())[1:]
    assert len(killed) > 60
    for folder in killed:
        assert dump(folder) == expected, folder
