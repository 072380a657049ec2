"""The stages of a round, its query, and what is told of it."""

import numpy as np
import pandas as pd
import pytest
from helpers.loops.kills import dump
from helpers.loops.workspace import BOX, OTHER, costs_of, finish, labels_of

from al_rotate.workspace import COST_COLUMNS


def test_ids_and_paths_refuse_the_unknown(ws):
    with pytest.raises(ValueError, match=r"expected a status of unlabelled, .*, got 'new'"):
        ws.ids("new")
    with pytest.raises(KeyError, match="no image 'z'"):
        ws.paths(["a", "z"])


def test_begin_round_returns_the_open_one(ws):
    first = ws.begin_round()
    assert (first.number, first.stage, first.checkpoint, first.metrics) == (0, "new", None, {})
    assert first.folder == ws.folder / "rounds" / "000"
    assert first.folder.is_dir()
    assert ws.begin_round() == first
    assert ws.rounds() == [first]


def test_record_query(queried):
    assert queried.ids("queried") == ["a", "b", "c"]
    assert queried.ids("unlabelled") == ["d/e", "f"]
    assert (queried.rounds()[0].stage, queried.rounds()[0].strategy) == ("queried", "entropy")
    assert queried.query(0)["image_id"].tolist() == ["c", "a", "b"]
    before = dump(queried.folder)
    queried.record_query(0, ["c", "a", "b"], [0.9, 0.5, 0.25], "entropy")
    assert dump(queried.folder) == before


def test_record_query_again_with_others_is_refused(queried):
    for others in (["a", "c", "b"], ["c", "a"], ["d/e"]):
        with pytest.raises(ValueError, match=r"query of round 0 again, 3 \(c, a, b, ...\)"):
            queried.record_query(0, others)
    assert queried.ids("queried") == ["a", "b", "c"]


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


def test_a_later_round_asks_for_unlabelled_images_only(queried):
    queried.record_answers(0, labels_of({"a": [BOX]}), {"b": "clouds"})
    finish(queried, 0)
    number = queried.begin_round().number
    assert number == 1
    for image_id, status in (("a", "labelled"), ("b", "skipped"), ("c", "queried")):
        with pytest.raises(ValueError, match=f"1 others, '{image_id}' is {status}"):
            queried.record_query(number, ["f", image_id])
    assert queried.record_query(number, ["f"]).stage == "queried"


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


def test_history_and_ledger(queried):
    costs = costs_of(a=10, b=2)
    queried.record_answers(0, labels_of({"a": [BOX, BOX]}), {"b": "dark"}, costs)
    finish(queried, 0, {"mAP": 0.25})
    queried.record_query(queried.begin_round().number, ["f"], strategy="random")
    unknown = pd.DataFrame([["f", None, np.nan, 1, None, None, None]], columns=["image_id", *COST_COLUMNS])
    queried.record_answers(1, labels_of({"a": [BOX], "f": [OTHER]}), costs=pd.concat([costs_of(a=15), unknown]))

    history = queried.history()
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

    ledger = queried.ledger().set_index("image_id")
    assert ledger.index.tolist() == ["a", "b", "f"]
    assert ledger.loc["a"].tolist() == [1, "labelled", None, 1, "ann", 15.0, 1, 2, 3, 4]
    assert ledger.loc["b"].tolist() == [0, "skipped", "dark", 0, "ann", 2.0, 1, 2, 3, 4]
    assert ledger.loc["f", ["n_boxes", "n_added"]].tolist() == [1, 1]
    assert ledger.loc["f", ["seconds", "n_moved"]].isna().all()
