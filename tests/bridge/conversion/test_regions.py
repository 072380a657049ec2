"""Which regions become boxes, and what happens to the others, with values computed by hand."""

import numpy as np
import pytest
import shapely
from helpers.bridge.drawn import BOX, SIZE, answer, assert_boxes, polygon, read, rect, rows, task

from al_rotate import boxes as rboxes

QUARTER = np.pi / 2
UPRIGHT = [30, 60, 80, 20, -QUARTER]  # a quarter turn takes w down and h to the left of (40, 20)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"value": {"rotation": ...}}, BOX),
        ({"value": {"rotation": None}}, BOX),
        ({"value": {"rotation": 90}}, UPRIGHT),
        ({"value": {"rotation": 450}}, UPRIGHT),
        ({"value": {"rotation": -270}}, UPRIGHT),
        ({"value": {"y": 20, "rotation": 720 - 90}}, [50, 0, 80, 20, -QUARTER]),
        ({"value": {"y": 20, "height": -10}}, [80, 30, 80, 20, 0]),
        ({"value": {"x": 30, "width": -20}}, BOX),
        ({"value": {"width": 5, "height": 40}}, [50, 60, 80, 20, -QUARTER]),
        # 300 % wide, and in the image: a long box upright in a narrow image.
        ({"size": (100, 1000), "value": {"x": 50, "width": 300, "height": 2, "rotation": 90}},
         [40, 250, 300, 20, -QUARTER]),
        ({"size": (400.0, 200.0)}, BOX),
        ({"image_rotation": 0, "score": 0.5, "meta": {"text": "?"}}, BOX),
    ],
)  # fmt: skip
def test_a_region(changes, expected):
    reading = read(task(answer(rect(**changes))))
    assert_boxes(reading.labels, [expected])


NUMBERS = "expected x, y, width, height, rotation as numbers below 1e+09, got"


@pytest.mark.parametrize(
    ("region", "detail"),
    [
        (rect(label="boat"), "unknown label 'boat'; the classes are ship, plane"),
        (rect(value={"rectanglelabels": ["ship", "plane"]}), "expected one label, got ['ship', 'plane']"),
        (rect(value={"rectanglelabels": []}), "expected one label, got none"),
        (rect(value={"rectanglelabels": ...}), "expected one label, got none"),
        (rect(value={"rectanglelabels": [["ship"]]}), "unknown label ['ship']; the classes are ship, plane"),
        *((rect(type=f"{kind}labels"), f"a {kind}labels region cannot become a rotated box")
          for kind in ("brush", "ellipse", "keypoint")),
        (rect(type="rectangle"), "a rectangle without a label: select it in the browser, choose its label, and update"),
        (rect(type=...), "a None region cannot become a rotated box"),
        (rect(type=["choices"]), "a ['choices'] region cannot become a rotated box"),
        (rect(value={"x": float("nan")}), f"{NUMBERS} [nan, 10, 20, 10, 0]"),
        (rect(value={"width": float("inf")}), f"{NUMBERS} [10, 10, inf, 10, 0]"),
        (rect(value={"rotation": "90"}), f"{NUMBERS} [10, 10, 20, 10, '90']"),
        (rect(value={"height": True}), f"{NUMBERS} [10, 10, 20, True, 0]"),
        (rect(value={"y": ...}), f"{NUMBERS} [10, None, 20, 10, 0]"),
        (rect(value={"x": 1e300}), f"{NUMBERS} [1e+300, 10, 20, 10, 0]"),
        (rect(value={"x": 10**400}), f"{NUMBERS} [1{'0' * 400}, 10, 20, 10, 0]"),
        (rect(image_rotation=90), "drawn on a view turned by 90 degrees: turn it back and draw it again"),
        *((rect(original_height=side), "expected original_width and original_height, got "
           f"(400, {None if side is ... else side}), and the image's size is unknown")
          for side in (..., None, 0, float("nan"))),
        (rect(x=110), "0% of the box lies in the image: it goes from (440, 20) to (520, 40) in 400 x 200 pixels"),
        (rect(value={"y": -30}),
         "0% of the box lies in the image: it goes from (40, -60) to (120, -40) in 400 x 200 pixels"),
        (rect(x=98.6), "7% of the box lies in the image: it goes from (394, 20) to (474, 40) in 400 x 200 pixels"),
        # Every number times 100, as pages before 1.7 saved boxes drawn before the image had loaded.
        (rect(value={"x": 1000, "y": 1000, "width": 2000, "height": 1000}),
         "0% of the box lies in the image: it goes from (4000, 2000) to (12000, 4000) in 400 x 200 pixels"),
        (rect(x=0, value={"y": 0, "width": 2000, "height": 1000}),
         "0% of the box lies in the image: it goes from (0, 0) to (8000, 2000) in 400 x 200 pixels"),
        (rect(x=0.1, value={"y": 0.1, "width": 0.2, "height": 0.1}),
         "smaller than a pixel (0.8 x 0.2 px): are its numbers fractions, not percent?"),
        ({"id": "r1", "type": "choice"}, "expected a region with a value, got {'id': 'r1', 'type': 'choice'}"),
    ],
)  # fmt: skip
def test_what_may_hide_an_object_quarantines_its_image(region, detail):
    reading = read(task(answer(rect(name="good"), region)), task(answer(rect()), image="b", number=8))
    assert reading.labels.image_ids.tolist() == reading.costs["image_id"].tolist() == ["b"]
    assert (reading.unanswered, reading.quarantined) == (["a"], {"a": detail})
    assert rows(reading) == [("a", 7, 5, "r1", "quarantined", detail)]


