import json
import os
import signal
import sqlite3
import subprocess
import sys
import traceback
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.kills import dump, kill_at

from al_rotate.data.instances import RotatedInstances
from al_rotate.workspace import COST_COLUMNS, Workspace, WorkspaceBusy

CLASSES = ["ship", "plane"]
IMAGES = {name: f"images/{name}.png" for name in ("c", "a", "b", "d/e", "f")}
BOX, OTHER = [10, 10, 8, 4, 0.25], [30, 20, 6, 6, 0]


def labels_of(boxes, **columns):
    """image id -> boxes, all of class 1."""
    offsets = np.cumsum([0, *map(len, boxes.values())])
    flat = [box for some in boxes.values() for box in some]
    return RotatedInstances(list(boxes), offsets, flat, [1] * len(flat), classes=CLASSES, **columns)


def costs_of(**seconds):
    rows = [(image_id, "ann", value, 1, 2, 3, 4) for image_id, value in seconds.items()]
    return pd.DataFrame(rows, columns=["image_id", *COST_COLUMNS])


def create(folder):
    return Workspace.create(folder, IMAGES, CLASSES, {"root": "images", "seed": 3})


@pytest.fixture
def ws(tmp_path):
    with create(tmp_path / "work") as workspace:
        yield workspace


@pytest.fixture
def asked(ws):
    """Round 0 has asked for c, a and b."""
    ws.record_query(ws.begin_round().number, ["c", "a", "b"], [0.9, 0.5, 0.25], "entropy")
    return ws


# Making and opening.


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


def test_state_survives_closing_and_moving(asked, tmp_path):
    asked.record_answers(0, labels_of({"a": [BOX]}))
    asked.close_collection(0)
    checkpoint = asked.rounds()[0].folder / "checkpoint.pth"
    checkpoint.write_bytes(b"weights")
    asked.record_training(0, checkpoint, {})
    before = asked.labels()
    asked.close()
    asked.close()
    asked.folder.rename(tmp_path / "moved")
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


def test_ids_and_paths_refuse_the_unknown(ws):
    with pytest.raises(ValueError, match=r"expected a status of unlabelled, .*, got 'new'"):
        ws.ids("new")
    with pytest.raises(KeyError, match="no image 'z'"):
        ws.paths(["a", "z"])


# The stages of a round.


def test_begin_round_returns_the_open_one(ws):
    first = ws.begin_round()
    assert (first.number, first.stage, first.checkpoint, first.metrics) == (0, "new", None, {})
    assert first.folder == ws.folder / "rounds" / "000"
    assert first.folder.is_dir()
    assert ws.begin_round() == first
    assert ws.rounds() == [first]


def test_record_query(asked):
    assert asked.ids("queried") == ["a", "b", "c"]
    assert asked.ids("unlabelled") == ["d/e", "f"]
    assert (asked.rounds()[0].stage, asked.rounds()[0].strategy) == ("queried", "entropy")
    assert asked.query(0)["image_id"].tolist() == ["c", "a", "b"]
    before = dump(asked.folder)
    asked.record_query(0, ["c", "a", "b"], [0.9, 0.5, 0.25], "entropy")
    assert dump(asked.folder) == before


def test_record_query_again_with_others_is_refused(asked):
    for others in (["a", "c", "b"], ["c", "a"], ["d/e"]):
        with pytest.raises(ValueError, match=r"query of round 0 again, 3 \(c, a, b, ...\)"):
            asked.record_query(0, others)
    assert asked.ids("queried") == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("ids", "scores", "message"),
    [
        ([], [], "got 0 images"),
        (["a", "a"], [1, 2], r"got 2 images \(1 distinct\)"),
        (["a", "b"], [1], r"got 2 images \(2 distinct\), 1 scores"),
        (["a", "b"], [1, float("nan")], "finite score, got nan for image 'b'"),
    ],
)
def test_record_query_refuses(ws, ids, scores, message):
    ws.begin_round()
    with pytest.raises(ValueError, match=message):
        ws.record_query(0, ids, scores)
    with pytest.raises(KeyError, match="no image 'z'"):
        ws.record_query(0, ["a", "z"])
    with pytest.raises(ValueError, match="one of the 1 rounds"):
        ws.record_query(1, ["a"])
    assert ws.counts()["unlabelled"] == 5
    assert ws.begin_round().stage == "new"


def finish(ws, number, metrics=None):
    ws.close_collection(number)
    checkpoint = ws.rounds()[number].folder / "checkpoint.pth"
    checkpoint.write_bytes(b"x")
    return ws.record_training(number, checkpoint, metrics or {})


