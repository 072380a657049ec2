"""Answers, as they come and change."""

import numpy as np
import pandas as pd
import pytest
from helpers.loops.kills import dump
from helpers.loops.workspace import BOX, OTHER, costs_of, finish, labels_of

from al_rotate.data import RotatedInstances
from al_rotate.workspace import Workspace


def test_answers_come_bit_by_bit(queried):
    assert queried.record_answers(0, labels_of({"c": [BOX, OTHER], "a": []})) == ["a", "c"]
    assert queried.counts() == {"unlabelled": 2, "queried": 1, "labelled": 2, "skipped": 0}
    assert queried.record_answers(0, labels_of({"c": [BOX, OTHER], "a": []}), {"b": "too dark"}) == ["b"]
    assert queried.ids("skipped") == ["b"]
    assert queried.labels() == labels_of({"a": [], "c": [BOX, OTHER]})
    assert queried.rounds()[0].stage == "queried"


def test_the_same_answers_change_nothing(queried):
    answers = (labels_of({"c": [BOX]}), {"b": "dark"}, costs_of(c=12.5, b=1))
    assert queried.record_answers(0, *answers) == ["b", "c"]
    before = dump(queried.folder)
    assert queried.record_answers(0, *answers) == []
    assert dump(queried.folder) == before


def test_the_latest_answer_counts_and_the_earlier_is_kept(queried):
    queried.record_answers(0, labels_of({"a": [BOX], "c": [BOX]}), costs=costs_of(a=10, c=10))
    assert queried.record_answers(0, labels_of({"a": [OTHER], "c": [BOX]}), costs=costs_of(a=17, c=10)) == ["a"]
    assert queried.labels() == labels_of({"a": [OTHER], "c": [BOX]})
    assert queried.record_answers(0, RotatedInstances.empty(), {"a": "no idea"}) == ["a"]
    assert queried.labels() == labels_of({"c": [BOX]})
    assert queried.record_answers(0, labels_of({"a": [BOX]})) == ["a"]
    assert queried.labels() == labels_of({"a": [BOX], "c": [BOX]})
    assert queried.counts() == {"unlabelled": 2, "queried": 1, "labelled": 2, "skipped": 0}
    kept = [(row["image_id"], row["status"], row["seconds"]) for row in dump(queried.folder)["answers"]]
    assert kept == [
        ("a", "labelled", 10),
        ("c", "labelled", 10),
        ("a", "labelled", 17),
        ("a", "skipped", None),
        ("a", "labelled", None),
    ]


def test_an_answer_that_is_withdrawn_is_asked_for_again(queried):
    queried.record_answers(0, labels_of({"a": [BOX]}), {"b": "clouds"}, costs=costs_of(a=10))
    # c was never answered: there is nothing to take back.
    assert queried.record_answers(0, RotatedInstances.empty(), withdrawn=["a", "b", "c"]) == ["a", "b"]
    assert queried.record_answers(0, RotatedInstances.empty(), withdrawn=["a", "b", "c"]) == []
    assert queried.query(0)["status"].tolist() == ["queried"] * 3
    assert len(queried.labels()) == 0
    # Answered in the same breath, it is answered.
    assert queried.record_answers(0, labels_of({"a": [OTHER]}), withdrawn=["a"]) == ["a"]
    np.testing.assert_array_equal(queried.labels().boxes, np.float32([OTHER]))
    with pytest.raises(KeyError):
        queried.record_answers(0, RotatedInstances.empty(), withdrawn=["nobody"])


def test_a_withdrawal_waits_for_an_open_round(queried):
    queried.record_answers(0, labels_of({"a": [BOX], "b": [], "c": []}))
    queried.close_collection(0)
    with pytest.raises(ValueError, match=r"expected answers while round 0 is at stage 'new' or 'queried', got 1 new"):
        queried.record_answers(0, RotatedInstances.empty(), withdrawn=["a"], cursor="later")
    assert queried.cursor is None
    assert queried.labels().image_ids.tolist() == ["a", "b", "c"]


def test_the_cursor(queried, tmp_path):
    assert queried.cursor is None
    queried.record_answers(0, labels_of({"a": [BOX]}), cursor="monday")
    queried.record_answers(0, RotatedInstances.empty(), cursor="tuesday")  # nothing new until then
    queried.record_answers(0, labels_of({"b": []}))  # from somebody without a cursor
    queried.close()
    with Workspace.open(tmp_path / "work") as again:
        assert again.cursor == "tuesday"
        finish(again, 0)
        again.record_query(again.begin_round().number, ["f"])
        assert again.cursor is None  # f may have been answered before it was asked for


def test_late_answers_go_to_the_open_round(queried):
    queried.record_answers(0, labels_of({"a": [BOX]}))
    finish(queried, 0)
    assert queried.record_answers(0, labels_of({"a": [BOX]})) == []  # nothing new: fine at any stage
    with pytest.raises(ValueError, match="round 0 is at stage 'new' or 'queried', got 1 new at 'trained'"):
        queried.record_answers(0, labels_of({"a": [OTHER]}))
    queried.record_query(queried.begin_round().number, ["f"])
    assert queried.record_answers(1, labels_of({"a": [OTHER], "c": []})) == ["a", "c"]
    assert queried.labels() == labels_of({"a": [OTHER], "c": []})
    assert queried.history()["n_boxes"].tolist() == [1, 1]
    assert queried.history()["n_labelled"].tolist() == [1, 2]


def test_optional_columns_of_some_batches(queried):
    queried.record_answers(0, labels_of({"c": [BOX, OTHER]}, difficult=[0, 1], image_sizes=[[64, 32]]))
    queried.record_answers(0, labels_of({"a": [BOX]}))
    labels = queried.labels()
    assert labels.image_ids.tolist() == ["a", "c"]
    assert labels.difficult.tolist() == [0, 0, 1]
    assert labels.image_sizes.tolist() == [[0, 0], [64, 32]]


def test_record_answers_refuses(queried):
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
            queried.record_answers(0, *arguments)
    with pytest.raises(KeyError, match="no image 'z'"):
        queried.record_answers(0, labels_of({"a": [BOX], "z": []}))
    assert queried.counts()["queried"] == 3
    assert list((queried.folder / "labels").iterdir()) == []
