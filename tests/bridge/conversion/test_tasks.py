"""Images with their predicted boxes as Label Studio's tasks, and which image a task shows."""

import json
import math

import numpy as np
import pytest

from al_rotate import RotatedInstances
from al_rotate.bridge.conversion import annotations, tasks
from al_rotate.bridge.conversion.label_config import LabelConfig

CLASSES = ("ship", "storage tank")
CONFIG = LabelConfig(CLASSES, "box", "photo", "photo_url")
SIZE = (400, 200)
KINDS = (("rectangle", "rect"), ("labels", "label"))


def detections(*rows, names=("a",), **more):
    """Detections of rows (cx, cy, w, h, theta, label, score)."""
    table = np.array(rows, float).reshape(-1, 7)
    options = {"scores": table[:, 6], "classes": CLASSES} | more
    offsets = [0, *[len(table)] * len(names)]
    return RotatedInstances(list(names), offsets, table[:, :5], table[:, 5].astype(int), **options)


def sent(boxes, model_version="m"):
    """The prediction of image "a"."""
    return tasks.image_task("a", "a.png", SIZE, CONFIG, boxes, model_version=model_version)["predictions"][0]


def ids_of(boxes, model_version="m"):
    """The ids of its regions."""
    return [region["id"] for region in sent(boxes, model_version)["result"]]


TWO = detections([80, 30, 80, 20, 0, 1, 0.75], [200, 100, 100, 50, -math.pi / 2, 0, 0.5])


def test_a_task():
    task = tasks.image_task(
        "a", "/data/a.png", SIZE, CONFIG, TWO, model_version="round-002", uncertainty=0.25, rank=3, round=2, why="Big."
    )
    tasks.check(task, CONFIG)
    assert task["data"] == {
        "photo_url": "/data/a.png",
        "al_image_id": "a",
        "al_rank": 3,
        "al_uncertainty": 0.25,
        "al_round": 2,
        "al_why": "Big.",
    }
    (prediction,) = task["predictions"]
    placed = tasks.image_task("a", "x", SIZE, CONFIG, TWO, model_version="m", uncertainty=0.25, score=0.5)
    assert (placed["data"]["al_uncertainty"], placed["predictions"][0]["score"]) == (0.25, 0.5)
    unsure = tasks.image_task("a", "x", SIZE, CONFIG, TWO, model_version="m", score=0.75)  # only its place is known
    assert (unsure["data"]["al_uncertainty"], unsure["predictions"][0]["score"]) == (None, 0.25)
    # One version for all weights, or else tasks of earlier rounds would open empty; the lowest score comes first.
    assert (prediction["model_version"], prediction["score"]) == ("pushed by al_rotate", 0.75)
    upright, turned = prediction["result"]
    assert upright.pop("value") == {
        "x": 10.0,
        "y": 10.0,
        "width": 20.0,
        "height": 10.0,
        "rotation": 0.0,
        "rectanglelabels": ["storage tank"],
    }
    # A quarter turn to the left about the centre takes the corner at the origin to (175, 150).
    value = turned["value"]
    corner = [value[name] for name in ("x", "y", "width", "height")]
    np.testing.assert_allclose(corner, [43.75, 75, 25, 25], atol=1e-6)
    assert value["rotation"] % 360 == pytest.approx(270)
    assert upright == {
        "id": "e53668e4_30c9a17f591f",  # see test_region_ids
        "type": "rectanglelabels",
        "from_name": "box",
        "to_name": "photo",
        "original_width": 400,
        "original_height": 200,
        "image_rotation": 0,
        "score": 0.75,
    }


