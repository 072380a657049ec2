"""Pages that show several objects, and regions with labels of several groups: which of them are the image's labels."""

import pytest
from helpers.bridge.drawn import BOX, answer, assert_boxes, polygon, read, rect, rows, task

from al_rotate.bridge.conversion import annotations
from al_rotate.bridge.conversion.label_config import LabelConfig
from al_rotate.bridge.conversion.options import ReadOptions

OTHER = "drawn on 'reference', another object of the page than 'image'"
FURTHER = [120, 30, 80, 20, 0]  # of rect(20)


def on(name, **more):
    return rect(20, to_name=name, name="r2", **more)


@pytest.mark.parametrize(
    ("regions", "options"),
    [
        ([rect(to_name="image"), on("reference")], {}),
        ([rect(to_name="image"), on("reference")], {"to_name": "image"}),
        ([rect(), on("reference")], {"to_name": "image"}),
        ([rect(to_name="image"), polygon([[0, 0], [9, 0], [0, 9]], name="r2", to_name="reference")], {}),
        ([rect(to_name="image"), on("reference", size=(80, 60))], {}),
        ([rect(to_name="image"), on("reference", label="what is there")], {}),
    ],
)
def test_what_is_drawn_on_another_object(regions, options):
    reading = read(task(answer(*regions)), **options)
    assert_boxes(reading.labels, [BOX])
    assert rows(reading) == [("a", 7, 5, "r2", "noted", OTHER)]


def test_the_object_is_chosen():
    assert_boxes(read(task(answer(rect(to_name="image"), on("reference"))), to_name="reference").labels, [FURTHER])
    assert_boxes(read(task(answer(rect(to_name="photo")))).labels, [BOX])  # the only one there is
    left = task(answer(rect(to_name="left"), on("right")))
    reading = read(left)
    assert len(reading.labels) == 0
    assert "drawn on 'left', and other regions on another of left, right: say which" in reading.quarantined["a"]
    assert_boxes(read(left, to_name="left").labels, [BOX])


def test_pages_of_one_task():
    reading = read(task(answer(rect(item_index=0), rect(20, name="r2", item_index=1))))
    assert_boxes(reading.labels, [BOX])
    assert rows(reading) == [("a", 7, 5, "r2", "noted", "drawn on another page of the task (item_index 1)")]


KIND, STATE = rect(from_name="kind"), rect(from_name="state", label="moored")


def test_labels_of_two_groups_on_one_box():
    reading = read(task(answer(KIND, STATE)), from_name="kind")
    assert_boxes(reading.labels, [BOX])
    note = "labels of state: an attribute of the box; kind gives its class"
    assert rows(reading) == [("a", 7, 5, "r1", "noted", note)]
    unclear = read(task(answer(KIND, STATE)))
    assert unclear.quarantined["a"].startswith("has labels of kind and state: say which of them gives the class")
    # Of regions with ids of their own each is an object.
    assert read(task(answer(KIND, rect(20, name="r2", from_name="other")))).labels.n_boxes == 2


def shape(x=10, name="r1", kind="rectangle", value=None, **more):
    """What <Rectangle> or <Polygon> gives."""
    region = rect(x, name=name, type=kind, from_name=kind, value={"rectanglelabels": ..., **(value or {})}, **more)
    return region


def named(label="ship", x=10, name="r1", value=None, group="label"):
    """What <Labels> gives, which repeats the shape."""
    value = {"rectanglelabels": ..., "labels": [label], **(value or {})}
    return rect(x, name=name, type="labels", from_name=group, value=value)


@pytest.mark.parametrize(
    ("result", "boxes", "labels"),
    [
        ([shape(), named("plane")], [BOX], [1]),
        ([named("plane"), shape()], [BOX], [1]),
        ([shape(), shape(20, "r2"), named("plane", 20, "r2"), named()], [BOX, FURTHER], [0, 1]),
        ([shape(), named(value={"x": 50})], [BOX], [0]),  # the shape says where
        ([named()], [BOX], [0]),
        ([shape(), named(), rect(20, name="r2")], [BOX, FURTHER], [0, 0]),
    ],
)
def test_shapes_with_labels_of_their_own(result, boxes, labels):
    reading = read(task(answer(*result)))
    assert_boxes(reading.labels, boxes)
    assert reading.labels.labels.tolist() == labels
    assert rows(reading) == []


@pytest.mark.parametrize(
    ("result", "detail"),
    [
        ([shape()], "a rectangle without a label"),
        ([shape(), named(name="r2", value={"width": ...})], "a rectangle without a label"),
        ([shape(), named("boat")], "unknown label 'boat'; the classes are ship, plane"),
        ([shape(kind="brush"), named(value={"width": ...})], "a brush region cannot become a rotated box"),
        ([shape(), named(), named("plane", group="state")], "has labels of label and state: say which of them"),
        ([rect(from_name="kind"), named("plane", group="state")], "has labels of kind and state: say which of them"),
    ],
)
def test_shapes_without_one_label(result, detail):
    reading = read(task(answer(*result)))
    assert len(reading.labels) == 0
    assert reading.quarantined["a"].startswith(detail)


def test_the_only_class_needs_no_label():
    """Also where the class has several labels, or one of another name."""
    boat = {"rename": {"boat": "ship"}}
    for options in ({"labels": ["ship"]}, {"labels": ["ship", "boat"], **boat}, {"labels": ["boat"], **boat}):
        reading = annotations.read([task(answer(rect(20, name="r2"), shape()))], ["ship"], **options)
        assert_boxes(reading.labels, [FURTHER, BOX])
        assert reading.labels.labels.tolist() == [0, 0]
        detail = "a rectangle without a label, taken as ship, the only class"
        assert rows(reading) == [("a", 7, 5, "r1", "noted", detail)]
    points = {"points": [[10, 10], [30, 10], [30, 20], [10, 20]], "x": ..., "y": ..., "width": ..., "height": ...}
    drawn = answer(shape(kind="polygon", value=points))
    reading = annotations.read([task(drawn)], ["ship"], labels=["ship"])
    assert_boxes(reading.labels, [BOX])
    assert rows(reading)[0][5].endswith("the only class; a polygon, taken as its smallest rectangle")
    refused = annotations.read([task(drawn)], ["ship"], labels=["ship"], polygons=False).quarantined["a"]
    assert refused.startswith("a polygonlabels region cannot become a rotated box")


def test_a_shape_without_a_label_may_be_of_any_label_of_the_project():
    """Though the workspace has one class: people added cloud, or nobody knows what the project has."""
    unclear = "a rectangle without a label: select it in the browser, choose its label, and update"
    for labels in (["ship", "cloud"], ["cloud"], None):
        reading = annotations.read([task(answer(rect(20, name="r2"), shape()))], ["ship"], labels=labels)
        assert (len(reading.labels), reading.quarantined) == (0, {"a": unclear})
    for names, expected in (("ship",), "ship"), (("ship", "cloud"), None):
        assert ReadOptions(["ship"]).completed(LabelConfig(names)).only_label() == expected
    assert ReadOptions(["ship", "plane"], rename={"boat": "ship"}, labels=["boat"]).only_label() is None


def test_polygons_with_labels_of_their_own():
    points = {"points": [[10, 10], [30, 10], [30, 20], [10, 20]], "x": ..., "y": ..., "width": ..., "height": ...}
    result = [shape(kind="polygon", value=points), named(value=points)]
    assert_boxes(read(task(answer(*result))).labels, [BOX])
    held_back = read(task(answer(*result)), polygons=False).quarantined
    assert held_back["a"].startswith("a polygonlabels region cannot become a rotated box")