def test_all_problems_are_reported():
    reading = read(task(answer(rect(label="boat"), "scribble", rect(name="r3", type="brushlabels"))))
    assert [row[3:5] for row in rows(reading)] == [(name, "quarantined") for name in ("r1", None, "r3")]
    assert reading.quarantined["a"] == "unknown label 'boat'; the classes are ship, plane (and 2 more)"


@pytest.mark.parametrize(
    ("region", "action", "detail", "kept"),
    [
        (rect(value={"width": 0}), "dropped", "a box without a size (20 x 0 px)", 1),
        (rect(value={"width": 0.002, "height": 0.004}), "dropped", "a box without a size (0.008 x 0.008 px)", 1),
        (rect(type="choices"), "noted", "choices is not about a box", 1),
        ({"id": "r1", "type": "relation"}, "noted", "relation is not about a box", 1),
        (rect(x=-10), "noted", "lies partly outside the image; kept", 2),
        (rect(value={"rotation": 180}), "noted", "lies partly outside the image; kept", 2),
        (rect(x=97.9), "noted", "lies partly outside the image; kept", 2),  # a tenth of it lies inside
        (rect(), "dropped", "the same box with the same label is there already", 1),
        (rect(name="good"), "dropped", "the same box with the same label is there already", 1),
        (rect(11, name="good"), "noted", "another region has the same id; both are kept", 2),
    ],
)
def test_dropped_and_odd_regions_are_reported(region, action, detail, kept):
    reading = read(task(answer(rect(name="good"), region)))
    assert reading.labels.n_boxes == kept
    assert (reading.quarantined, reading.unanswered) == ({}, [])
    assert rows(reading) == [("a", 7, 5, region["id"], action, detail)]


def test_double_and_missing_region_ids():
    reading = read(task(answer(rect(), rect(x=20), rect(x=30, name=...), rect(x=40, name=...), rect(x=50, name="r2"))))
    assert reading.label_ids.tolist() == ["r1", None, None, None, "r2"]
    assert [row[5] for row in rows(reading)] == ["another region has the same id; both are kept"]


def test_an_overhang_below_half_a_pixel_is_not_reported():
    reading = read(task(answer(rect(value={"x": -0.1, "width": 100.2}))))  # 0.4 px to both sides
    assert (rows(reading), reading.labels.n_boxes) == ([], 1)


@pytest.mark.parametrize("seed", range(5))
def test_a_polygon_becomes_its_smallest_rectangle(seed):
    points = np.random.default_rng(seed).uniform([30, 35], [70, 65], (3 + seed, 2))
    reading = read(task(answer(polygon(points.tolist()))))
    shape = shapely.MultiPoint(points * SIZE / 100)
    (rectangle,) = shapely.polygons(rboxes.to_corners(reading.labels.boxes.astype(float)))
    assert rectangle.buffer(1e-3).covers(shape)
    areas = (shapely.affinity.rotate(shape, degrees, (0, 0)).envelope.area for degrees in np.arange(0, 90, 0.25))
    assert rectangle.area <= min(areas) + 0.1
    assert reading.labels.labels.tolist() == [1]
    assert rows(reading) == [("a", 7, 5, "r1", "noted", "a polygon, taken as its smallest rectangle")]


@pytest.mark.parametrize(
    "points", [[[0, 0], [9, 9]], [0, 0, 9, 0, 9, 9], [[0], [0, 9], [9, 9, 9]], [[0, 0], [9, 0], [9, "9"]], None]
)
def test_what_is_no_polygon(points):  # fmt: skip
    expected = f"expected a polygon of at least three points, got {points}"
    assert read(task(answer(polygon(points)))).quarantined == {"a": expected}


def test_polygons_can_be_held_back():
    reading = read(task(answer(polygon([[0, 0], [10, 0], [0, 10]]))), polygons=False)
    assert reading.quarantined == {
        "a": "a polygonlabels region cannot become a rotated box; read with polygons=True to take it as its smallest "
        "rectangle"
    }
    assert len(reading.labels) == 0


@pytest.mark.parametrize("points", [[[10, 10]] * 3, [[10, 10], [20, 20], [30, 30]]])
def test_a_flat_polygon_is_dropped(points):
    reading = read(task(answer(polygon(points))))
    assert (reading.labels.counts.tolist(), [row[4] for row in rows(reading)]) == ([0], ["dropped"])


def test_the_size_that_the_detector_sees():
    sizes = {"a": SIZE}
    assert_boxes(read(task(answer(rect())), sizes=sizes).labels, [BOX])
    assert_boxes(read(task(answer(rect(original_width=...))), sizes=sizes).labels, [BOX])
    tasks = [task(answer(rect(size=size))) for size in [(200, 400), (800, 400)]]
    assert [read(entry, sizes=sizes).quarantined["a"] for entry in tasks] == [
        "drawn on 200 x 400 pixels, the image has 400 x 200: drawn on it before its EXIF orientation was applied",
        "drawn on 800 x 400 pixels, the image has 400 x 200: of another version of it",
    ]
    # The size is unknown, and two regions disagree.
    reading = read(task(answer(rect(), rect(name="r2", size=(800, 400)))))
    detail = "drawn on 800 x 400 pixels, a region before it on 400 x 200"
    assert rows(reading) == [("a", 7, 5, "r2", "quarantined", detail)]
