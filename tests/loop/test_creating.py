"""Several processes make a workspace in one folder: one wins, and nothing of it is overwritten."""

import json

import pytest
from helpers.loops.loop import FILES, POOL, TEST, TEST_FILES, make
from helpers.noisy import CLASSES, NoisyLearner, Start

from al_rotate.loop import ActiveLoop, SimulatedAnnotator
from al_rotate.loop.create import create_workspace
from al_rotate.loop.settings import LoopSettings
from al_rotate.sampling import CostModel
from al_rotate.workspace import Workspace, WorkspaceBusy


def content(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file() and file.name != "lock"}


def test_who_comes_while_it_is_made_is_refused(tmp_path):
    class Slow(Start):
        def save(self, path):
            with pytest.raises(WorkspaceBusy, match="this one: an earlier Workspace that was not closed"):
                make(tmp_path, detector=Start(text="model = 2\n"))
            assert [file.name for file in sorted(tmp_path.glob("*.p*"))] == ["held_back.parquet", "test.parquet"]
            super().save(path)

    make(tmp_path, detector=Slow(taught=4)).close()
    assert (tmp_path / "config.py").read_text() == "model = 1\n"
    assert json.loads((tmp_path / "initial.pth").read_text())["taught"] == 4


def test_who_comes_late_changes_nothing(tmp_path):
    """It has looked for a workspace before the other one made it."""
    make(tmp_path, detector=Start(taught=4)).close()
    before = content(tmp_path)
    other = Start(taught=9, text="model = 2\n")
    others_test = TEST.replace(boxes=TEST.boxes + 1)
    annotator = SimulatedAnnotator(POOL.replace(boxes=POOL.boxes + 1), CostModel(image=9))
    with pytest.raises(FileExistsError, match="already holds one"):
        create_workspace(
            tmp_path, LoopSettings(), FILES, CLASSES, other, None, annotator, {"test": (TEST_FILES, others_test)}
        )
    assert content(tmp_path) == before


def test_who_comes_late_with_the_same_arguments_goes_on(tmp_path, monkeypatch):
    make(tmp_path, detector=Start(taught=4)).close()
    answers = iter([False])  # to the first question only
    exists = Workspace.exists
    monkeypatch.setattr(Workspace, "exists", staticmethod(lambda folder: next(answers, None) or exists(folder)))
    with make(tmp_path, detector=Start(taught=4)) as loop:
        assert len(loop.query()) == 5


def test_a_file_is_no_folder_for_a_workspace(tmp_path):
    (tmp_path / "work").write_text("notes")
    with pytest.raises(FileNotFoundError, match="is no folder"):
        ActiveLoop(tmp_path / "work", FILES, CLASSES, learner=NoisyLearner(POOL))
    assert (tmp_path / "work").read_text() == "notes"
