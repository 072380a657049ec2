"""Manifests: the same facts again, and other facts."""

import json

import pytest

from al_rotate.storage.manifest import claim


def test_the_same_again_and_something_else(tmp_path):
    file = tmp_path / "made" / "facts.json"
    words = {"what": "detections", "remedy": "choose another folder"}
    assert claim(file, {"model": "a", "scale": [1, 2]}, **words) == {"model": "a", "scale": [1, 2]}
    assert claim(file, {"model": "a", "scale": [1, 2]}, **words) == {"model": "a", "scale": [1, 2]}
    with pytest.raises(ValueError, match=r"made holds detections with another model; choose another folder$"):
        claim(file, {"model": "b", "scale": [1, 2]}, **words)
    with pytest.raises(ValueError, match="another seed"):
        claim(file, {"model": "a", "seed": 0}, **words)
    assert json.loads(file.read_text()) == {"model": "a", "scale": [1, 2]}


def test_a_fact_that_is_newer_than_the_content(tmp_path):
    file = tmp_path / "facts.json"
    claim(file, {"model": "a"}, "detections", "")
    with pytest.raises(ValueError, match="another bands"):
        claim(file, {"model": "a", "bands": [3, 2, 1]}, "detections", "")
    assert claim(file, {"model": "a", "bands": None}, "detections", "") == {"model": "a", "bands": None}
    with pytest.raises(ValueError, match="another bands"):
        claim(file, {"model": "a", "bands": [3, 2, 1]}, "detections", "")


def test_what_is_not_in_use_may_be_made_anew(tmp_path):
    file = tmp_path / "facts.json"
    claim(file, {"model": "a", "other": 1}, "weights", "")
    assert claim(file, {"model": "b"}, "weights", "", in_use=False) == {"model": "b", "other": 1}
    assert json.loads(file.read_text()) == {"model": "b", "other": 1}