def test_a_later_round_asks_for_unlabelled_images_only(asked):
    asked.record_answers(0, labels_of({"a": [BOX]}), {"b": "clouds"})
    finish(asked, 0)
    number = asked.begin_round().number
    assert number == 1
    for image_id, status in (("a", "labelled"), ("b", "skipped"), ("c", "queried")):
        with pytest.raises(ValueError, match=f"1 others, '{image_id}' is {status}"):
            asked.record_query(number, ["f", image_id])
    assert asked.record_query(number, ["f"]).stage == "queried"


def test_answers_come_bit_by_bit(asked):
    assert asked.record_answers(0, labels_of({"c": [BOX, OTHER], "a": []})) == ["a", "c"]
    assert asked.counts() == {"unlabelled": 2, "queried": 1, "labelled": 2, "skipped": 0}
    assert asked.record_answers(0, labels_of({"c": [BOX, OTHER], "a": []}), {"b": "too dark"}) == ["b"]
    assert asked.ids("skipped") == ["b"]
    assert asked.labels() == labels_of({"a": [], "c": [BOX, OTHER]})
    assert asked.rounds()[0].stage == "queried"


def test_the_same_answers_change_nothing(asked):
    answers = (labels_of({"c": [BOX]}), {"b": "dark"}, costs_of(c=12.5, b=1))
    assert asked.record_answers(0, *answers) == ["b", "c"]
    before = dump(asked.folder)
    assert asked.record_answers(0, *answers) == []
    assert dump(asked.folder) == before


def test_the_latest_answer_counts_and_the_earlier_is_kept(asked):
    asked.record_answers(0, labels_of({"a": [BOX], "c": [BOX]}), costs=costs_of(a=10, c=10))
    assert asked.record_answers(0, labels_of({"a": [OTHER], "c": [BOX]}), costs=costs_of(a=17, c=10)) == ["a"]
    assert asked.labels() == labels_of({"a": [OTHER], "c": [BOX]})
    assert asked.record_answers(0, RotatedInstances.empty(), {"a": "no idea"}) == ["a"]
    assert asked.labels() == labels_of({"c": [BOX]})
    assert asked.record_answers(0, labels_of({"a": [BOX]})) == ["a"]
    assert asked.labels() == labels_of({"a": [BOX], "c": [BOX]})
    assert asked.counts() == {"unlabelled": 2, "queried": 1, "labelled": 2, "skipped": 0}
    kept = [(row["image_id"], row["status"], row["seconds"]) for row in dump(asked.folder)["answers"]]
    assert kept == [
        ("a", "labelled", 10),
        ("c", "labelled", 10),
        ("a", "labelled", 17),
        ("a", "skipped", None),
        ("a", "labelled", None),
    ]


def test_an_answer_that_is_withdrawn_is_asked_for_again(asked):
    asked.record_answers(0, labels_of({"a": [BOX]}), {"b": "clouds"}, costs=costs_of(a=10))
    # c was never answered: there is nothing to take back.
    assert asked.record_answers(0, RotatedInstances.empty(), withdrawn=["a", "b", "c"]) == ["a", "b"]
    assert asked.record_answers(0, RotatedInstances.empty(), withdrawn=["a", "b", "c"]) == []
    assert asked.query(0)["status"].tolist() == ["queried"] * 3
    assert len(asked.labels()) == 0
    # Answered in the same breath, it is answered.
    assert asked.record_answers(0, labels_of({"a": [OTHER]}), withdrawn=["a"]) == ["a"]
    np.testing.assert_array_equal(asked.labels().boxes, np.float32([OTHER]))
    with pytest.raises(KeyError):
        asked.record_answers(0, RotatedInstances.empty(), withdrawn=["nobody"])


def test_a_withdrawal_waits_for_an_open_round(asked):
    asked.record_answers(0, labels_of({"a": [BOX], "b": [], "c": []}))
    asked.close_collection(0)
    with pytest.raises(ValueError, match=r"expected answers while round 0 is at stage 'queried', got 1 new"):
        asked.record_answers(0, RotatedInstances.empty(), withdrawn=["a"], cursor="later")
    assert asked.cursor is None
    assert asked.labels().image_ids.tolist() == ["a", "b", "c"]


def test_the_cursor(asked, tmp_path):
    assert asked.cursor is None
    asked.record_answers(0, labels_of({"a": [BOX]}), cursor="monday")
    asked.record_answers(0, RotatedInstances.empty(), cursor="tuesday")  # nothing new until then
    asked.record_answers(0, labels_of({"b": []}))  # from somebody without a cursor
    asked.close()
    with Workspace.open(tmp_path / "work") as again:
        assert again.cursor == "tuesday"
        finish(again, 0)
        again.record_query(again.begin_round().number, ["f"])
        assert again.cursor is None  # f may have been answered before it was asked for


