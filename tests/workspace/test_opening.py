"""Workspaces that are created, opened, moved, and held by one process."""

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.loops.workspace import BOX, CLASSES, create, labels_of

from al_rotate.data import RotatedInstances
from al_rotate.workspace import Workspace, WorkspaceBusy


def test_a_new_workspace(ws, tmp_path):
    assert ws.counts() == {"unlabelled": 5, "queried": 0, "labelled": 0, "skipped": 0}
    assert ws.ids("unlabelled") == ["a", "b", "c", "d/e", "f"]
    assert ws.ids("labelled") == []
    assert (ws.classes, ws.settings) == (("ship", "plane"), {"root": "images", "seed": 3})
    assert list(ws.paths(["f", "a"]).items()) == [("f", Path("images/f.png")), ("a", Path("images/a.png"))]
    assert ws.rounds() == []
    assert ws.labels() == RotatedInstances.empty(classes=CLASSES)
    assert len(ws.history()) == len(ws.ledger()) == 0
    assert {"round", "n_boxes", "finished"} <= set(ws.history().columns)


def test_state_survives_closing_and_moving(queried, tmp_path):
    queried.record_answers(0, labels_of({"a": [BOX]}))
    queried.close_collection(0)
    checkpoint = queried.rounds()[0].folder / "checkpoint.pth"
    checkpoint.write_bytes(b"weights")
    queried.record_training(0, checkpoint, {})
    before = queried.labels()
    queried.close()
    queried.close()
    queried.folder.rename(tmp_path / "moved")
    with Workspace.open(tmp_path / "moved") as ws:
        assert ws.labels() == before
        assert ws.rounds()[0].checkpoint == tmp_path / "moved" / "rounds" / "000" / "checkpoint.pth"
        assert ws.rounds()[0].checkpoint.read_bytes() == b"weights"
        assert ws.query(0).values.tolist() == [["c", 0.9, "queried"], ["a", 0.5, "labelled"], ["b", 0.25, "queried"]]


def test_create_refuses_a_workspace_and_leaves_it_alone(ws):
    ws.begin_round()
    folder = ws.folder
    ws.close()
    with pytest.raises(FileExistsError, match=rf"already holds one.*al-rotate status {folder}"):
        create(folder)
    with Workspace.open(folder) as again:
        assert len(again.rounds()) == 1


@pytest.mark.parametrize(
    ("images", "classes", "message"),
    [
        ({}, CLASSES, "got no image"),
        ({"": "x.png"}, CLASSES, "non-empty strings as ids, got ''"),
        ({3: "x.png"}, CLASSES, "non-empty strings as ids, got 3"),
        ({"x\udce4": "x.png"}, CLASSES, "in UTF-8, got 'x"),
        ({"x": "x.png"}, ["ship", "ship"], "distinct non-empty strings"),
    ],
)
def test_create_refuses_what_cannot_be(tmp_path, images, classes, message):
    with pytest.raises(ValueError, match=message):
        Workspace.create(tmp_path / "work", images, classes, {})
    with create(tmp_path / "work") as ws:  # nothing is in the way afterwards
        assert sum(ws.counts().values()) == 5


def test_open_says_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"is no folder.*al-rotate init"):
        Workspace.open(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r"holds no state\.db.*al-rotate init"):
        Workspace.open(tmp_path)


def test_open_refuses_other_databases(ws):
    ws.close()
    db = sqlite3.connect(ws.folder / "state.db")
    db.execute("PRAGMA user_version = 99")
    with pytest.raises(ValueError, match="has version 99: update al_rotate"):
        Workspace.open(ws.folder)
    db.execute("PRAGMA application_id = 7")
    with pytest.raises(ValueError, match="another program's database"):
        Workspace.open(ws.folder)
    db.close()
    (ws.folder / "state.db").write_text("nothing of the kind " * 100)
    with pytest.raises(ValueError, match="cannot be read"):
        Workspace.open(ws.folder)


def test_one_process_opens_it_once(ws):
    with pytest.raises(WorkspaceBusy, match="this one: an earlier Workspace that was not closed"):
        Workspace.open(ws.folder)
    with pytest.raises(WorkspaceBusy):
        create(ws.folder)
    ws.close()
    Workspace.open(ws.folder).close()


def test_read_only_cannot_change_anything(queried):
    with Workspace.open(queried.folder, read_only=True) as reader:
        for change in (
            lambda: reader.record_answers(0, labels_of({"a": [BOX]})),
            lambda: reader.close_collection(0),
        ):
            with pytest.raises(PermissionError, match="for reading only"):
                change()
        assert list((queried.folder / "labels").iterdir()) == []
        queried.record_answers(0, labels_of({"a": [BOX]}))  # and it is not in the way
        assert reader.ids("labelled") == ["a"]


def test_the_second_process_is_refused_until_the_first_is_dead(tmp_path):
    create(tmp_path).close()
    hold = (
        "import sys; from al_rotate.workspace import *; ws = Workspace.open(sys.argv[1]); print(1, flush=True); input()"
    )
    command = [sys.executable, "-c", hold, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "1\n"
        with pytest.raises(
            WorkspaceBusy, match=rf"held by process {holder.pid} on .* since \d{{4}}-\d\d-\d\dT.*read_only"
        ):
            Workspace.open(tmp_path)
        with Workspace.open(tmp_path, read_only=True) as reader:
            assert reader.counts()["unlabelled"] == 5
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with Workspace.open(tmp_path) as ws:
            assert ws.begin_round().number == 0