def test_a_rectangle_with_labels_of_its_own():
    """Each box is two entries that share an id; read back, they are the boxes."""
    config = LabelConfig(CLASSES, "label", "photo", "photo_url", "rect")
    task = tasks.image_task("a", "/data/a.png", SIZE, config, TWO, model_version="m")
    tasks.check(task, config)
    result = task["predictions"][0]["result"]
    assert [(entry["type"], entry["from_name"], entry["id"]) for entry in result] == [
        (kind, name, region_id) for region_id in ids_of(TWO) for kind, name in KINDS
    ]
    assert tasks.region_names(task["predictions"][0]) == ids_of(TWO)
    assert [entry["value"].get("labels") for entry in result] == [None, ["storage tank"], None, ["ship"]]
    annotation = {"id": 1, "result": result}
    reading = annotations.read([{**task, "annotations": [annotation]}], CLASSES, image_key="photo_url")
    np.testing.assert_allclose(reading.labels.boxes[:, :4], TWO.boxes[:, :4], atol=1e-4)
    np.testing.assert_allclose(np.abs(reading.labels.boxes[:, 4]), [0, math.pi / 2], atol=1e-6)
    assert reading.labels.labels.tolist() == [1, 0]
    with pytest.raises(ValueError, match="expected one of the labels"):
        tasks.check(task, LabelConfig(("ship",), "label", "photo", "photo_url", "rect"))


def test_what_hardly_lies_in_the_image_is_not_sent():
    boxes = detections([398, 30, 80, 20, 0, 0, 0.9], [450, 30, 80, 20, 0, 0, 0.8], [80, 30, 80, 20, 0, 0, 0.7])
    np.testing.assert_allclose([region["score"] for region in sent(boxes)["result"]], [0.9, 0.7])


@pytest.mark.parametrize(
    ("box", "values", "importable"),
    [
        ([380, 100, 60, 20, 1], (93.05141, 34.67642, 15, 10, 57.29578), True),  # from its own top-left corner
        # That would be at 400.2 x 69.4: from the next one, at 408 - 16.209 - 8.415, 100 - 25.244 + 5.403.
        ([408, 100, 60, 20, 1], (95.84405, 40.07945, 5, 30, 327.29578), True),
        ([200, 100, 500, 20, 0], (-12.5, 45, 125, 10, 0), False),
    ],
)
def test_boxes_that_leave_the_image(box, values, importable):
    task = tasks.image_task("a", "a.png", SIZE, CONFIG, detections([*box, 0, 0.9]), model_version="m")
    ((region,),) = (prediction["result"] for prediction in task["predictions"])
    assert list(region["value"].values())[:5] == pytest.approx(values, abs=1e-4)
    assert tasks.is_importable(task["predictions"][0]) == importable


def test_no_prediction_and_an_empty_one():
    assert "predictions" not in tasks.image_task("a", "a.png", SIZE, CONFIG)
    task = tasks.image_task("a", "a.png", SIZE, CONFIG, detections(scores=None), model_version="m")
    assert task["predictions"] == [{"model_version": "pushed by al_rotate", "result": []}]


@pytest.mark.parametrize(
    "detections",
    [detections(names=("a", "b")), detections(classes=None), detections([9, 9, 5, 5, 0, 0, 1], scores=None)],
)
def test_what_is_no_prediction(detections):
    with pytest.raises(ValueError, match="expected one image's detections with classes and scores"):
        tasks.prediction("a", SIZE, CONFIG, detections, "m")


def test_region_ids():
    """The same each time; different for other weights, images, boxes and labels."""
    boxes = ([10, 10, 20, 10, 0], [10, 10, 20, 10, 0.001], [20, 10, 10, 10, 0])

    def ids():
        return [
            tasks.region_id(version, image_id, numbers, label)
            for version in ("round-002", "round-001")
            for image_id in ("a", "ä/ö", "b\nc")
            for numbers in boxes
            for label in ("storage tank", "ship")
        ]

    assert len({*ids()}) == 36
    assert ids() == ids()
    # Of `printf 'round-002\na' | sha256sum`, which stays from release to release, and of
    # `printf '10.0000\n10.0000\n20.0000\n10.0000\n0.0000\nstorage tank' | sha256sum`.
    assert ids()[0] == "e53668e4_30c9a17f591f"
    assert tasks.region_id("round-002", "a", [10, 10, 20, 10, -1e-9], "storage tank") == ids()[0]