def test_late_answers_go_to_the_open_round(asked):
    asked.record_answers(0, labels_of({"a": [BOX]}))
    finish(asked, 0)
    assert asked.record_answers(0, labels_of({"a": [BOX]})) == []  # nothing new: fine at any stage
    with pytest.raises(ValueError, match="round 0 is at stage 'queried', got 1 new at 'trained'"):
        asked.record_answers(0, labels_of({"a": [OTHER]}))
    asked.record_query(asked.begin_round().number, ["f"])
    assert asked.record_answers(1, labels_of({"a": [OTHER], "c": []})) == ["a", "c"]
    assert asked.labels() == labels_of({"a": [OTHER], "c": []})
    assert asked.history()["n_boxes"].tolist() == [1, 1]
    assert asked.history()["n_labelled"].tolist() == [1, 2]


def test_optional_columns_of_some_batches(asked):
    asked.record_answers(0, labels_of({"c": [BOX, OTHER]}, difficult=[0, 1], image_sizes=[[64, 32]]))
    asked.record_answers(0, labels_of({"a": [BOX]}))
    labels = asked.labels()
    assert labels.image_ids.tolist() == ["a", "c"]
    assert labels.difficult.tolist() == [0, 0, 1]
    assert labels.image_sizes.tolist() == [[0, 0], [64, 32]]


def test_record_answers_refuses(asked):
    detections = labels_of({"a": [BOX]}).replace(scores=[0.5])
    a = labels_of({"a": [BOX]})
    for message, *arguments in (
        ("which have no scores", detections),
        ("labels of the classes", a.replace(classes=["plane", "ship"])),
        ("'a' both ways", a, {"a": "dark"}),
        ("images that were queried, got one for 'f'", labels_of({"a": [BOX], "f": []})),
        ("got 'b', which is not answered", a, {}, costs_of(a=1, b=1)),
        ("got an image twice", a, {}, pd.concat([costs_of(a=1)] * 2)),
        ("costs with columns image_id, annotator", a, {}, costs_of(a=1).assign(mood=1)),
    ):
        with pytest.raises(ValueError, match=message):
            asked.record_answers(0, *arguments)
    with pytest.raises(KeyError, match="no image 'z'"):
        asked.record_answers(0, labels_of({"a": [BOX], "z": []}))
    assert asked.counts()["queried"] == 3
    assert list((asked.folder / "labels").iterdir()) == []


def test_stages_follow_one_another(ws):
    ws.begin_round()
    checkpoint = ws.folder / "rounds" / "000" / "checkpoint.pth"
    checkpoint.write_bytes(b"x")
    with pytest.raises(ValueError, match="round 0 at stage 'queried', to make it 'collected'; it is 'new'"):
        ws.close_collection(0)
    ws.record_query(0, ["a"])
    with pytest.raises(ValueError, match="round 0 at stage 'collected', to make it 'trained'; it is 'queried'"):
        ws.record_training(0, checkpoint, {})
    assert ws.close_collection(0).stage == "collected"
    assert ws.close_collection(0).stage == "collected"
    assert ws.begin_round().number == 0
    with pytest.raises(FileNotFoundError, match=r"checkpoint of round 0.*none\.pth"):
        ws.record_training(0, "none.pth", {})
    with pytest.raises(ValueError, match="names of their own, got 'cost'"):
        ws.record_training(0, checkpoint, {"cost": 1})
    metrics = {"mAP": np.float32(0.5), "AP": {"ship": float("nan")}}
    done = ws.record_training(0, checkpoint, metrics)
    assert (done.stage, done.checkpoint, done.metrics["mAP"]) == ("trained", checkpoint, 0.5)
    before = dump(ws.folder)
    ws.record_training(0, checkpoint, metrics)
    assert dump(ws.folder) == before
    with pytest.raises(ValueError, match=r"it is 'trained' with .*0\.5"):
        ws.record_training(0, checkpoint, {"mAP": 0.6})
    assert ws.begin_round().number == 1


