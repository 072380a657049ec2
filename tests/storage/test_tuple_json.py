"""JSON that keeps tuples."""

import json

import pytest

from al_rotate.storage import tuple_json


@pytest.mark.parametrize(
    "value",
    [
        {"scale": (640, 640), "pipeline": [{"size": (1, (2.5, "x"))}, None, True]},
        [(), [], {}, ((),)],
        {"__tuple__": 3, "more": (1,)},
        "text",
    ],
)
def test_what_is_written_comes_back(value):
    again = tuple_json.loads(tuple_json.dumps(value))
    assert again == value
    assert repr(again) == repr(value)  # tuples as tuples, lists as lists


def test_other_json_is_read_as_it_is():
    value = {"a": [1, [2, {"b": None}]]}
    assert tuple_json.loads(json.dumps(value)) == value
    assert tuple_json.dumps(value, indent=1) == json.dumps(value, indent=1)
