"""Values of the wrong kind in COCO, YOLO and DOTA files: every one is an error that names its file."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from al_rotate.data import RotatedInstances
from al_rotate.data.formats import coco, dota, yolo_obb

DOCUMENT: dict[str, Any] = {
    "images": [{"id": 1, "file_name": "a.jpg", "width": 9, "height": 9}],
    "categories": [{"id": 1, "name": "ship"}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 3, 3]}],
}
NOTHING_FITS = [None, True, [], [1], {}, {"a": 1}, "x", "", float("nan"), float("inf"), 3e38, -1, 10**400, "\ud800"]
# (list, key) -> the values above that are right there, or as good as missing
ALLOWED: dict[tuple[str, str], list[Any]] = {
    ("images", "id"): [],
    ("images", "file_name"): ["x"],
    ("images", "width"): [None, [], {}, ""],
    ("categories", "id"): [],
    ("categories", "name"): ["x"],
    ("annotations", "image_id"): [],
    ("annotations", "category_id"): [],
    ("annotations", "bbox"): [],
    ("annotations", "segmentation"): [None, [], {}, ""],
    ("annotations", "score"): [None],
    ("annotations", "iscrowd"): [None, [], {}, ""],  # and True, see below
}


def read(folder: Path, content: Any) -> RotatedInstances:
    (folder / "c.json").write_text(json.dumps(content))
    return coco.read(folder / "c.json")


@pytest.mark.parametrize("wrong", NOTHING_FITS, ids=lambda value: str(value)[:9].encode("ascii", "replace").decode())
@pytest.mark.parametrize(("part", "key"), ALLOWED, ids=lambda name: name)
def test_coco(tmp_path: Path, part: str, key: str, wrong: Any) -> None:
    content = copy.deepcopy(DOCUMENT)
    content[part][0][key] = wrong
    if any(type(wrong) is type(value) and wrong == value for value in ALLOWED[part, key]):
        assert read(tmp_path, content).n_boxes == 1
        return
    if key == "iscrowd" and wrong is True:
        assert read(tmp_path, content).skipped == {"a": f"{tmp_path / 'c.json'}: annotation 1 is a crowd (iscrowd 1)"}
        return
    with pytest.raises(ValueError, match=r"c\.json: ") as caught:
        read(tmp_path, content)
    assert type(caught.value) is ValueError


@pytest.mark.parametrize("wrong", ["x", 300, -1, 1.5, [1], 10**400, float("nan")])
@pytest.mark.parametrize("key", ["difficult", "rotation", "rotated_box"])
def test_attributes_of_coco(tmp_path: Path, key: str, wrong: Any) -> None:
    content = copy.deepcopy(DOCUMENT)
    content["annotations"][0]["attributes"] = {key: wrong}
    if key == "rotation" and wrong in (300, -1, 1.5):
        assert read(tmp_path, content).n_boxes == 1
        return
    with pytest.raises(ValueError, match=r"c\.json: annotation 1: expected"):
        read(tmp_path, content)


@pytest.mark.parametrize(("value", "flag"), [(True, 1), (False, 0), ("true", 1), ("False", 0), ("2", 2), (1.0, 1)])
def test_difficulties_that_scripts_write(tmp_path: Path, value: Any, flag: int) -> None:
    content = copy.deepcopy(DOCUMENT)
    content["annotations"][0]["attributes"] = {"difficult": value}
    difficult = read(tmp_path, content).difficult
    assert difficult is not None
    assert difficult.tolist() == [flag]


@pytest.mark.parametrize(
    ("part", "added", "message"),
    [
        ("images", {"id": 1, "file_name": "b.jpg"}, "expected distinct ids in images"),
        ("images", {"id": 2, "file_name": "a.png"}, "expected distinct image ids, got 'a'"),
        ("images", {"id": "2", "file_name": "b.jpg"}, "expected ids of one kind in images"),
        ("categories", {"id": 2, "name": "ship"}, "expected classes to be distinct"),
        ("categories", {"id": "2", "name": "plane"}, "expected ids of one kind in categories"),
        ("categories", 5, "expected id and name in each of categories"),
    ],
)
def test_records_that_contradict_each_other(tmp_path: Path, part: str, added: Any, message: str) -> None:
    with pytest.raises(ValueError, match=rf"c\.json: .*{message}"):
        read(tmp_path, {**DOCUMENT, part: [*DOCUMENT[part], added]})


def test_an_id_is_the_same_as_number_and_as_text(tmp_path: Path) -> None:
    for image, category in ((1, "1"), ("1", 1), (1.0, "1"), ("1", "1")):
        content = copy.deepcopy(DOCUMENT)
        content["annotations"][0].update(image_id=image, category_id=category)
        assert read(tmp_path, content).counts.tolist() == [1]
    categories = [{"id": "10", "name": "ten"}, {"id": "9", "name": "nine"}, {"id": "x", "name": "last"}]
    content = {**DOCUMENT, "categories": categories, "annotations": []}
    assert read(tmp_path, content).classes == ("nine", "ten", "last")


@pytest.mark.parametrize("outline", [[[]], [[], []], [[1, 2]], [[1, 2, 3, 4]], [[1, 2, 3, 4, 5]], [[], [1, 1, 2, 2]]])
def test_a_broken_outline_beside_a_good_box(tmp_path: Path, outline: list) -> None:
    content = copy.deepcopy(DOCUMENT)
    content["annotations"][0].update(bbox=[10, 10, 20, 10], segmentation=outline)
    assert read(tmp_path, content).boxes.tolist() == [[20, 15, 20, 10, 0]]
    content["annotations"][0].update(segmentation=[[], [0, 0, 4, 0, 4, 2, 0, 2]])
    assert read(tmp_path, content).boxes.tolist() == [[2, 1, 4, 2, 0]]


def test_json_that_is_nested_too_deeply(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"c\.json: expected JSON, got lists or objects nested too deeply"):
        coco.read(tmp_path / "c.json")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
places = st.sampled_from(
    [(part, key) for part in DOCUMENT for key in [*DOCUMENT[part][0], "segmentation", "attributes", "score", "iscrowd"]]
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(places, values), min_size=1, max_size=3))
def test_any_value_anywhere_is_read_or_refused_by_name(tmp_path: Path, changes: list) -> None:
    content = copy.deepcopy(DOCUMENT)
    for (part, key), value in changes:
        content[part][0][key] = value
    refusal, labels = "", None
    try:
        labels = read(tmp_path, content)
    except ValueError as error:
        refusal = f"{type(error).__name__}: {error}"
    if labels is None:
        assert refusal.startswith(f"ValueError: {tmp_path / 'c.json'}: ")
    else:
        assert len(labels) == labels.n_boxes == 1 - len(labels.skipped)
        assert np.isfinite(labels.boxes).all()


@pytest.mark.parametrize(
    ("classes", "lines", "named"),
    [
        (b"ship\n", b"\xe4", "a.txt"),
        (b"K\xfchlturm\n", b"", "classes.txt"),
        (b"ship\nship\n", b"", "classes.txt"),
        (b"ship\n\nplane\n", b"", "classes.txt"),
        (b"", b"", "classes.txt"),
        (b"ship\n", b"0 1e39 0 1 0 1 1 0 1\n", "a.txt:1"),
        (b"ship\n", b"99999999999999999999999 0 0 1 0 1 1 0 1\n", "a.txt:1"),
        (b"ship\n", "\u0660 0 0 1 0 1 1 0 1\n".encode(), "a.txt:1"),  # an Arabic zero
    ],
)
def test_yolo(tmp_path: Path, classes: bytes, lines: bytes, named: str) -> None:
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "images" / "a.png")
    (tmp_path / "classes.txt").write_bytes(classes)
    (tmp_path / "labels" / "a.txt").write_bytes(lines)
    with pytest.raises(ValueError, match=named):
        yolo_obb.read(tmp_path)
    (tmp_path / "classes.txt").write_bytes(b"\xef\xbb\xbfship\r\n\r\n")
    (tmp_path / "labels" / "a.txt").write_bytes(b"\xef\xbb\xbf0 0 0 1 0 1 1 0 1\r\n")
    labels = yolo_obb.read(tmp_path)
    assert labels.classes == ("ship",)
    assert labels.boxes.tolist() == [[4.5, 4.5, 9, 9, 0]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1e39 0 1e39 1 2e39 1 2e39 0 ship 0", "expected finite coordinates"),
        ("1e8 0 1e8 1 2e8 1 2e8 0 ship 0", "expected finite coordinates"),
        ("10 10 30 10 30 20 20 25 10 20 ship 0", "got the class '10 20 ship': more corners, or a score?"),
        ("0.98 10 10 30 10 30 20 10 20 ship 0", "got the class '20 ship': more corners, or a score?"),
        ("10 10 30 10 30 20 10 20 15 25 5 15 ship", "got the class '15 25 5 15 ship'"),
        ("10 10 30 10 30 20 10 20 ship 0.98", "expected a difficulty from 0 to 255"),
        ("10 10 30 10 30 20 10 20 ship 0.98 0", "got the class 'ship 0.98'"),
        ("10 10 30 10 30 20 10 20 0.98 ship 0", "got the class '0.98 ship'"),
    ],
)
def test_dota(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "P1.txt"
    file.write_text(f"\n{line}\n")
    with pytest.raises(ValueError, match=r"P1\.txt:2: ") as caught:
        dota.read(file)
    assert message in str(caught.value)


def test_a_class_with_numbers_in_its_name_is_read_where_it_is_given(tmp_path: Path) -> None:
    (tmp_path / "P1.txt").write_text("10 10 30 10 30 20 10 20 747 plane 0\n")
    assert dota.read(tmp_path, ["747 plane"]).n_boxes == 1
    for read in (dota.read, lambda source, classes: next(dota.stream(source, classes))):
        with pytest.raises(ValueError, match="expected a sequence of class names, got 's'"):
            read(tmp_path, "s")
