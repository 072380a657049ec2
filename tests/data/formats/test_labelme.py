"""LabelMe's JSON: boxes worked by hand, and files that cannot be read."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from al_rotate.data import RotatedInstances
from al_rotate.data.formats import labelme
from al_rotate.data.formats.reading import HORIZONTAL, POLYGONS, Notes


def shape(points: Any, kind: str | None = "polygon", label: Any = "ship", **more: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}, **more}


def document(*shapes: Any, **more: Any) -> dict[str, Any]:
    return {"version": "5.4", "flags": {}, "shapes": [*shapes], "imagePath": "P1.jpg", "imageData": None,
            "imageHeight": 100, "imageWidth": 200, **more}  # fmt: skip


def read(folder: Path, content: Any, classes: list[str] | None = None) -> tuple[RotatedInstances, list[str]]:
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "P1.json").write_text(text, encoding="utf-8")
    notes = Notes()
    return labelme.read(folder, classes, notes), list(notes)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (shape([[0, 0], [8, 6], [5, 10], [-3, 4]]), [2.5, 5, 10, 5, math.atan2(3, 4)]),
        (shape([[0, 0], [4, 0], [2, 1]]), [2, 0.5, 4, 1, 0]),
        (shape([[0, 0], [4, 0], [4, 2], [2, 2], [0, 2]], None), [2, 1, 4, 2, 0]),  # of old files without shape_type
        (shape([[50, 40], [10, 20]], "rectangle"), [30, 30, 40, 20, 0]),
        (shape([[10, 20], [50, 20], [50, 40], [10, 40]], "rectangle"), [30, 30, 40, 20, 0]),
        (shape([[0, 0], [8, 6], [5, 10], [-3, 4]], "rotation", direction=0.6), [2.5, 5, 10, 5, math.atan2(3, 4)]),
        (shape([[0, 0], [8, 6], [5, 10], [-3, 4]], "oriented_rectangle"), [2.5, 5, 10, 5, math.atan2(3, 4)]),
        (shape([[50, 40], [53, 44]], "circle"), [50, 40, 10, 10, 0]),
    ],
)
def test_the_box_of_a_shape(tmp_path: Path, given: dict[str, Any], expected: list[float]) -> None:
    labels, _ = read(tmp_path, document(given))
    np.testing.assert_allclose(labels.boxes, [expected], atol=1e-5)
    assert labels.image_ids.tolist() == ["P1"]
    assert labels.image_sizes is not None
    assert labels.image_sizes.tolist() == [[200, 100]]


def test_what_was_taken_for_what_is_noted(tmp_path: Path) -> None:
    square = [[0, 0], [9, 0], [9, 9], [0, 9]]
    shapes = [shape(square), shape(square), shape([[1, 1], [2, 2]], "rectangle", "plane"), shape([[1, 1]], "point")]
    labels, notes = read(tmp_path, document(*shapes, imagePath="..\\other.jpg", imageWidth=None))
    where = f", e.g. in {tmp_path / 'P1.json'}"
    assert notes == [
        f"2 {POLYGONS}{where}",
        f"1 {HORIZONTAL}{where}",
        f"1 shapes of the kind point left out{where}",
        f"1 files of another name than their imagePath; the file's own name is taken{where}",
    ]
    assert labels.classes == ("plane", "ship")
    assert labels.labels.tolist() == [1, 1, 0]
    assert labels.image_sizes is not None
    assert labels.image_sizes.tolist() == [[0, 100]]


def test_an_image_with_a_mask_is_held_back_and_one_without_shapes_is_empty(tmp_path: Path) -> None:
    (tmp_path / "empty.json").write_text(json.dumps(document(imagePath="empty.jpg")))
    labels, (_, note) = read(tmp_path, document(shape([[1, 1], [5, 5]], "rectangle"), shape([[1, 1], [9, 9]], "mask")))
    assert labels.image_ids.tolist() == ["empty"]
    assert labels.counts.tolist() == [0]
    assert set(labels.skipped) == {"P1"}
    assert note.startswith("1 images held back, for their shape of the kind mask")


def test_difficult_and_classes(tmp_path: Path) -> None:
    square = [[0, 0], [9, 0], [9, 9], [0, 9]]
    content = document(shape(square, difficult=True), shape(square, flags={"difficult": 1}), shape(square))
    labels, _ = read(tmp_path, content, ["plane", "ship"])
    assert labels.difficult is not None
    assert labels.difficult.tolist() == [1, 1, 0]
    assert labels.labels.tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match=r"P1\.json: expected one of the classes plane, got 'ship'"):
        read(tmp_path, content, ["plane"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected JSON"),
        ("[" * 100_000, "nested too deeply"),
        ([], "expected LabelMe's JSON"),
        ({"shapes": 5}, "expected LabelMe's JSON"),
        (document(5), "shape 1: expected an object with label, points and shape_type"),
        (document(shape([[1, 1], [2, 2]])), "shape 1: expected the points of a polygon, got 2 points"),
        (document(shape([[1, 1]], "rectangle")), "shape 1: expected the points of a rectangle, got 1 points"),
        (document(shape([[1, 1], [2, 2], [3, 3]], "circle")), "shape 1: expected the points of a circle"),
        (document(shape("abc")), "shape 1: expected points to be a list"),
        (document(shape([[1, 1], [2, "2"], [3, 3]])), "shape 1: expected a point of 2 finite numbers"),
        (document(shape([[1, 1], [2, 1e39], [3, 3]])), "shape 1: expected a point of 2 finite numbers"),
        (document(shape([[1, 1], [2, 10**400], [3, 3]])), "shape 1: expected a point of 2 finite numbers"),
        (document(shape([[1, 1], [2, math.nan], [3, 3]])), "shape 1: expected a point of 2 finite numbers"),
        (document(shape([[1, 1, 1], [2, 2], [3, 3]])), "shape 1: expected a point of 2 finite numbers"),
        (document(shape([[1, 1], [2, 1], [3, 3]], label=5)), "shape 1: expected label to be a text, got 5"),
        (document(shape([[1, 1], [2, 1], [3, 3]], label="\ud800")), "shape 1: expected label in UTF-8"),
        (document(shape([[1, 1], [2, 1], [3, 3]], kind=7)), "shape 1: expected shape_type to be a text"),
        (document(shape([[1, 1], [2, 1], [3, 3]], difficult="x")), "shape 1: expected difficult"),
        (document(imageWidth="9px"), "expected imageWidth to be a number"),
        (document(imageWidth=-5), "expected imageWidth to be a number from 0"),
        (document(imageWidth=2.5), "expected imageWidth to be an integer"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(ValueError, match=r"P1\.json: ") as caught:
        read(tmp_path, content)
    assert message in str(caught.value)
