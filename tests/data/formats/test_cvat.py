"""CVAT's XML for images: boxes worked by hand, a round trip, and files that cannot be read."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from helpers.shapes import corner_distance, crowd

from al_rotate import boxes
from al_rotate.data import RotatedInstances
from al_rotate.data.formats import cvat
from al_rotate.data.formats.reading import Notes

BOX = (
    '<box label="ship" occluded="0" source="manual" xtl="10" ytl="20" xbr="50" ybr="40" {rotation} z_order="0">{}</box>'
)


def document(*shapes: str, labels: str = "", image: str = 'id="0" name="a/P1.jpg" width="200" height="100"') -> str:
    meta = f"<meta><task><name>t</name><labels>{labels}</labels></task></meta>"
    return f"<annotations><version>1.1</version>{meta}<image {image}>{''.join(shapes)}</image></annotations>"


def box(inside: str = "", rotation: str = "") -> str:
    return BOX.format(inside, rotation=rotation)


def read(folder: Path, content: str, classes: list[str] | None = None) -> tuple[RotatedInstances, list[str]]:
    (folder / "annotations.xml").write_text(content, encoding="utf-8")
    notes = Notes()
    return cvat.read(folder, classes, notes), list(notes)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (box(), [30, 30, 40, 20, 0]),
        (box(rotation='rotation="30.0"'), [30, 30, 40, 20, math.pi / 6]),
        (box(rotation='rotation="359.0"'), [30, 30, 40, 20, -math.pi / 180]),
        (box(rotation='rotation="180"'), [30, 30, 40, 20, 0]),
        ('<polygon label="ship" points="0.00,0.00;8,6;5,10;-3,4"/>', [2.5, 5, 10, 5, math.atan2(3, 4)]),
        ('<polygon label="ship" points="0,0;4,0;4,2;2,2;0,2"/>', [2, 1, 4, 2, 0]),
        ('<ellipse label="ship" cx="50" cy="40" rx="20" ry="5" rotation="45"/>', [50, 40, 40, 10, math.pi / 4]),
    ],
)
def test_the_box_of_a_shape(tmp_path: Path, shape: str, expected: list[float]) -> None:
    labels, _ = read(tmp_path, document(shape))
    assert labels.image_ids.tolist() == ["a/P1"]
    np.testing.assert_allclose(labels.boxes, [expected], atol=1e-5)
    assert labels.image_sizes is not None
    assert labels.image_sizes.tolist() == [[200, 100]]


def test_a_quarter_turn_is_clockwise_about_the_centre(tmp_path: Path) -> None:
    labels, _ = read(tmp_path, document(box(rotation='rotation="90"')))
    corners = boxes.to_corners(labels.boxes.astype(float))[0]
    assert {tuple(corner) for corner in corners.round(4).tolist()} == {(20, 10), (40, 10), (40, 50), (20, 50)}


def test_classes_are_the_tasks_in_its_order(tmp_path: Path) -> None:
    named = "".join(f"<label><name>{name}</name><type>any</type></label>" for name in ("tree", "ship"))
    named += "<label><name>part</name><parent>tree</parent></label>"
    labels, _ = read(tmp_path, document(box(), labels=named))
    assert labels.classes == ("tree", "ship")
    assert labels.labels.tolist() == [1]
    labels, _ = read(tmp_path, document(box(), box().replace("ship", "car")))
    assert labels.classes == ("car", "ship")
    labels, _ = read(tmp_path, document(box()), ["car", "ship"])
    assert labels.labels.tolist() == [1]
    with pytest.raises(ValueError, match="expected one of the classes car, got 'ship'"):
        read(tmp_path, document(box()), ["car"])


def test_difficult_is_an_attribute(tmp_path: Path) -> None:
    labels, _ = read(tmp_path, document(box('<attribute name="Difficult">true</attribute>'), box()))
    assert labels.difficult is not None
    assert labels.difficult.tolist() == [1, 0]


def test_what_has_no_extent_is_left_out_and_what_has_holds_its_image_back(tmp_path: Path) -> None:
    mask = '<mask label="ship" rle="1, 2" left="0" top="0" width="1" height="3"/>'
    content = document(box(), '<points label="x" points="1,1"/>', '<polyline label="x" points="1,1;2,2"/>', "<tag/>")
    labels, notes = read(tmp_path, content)
    assert labels.counts.tolist() == [1]
    assert [note.split(",")[0] for note in notes] == [
        f"1 shapes of the kind {kind} left out" for kind in ("points", "polyline", "tag")
    ]
    labels, (note,) = read(tmp_path, document(box(), mask))
    assert len(labels) == 0
    assert set(labels.skipped) == {"a/P1"}
    assert "a mask on it, which is no rectangle" in labels.skipped["a/P1"]
    assert note.startswith("1 images held back, for a mask on them is no rectangle")


def test_round_trip(tmp_path: Path) -> None:
    rows = boxes.canonical(crowd(0, 60))
    labels = RotatedInstances(
        ['a & "b"/P1', "P2", "c<d"],
        [0, 40, 40, 60],
        rows,
        np.arange(60) % 2,
        classes=['<"ship">', "käse & co"],
        difficult=np.arange(60) % 3,
        image_sizes=[[300, 300], [640, 480], [300, 310]],
    )
    path = cvat.write(labels, tmp_path / "out", {i: f"x/{k}.jpg" for k, i in enumerate(labels.image_ids)})
    assert path == tmp_path / "out" / "annotations.xml"
    again = cvat.read(path)
    assert again.classes == labels.classes
    for column in ("image_ids", "offsets", "labels", "difficult", "image_sizes"):
        np.testing.assert_array_equal(getattr(again, column), getattr(labels, column))
    assert corner_distance(labels.boxes, again.boxes).max() < 2e-4
    assert cvat.read(cvat.write(labels.replace(difficult=None), tmp_path / "b.xml")).difficult is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scores": [0.5]}, "expected labels, got detections"),
        ({"classes": None}, "expected instances with classes"),
        ({"image_sizes": None}, "expected the size of every image, got none for 'P1'"),
    ],
)
def test_what_cannot_be_written(tmp_path: Path, changes: dict, message: str) -> None:
    labels = RotatedInstances(["P1"], [0, 1], [[9, 9, 4, 2, 0]], [0], classes=["ship"], image_sizes=[[20, 20]])
    with pytest.raises(ValueError, match=message):
        cvat.write(labels.replace(**changes), tmp_path)
    with pytest.raises(ValueError, match="a file for every image in image_files, got none for 'P1'"):
        cvat.write(labels, tmp_path, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<annotation/>", "expected CVAT's <annotations>"),
        ("<annotations><track label='ship'/></annotations>", "got tracks; export the task as 'CVAT for images 1.1'"),
        ("<!DOCTYPE a [<!ENTITY x 'y'>]><annotations/>", "a document type"),
        (document(box()).replace("image>", "picture>").replace("<image", "<picture"), "and <image>, got <picture>"),
        (document(box(box())), "box 1: expected attributes in it alone, got <box>"),
        (document(image='id="0" width="9" height="9"'), "image '': expected the image's name to be a text"),
        (document(image='name="a.jpg" width="wide" height="9"'), "image 'a.jpg': expected width to be a number"),
        (document(image='name="a.jpg" width="-9" height="9"'), "image 'a.jpg': expected width to be a number from 0"),
        (document(box().replace('xbr="50"', 'xbr="5"')), "image 'a/P1.jpg': box 1: expected left <= right"),
        (document(box().replace('xbr="50"', "")), "image 'a/P1.jpg': box 1: expected xbr to be a number, got None"),
        (document(box(), box(rotation='rotation="inf"')), "image 'a/P1.jpg': box 2: expected rotation to be a number"),
        (document(box().replace('label="ship"', "")), "box 1: expected label to be a text"),
        (document('<polygon label="a" points="1,1;2,2"/>'), "polygon 1: expected points as x,y"),
        (document('<polygon label="a" points="1,1;2,2;3"/>'), "polygon 1: expected points as x,y"),
        (document('<polygon label="a"/>'), "polygon 1: expected points as x,y"),
        (document(box('<attribute name="difficult">300</attribute>')), "box 1: expected difficult"),
        (document().replace("</image>", "</image><image name='a/P1.png' width='9' height='9'/>"), "'a/P1' twice"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"annotations\.xml: ") as caught:
        read(tmp_path, content)
    assert message in str(caught.value)
