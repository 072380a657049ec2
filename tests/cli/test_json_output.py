"""--json: one document on standard output that agrees with what the library returns."""

import json

import numpy as np
import pandas as pd
import pytest

from al_rotate.cli.json_output import only_json, print_json
from al_rotate.sampling import rank
from al_rotate.workspace import Workspace


def refused_constant(name):
    raise AssertionError(f"{name} is no JSON")


def document_of(text):
    return json.loads(text, parse_constant=refused_constant)


def test_values(capsys, tmp_path):
    table = pd.DataFrame({"id": ["é", "b"], "x": [1.5, np.nan], "n": pd.array([1, None], dtype="Int64")})
    print_json({"table": table, "array": np.float32([0.5, np.inf]), 3: (True, None), "path": tmp_path})
    assert document_of(capsys.readouterr().out) == {
        "table": [{"id": "é", "x": 1.5, "n": 1}, {"id": "b", "x": None, "n": None}],
        "array": [0.5, None],
        "3": [True, None],
        "path": str(tmp_path),
    }
    with pytest.raises(TypeError, match="got object"):
        print_json({"x": object()})


def test_what_libraries_print_goes_to_standard_error(capsys):
    for asked in (True, False):
        with only_json(asked):
            print("a library's line")
        out, err = capsys.readouterr()
        assert (err if asked else out) == "a library's line\n"
        assert (out if asked else err) == ""


def test_rank(al, detections):
    code, out, err = al("rank", detections, "--json")
    expected = rank(detections, "entropy")
    rows = document_of(out)
    assert (code, err) == (0, "")
    assert [row["image_id"] for row in rows] == expected["image_id"].tolist()
    np.testing.assert_allclose([row["score"] for row in rows], expected["score"])
    assert document_of(al("rank", detections, "--json", "--top", 3)[1]) == rows[:3]


def test_status_and_query(al, work):
    before = document_of(al("status", work, "--json")[1])
    assert before["images"]["unlabelled"] == 12
    assert before["rounds"] == []
    assert before["annotator"] == "labels that are held back"
    code, out, _ = al("query", work, "--budget", 3, "--json")
    queried = document_of(out)
    with Workspace.open(work, read_only=True) as workspace:
        assert [row["image_id"] for row in queried["selection"]] == workspace.query(0)["image_id"].tolist()
    assert (code, queried["round"], queried["strategy"]) == (0, 0, "random")
    assert queried["next"] == [f"al-rotate collect {work}"]
    after = document_of(al("status", work, "--json")[1])
    assert (after["images"]["unlabelled"], after["images"]["queried"]) == (9, 3)
    assert after["rounds"][0]["stage"] == "queried"
    assert after["next"] == queried["next"]