def test_the_id_of_a_box_does_not_tell_what_is_shown_beside_it():
    """A rule that is learnt leaves out boxes between others."""
    row = [80, 30, 80, 20, 0]
    three = detections([*row, 0, 0.9], [*row, 1, 0.8], [200, 100, 100, 50, 0, 0, 0.7])
    for chosen in ([0, 2], [1, 2], [2], [1]):
        some = three.where(np.isin(range(3), chosen))
        assert ids_of(some) == [ids_of(three)[k] for k in chosen]
    # Merged classes may give one box twice: the second one has an id of its own, and is dropped when it comes back.
    twice = detections([*row, 0, 0.9], [*row, 0, 0.8])
    first, second = ids_of(twice)
    assert (first, second) == (ids_of(three)[0], f"{first}_2")
    tasks.check({"data": {"photo_url": "a.png", "al_image_id": "a"}, "predictions": [sent(twice)]}, CONFIG)


def test_names_of_regions_that_other_versions_pushed():
    """Version 0.1 numbered the boxes that were shown; the weights and the boxes are told all the same."""
    old = sent(TWO)
    for k, region in enumerate(old["result"]):
        region["id"] = f"{region['id'].partition('_')[0]}_{k}"
    assert tasks.region_names(old) == ids_of(TWO)
    assert tasks.region_names(sent(TWO.where([False, True]))) == ids_of(TWO)[1:]
    assert tasks.region_names(sent(TWO, "n")) == ids_of(TWO, "n") != ids_of(TWO)


@pytest.mark.parametrize(
    ("result", "names"),
    [
        (None, []),
        ([3], []),
        ([{}], [None]),
        ([{"id": "x"}], ["x"]),
        ([{"id": "x", "value": {"x": "1"}}], ["x"]),
        ([{"id": "x", "type": "choices", "value": {"choices": ["clear"]}}], ["x"]),
    ],
)
def test_names_of_what_somebody_else_imported(result, names):
    assert tasks.region_names({"result": result}) == names


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"al_image_id": "harbour/3", "image": "x.png"}, "harbour/3"),
        ({"image": "P0001.png"}, "P0001"),
        ({"al_image_id": "", "image": "P0001.png"}, "P0001"),
        ({"al_image_id": 7}, "7"),
    ],
)
def test_image_ids(data, expected):
    assert tasks.image_id_of(data) == expected


@pytest.mark.parametrize("data", [{}, {"photo": "a.png"}, {"image": ""}, {"image": None}, {"image": ["a.png"]}])
def test_a_task_without_an_image(data):
    with pytest.raises(ValueError, match=r"expected al_image_id or image in a task's data, got \{"):
        tasks.image_id_of(data)


def edited(path, value):
    """A valid task with one value changed."""
    task = json.loads(json.dumps(tasks.image_task("a", "a.png", SIZE, CONFIG, TWO, model_version="m", uncertainty=0.5)))
    *parents, last = path
    place = task
    for key in parents:
        place = place[key]
    place[last] = value
    return task


PREDICTION = ("predictions", 0)
REGION = (*PREDICTION, "result", 1)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("data", "al_image_id"), "", "an image id"),
        (("data", "photo_url"), None, "an address under 'photo_url'"),
        (("data", "al_uncertainty"), math.nan, "JSON"),
        ((*PREDICTION, "model_version"), None, "a model_version"),
        ((*PREDICTION, "score"), math.inf, "a finite score"),
        ((*PREDICTION, "result", 1), "region", "regions"),
        ((*REGION, "value"), None, "regions"),
        ((*REGION, "value", "x"), math.nan, "finite numbers"),
        ((*REGION, "value", "rotation"), None, "finite numbers"),
        ((*REGION, "value", "width"), "20", "finite numbers"),
        ((*REGION, "value", "height"), True, "finite numbers"),
        ((*REGION, "value", "rectanglelabels"), ["boat"], "one of the labels ship, storage tank"),
        ((*REGION, "id"), ids_of(TWO)[0], "regions with ids of their own"),
        ((*REGION, "score"), {1}, "JSON"),
    ],
)
def test_what_label_studio_cannot_import(path, value, message):
    image_id = "''" if path == ("data", "al_image_id") else "'a'"
    with pytest.raises(ValueError, match=f"expected {message} in the task of image {image_id}, got"):
        tasks.check(edited(path, value), CONFIG)
