"""Answers, as they come and change."""

import numpy as np
import pandas as pd
import pytest
from helpers.loops.kills import dump
from helpers.loops.workspace import BOX, OTHER, costs_of, finish, labels_of

from al_rotate.data import RotatedInstances
from al_rotate.workspace import Workspace


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
