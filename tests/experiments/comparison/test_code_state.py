"""The digest of the code covers what selects, answers, learns and measures, and changes with any of these files."""

import shutil

import pytest

from experiments.comparison.code_state import COVERED, code_digest, covered_files, digest_of

NAMES = sorted(covered_files())


def test_it_covers_what_selects_answers_learns_and_measures():
    assert {
        "al_rotate/sampling/selection.py",
        "al_rotate/sampling/measures/uncertainty.py",
        "al_rotate/sampling/strategies/hybrid.py",
        "al_rotate/evaluation/calibration.py",
        "al_rotate/evaluation/corrections.py",
        "al_rotate/evaluation/mean_ap.py",
        "al_rotate/evaluation/tolerance.py",
        "al_rotate/loop/context.py",
        "al_rotate/loop/simulated.py",
        "al_rotate/loop/steps.py",
        "al_rotate/workspace/held_out.py",
        "al_rotate/data/tiling/merge.py",
        "experiments/comparison/bootstrap.py",
        "experiments/comparison/cells.py",
        "experiments/comparison/controls.py",
        "experiments/learners/sandbox.py",
        "experiments/learners/datasets.py",
        "experiments/annotators/mistakes.py",
    } <= {*NAMES}
    assert all(file.is_file() for file in covered_files().values())
    assert code_digest() == digest_of(covered_files())


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """The covered files and packages, copied."""
    folder = tmp_path_factory.mktemp("code")
    for name, path in COVERED.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if path.is_dir() else shutil.copy)(path, folder / name)
    return {name: folder / name for name in COVERED}


@pytest.mark.parametrize("name", NAMES)
def test_any_change_changes_it(copied, name):
    files = covered_files(copied)
    before = digest_of(files)
    assert before == code_digest()
    text = files[name].read_text()
    files[name].write_text(f"{text}\n")
    assert digest_of(covered_files(copied)) != before
    files[name].write_text(text)
    assert digest_of(covered_files(copied)) == before


def test_a_new_module_counts_and_a_missing_one_is_noticed(copied):
    before = digest_of(covered_files(copied))
    added = copied["al_rotate/sampling"] / "measures" / "added.py"
    added.write_text("")
    assert digest_of(covered_files(copied)) != before
    added.unlink()
    for gone in ({"a": added}, {"b": added.parent / "nowhere"}):
        with pytest.raises(FileNotFoundError, match="expected code at"):
            covered_files(gone)
    (added.parent / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty"):
        covered_files({"c": added.parent / "empty"})
