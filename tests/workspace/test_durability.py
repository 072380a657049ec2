"""What a transaction refers to is on the disk before it: a rename alone does not survive a power cut."""

import os
from pathlib import Path

import pytest
from helpers.loops.workspace import BOX, costs_of, create, labels_of

from al_rotate.storage.files import sync_tree
from al_rotate.workspace import Workspace, artefacts


@pytest.fixture
def flushed(monkeypatch):
    """The files and folders that were flushed since the list was cleared last."""
    paths = []

    def spy(descriptor, fsync=os.fsync):
        paths.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    return paths


def at_commits(workspace, flushed):
    """Return a list to which each commit adds what has been flushed since the one before."""
    before = []

    def trace(statement):
        if statement == "COMMIT":
            before.append({*flushed})
            flushed.clear()

    workspace._db.set_trace_callback(trace)
    return before


def test_each_step_flushes_its_files_first(tmp_path, flushed):
    with create(tmp_path / "work") as workspace:
        before = at_commits(workspace, flushed)
        folder = workspace.begin_round().folder
        assert folder.parent in before[-1]
        (folder / "detections").mkdir()
        (folder / "detections" / "0.parquet").touch()
        artefacts.write_json(folder / "selection.csv", {})
        workspace.record_query(0, ["a"])
        names = ("selection.csv", "detections", "detections/0.parquet")
        assert {folder, *(folder / name for name in names)} <= before[-1]

        artefacts.write_json(folder / "account.csv", {})
        workspace.record_answers(0, labels_of({"a": [BOX]}), costs=costs_of(a=1))
        (labels,) = (workspace.folder / "labels").iterdir()
        assert {folder / "account.csv", folder, labels.parent} <= before[-1]
        assert any(path.name.startswith(f".{labels.name[:20]}") for path in before[-1])  # before it got its name

        workspace.close_collection(0)
        (folder / "training").mkdir()
        (folder / "training" / "weights.pth").write_bytes(b"weights")
        workspace.record_training(0, folder / "training" / "weights.pth", {})
        assert {folder / "training", folder / "training" / "weights.pth"} <= before[-1]


def test_weights_elsewhere_are_flushed_too(tmp_path, flushed):
    (tmp_path / "elsewhere").mkdir()
    checkpoint = tmp_path / "elsewhere" / "weights.pth"
    checkpoint.write_bytes(b"weights")
    with create(tmp_path / "work") as workspace:
        workspace.begin_round()
        workspace.record_query(0, ["a"])
        workspace.record_answers(0, labels_of({"a": [BOX]}))
        workspace.close_collection(0)
        workspace.record_training(0, checkpoint, {})
    assert {checkpoint, checkpoint.parent} <= {*flushed}


def test_a_new_workspace_is_flushed_with_what_fills_it(tmp_path, flushed):
    folder = tmp_path / "work"

    def fill(folder):
        (folder / "initial.pth").touch()
        assert not Workspace.exists(folder)

    Workspace.create(folder, {"a": "a.png"}, ["ship"], {}, fill).close()
    assert {folder / "initial.pth", folder, folder / "labels", folder / "rounds", tmp_path} <= {*flushed}
    assert flushed.index(folder / "initial.pth") < flushed.index(folder / ".state.db.new")


def test_a_tree_with_links_in_it(tmp_path, flushed):
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    (tmp_path / "tree" / "deep" / "a").touch()
    (tmp_path / "tree" / "nowhere").symlink_to("gone")
    sync_tree(tmp_path / "tree")
    tree = tmp_path / "tree"
    assert sorted(flushed) == [tmp_path, tree, tree / "deep", tree / "deep" / "a"]
    sync_tree(tmp_path / "none")  # nothing is there to be flushed