def test_history_and_ledger(asked):
    costs = costs_of(a=10, b=2)
    asked.record_answers(0, labels_of({"a": [BOX, BOX]}), {"b": "dark"}, costs)
    finish(asked, 0, {"mAP": 0.25})
    asked.record_query(asked.begin_round().number, ["f"], strategy="random")
    unknown = pd.DataFrame([["f", None, np.nan, 1, None, None, None]], columns=["image_id", *COST_COLUMNS])
    asked.record_answers(1, labels_of({"a": [BOX], "f": [OTHER]}), costs=pd.concat([costs_of(a=15), unknown]))

    history = asked.history()
    totals = ["round", "stage", "strategy", "n_queried", "n_labelled", "n_skipped", "n_boxes", "cost", "mAP"]
    assert list(history.columns) == [*totals, "started", "finished"]
    assert history[totals[:-1]].values.tolist() == [
        [0, "trained", "entropy", 3, 1, 1, 2, 12.0],
        [1, "queried", "random", 4, 2, 1, 2, 17.0],
    ]
    assert history["mAP"].iloc[0] == 0.25
    assert np.isnan(history["mAP"].iloc[1])
    assert pd.to_datetime(history["started"]).dt.tz is not None
    assert history["finished"].isna().tolist() == [False, True]

    ledger = asked.ledger().set_index("image_id")
    assert ledger.index.tolist() == ["a", "b", "f"]
    assert ledger.loc["a"].tolist() == [1, "labelled", None, 1, "ann", 15.0, 1, 2, 3, 4]
    assert ledger.loc["b"].tolist() == [0, "skipped", "dark", 0, "ann", 2.0, 1, 2, 3, 4]
    assert ledger.loc["f", ["n_boxes", "n_added"]].tolist() == [1, 1]
    assert ledger.loc["f", ["seconds", "n_moved"]].isna().all()


# Two processes.


def test_one_process_opens_it_once(ws):
    with pytest.raises(WorkspaceBusy, match="this one: an earlier Workspace that was not closed"):
        Workspace.open(ws.folder)
    with pytest.raises(WorkspaceBusy):
        create(ws.folder)
    ws.close()
    Workspace.open(ws.folder).close()


def test_read_only_cannot_change_anything(asked):
    with Workspace.open(asked.folder, read_only=True) as reader:
        for change in (
            lambda: reader.record_answers(0, labels_of({"a": [BOX]})),
            lambda: reader.close_collection(0),
        ):
            with pytest.raises(PermissionError, match="for reading only"):
                change()
        assert list((asked.folder / "labels").iterdir()) == []
        asked.record_answers(0, labels_of({"a": [BOX]}))  # and it is not in the way
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


# Killed anywhere.


def play(folder):
    """A round and the start of the next as a loop plays them: each step follows from the state alone."""
    if not (folder / "state.db").exists():
        create(folder).close()
    with Workspace.open(folder) as ws:
        while (now := ws.begin_round()).number < 1:
            if now.stage == "new":
                ws.record_query(now.number, ws.ids("unlabelled")[:2], [0.5, 0.25], "first two")
            elif now.stage == "queried":
                first, second = ws.query(now.number)["image_id"]
                if first not in ws.ids("labelled"):
                    ws.record_answers(now.number, labels_of({first: [BOX]}), costs=costs_of(**{first: 3}))
                later = labels_of({first: [BOX, OTHER]}), {second: "dark"}, costs_of(**{first: 5, second: 1})
                ws.record_answers(now.number, *later)
                ws.close_collection(now.number)
            else:
                checkpoint = now.folder / "checkpoint.pth"
                checkpoint.write_bytes(b"weights")
                ws.record_training(now.number, checkpoint, {"mAP": 0.5})


def play_in_a_child(folder, point):
    """Play, killed at `point`; whether it came to its end. Before it is not to be killed, it looks at the state."""
    child = os.fork()
    if not child:
        code = 1
        try:
            if point is None and (folder / "state.db").exists():
                with Workspace.open(folder, read_only=True) as reader:
                    assert sum(reader.counts().values()) == len(IMAGES)
                    assert len(reader.ledger()) == len(reader.labels()) + len(reader.ids("skipped"))
            seen = kill_at(point, folder)
            play(folder)
            (folder.parent / "points.json").write_text(json.dumps(seen))
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), f"status {status} at point {point} of {folder}"
    return status == 0


def play_all(root):
    """Undisturbed in root/000; then, for each point, killed there, some again elsewhere, and played to its end."""
    root = Path(root)
    assert play_in_a_child(root / "000", None)
    points = len(json.loads((root / "points.json").read_text()))
    for point in range(1, points + 1):
        folder = root / f"{point:03d}"
        assert not play_in_a_child(folder, point)
        if point % 3 == 0:
            play_in_a_child(folder, 1 + 7 * point % 40)
        assert play_in_a_child(folder, None)


def test_killed_anywhere_it_ends_as_if_undisturbed(tmp_path):
    # In a process of its own, which has started no threads, because it forks.
    run = f"import test_workspace; test_workspace.play_all({str(tmp_path)!r})"
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    subprocess.run([sys.executable, "-c", run], env=env, check=True)
    expected = dump(tmp_path / "000")
    assert [row["status"] for row in expected["images"]] == ["labelled", "skipped", *["unlabelled"] * 3]
    assert len(expected["answers"]) == 3
    killed = sorted(path for path in tmp_path.iterdir() if path.is_dir())[1:]
    assert len(killed) > 60
    for folder in killed:
        assert dump(folder) == expected, folder
