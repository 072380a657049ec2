"""COCO files: what is written, as pycocotools sees it, and every kind of annotation that is read or refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from al_rotate import boxes
from al_rotate.data import RotatedInstances
from al_rotate.data.formats import coco


def some_labels(**changes: Any) -> RotatedInstances:
    arguments = {
        "image_ids": ["part1/P1", "P2.v2", "P3"],
        "offsets": [0, 2, 2, 3],
        "boxes": boxes.canonical(np.float32([[20, 24, 20, 8, 0], [100.3, 80.7, 50, 10, 0.5], [30, 40, 9, 9, -1]])),
        "labels": [1, 0, 1],
        "classes": ["ship", "small vehicle", "never there"],
        "image_sizes": [[640, 480], [100, 200], [64, 64]],
    }
    return RotatedInstances(**{**arguments, **changes})


def document(*annotations: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A COCO file of one image, 200 x 100, whose annotations are these, with image and category filled in."""
    filled = [{"id": n, "image_id": 7, "category_id": 5, **a} for n, a in enumerate(annotations, start=1)]
    return {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 200, "height": 100}],
        "categories": [{"id": 5, "name": "ship"}, {"id": 3, "name": "plane"}],
        "annotations": filled,
        **changes,
    }


def read(tmp_path: Path, content: Any, classes: list[str] | None = None) -> RotatedInstances:
    path = tmp_path / "labels.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return coco.read(path, classes)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"scores": [0.1, 0.25, 1.0]},
        {"difficult": [1, 0, 2]},
        {"image_ids": [], "offsets": [0], "boxes": [], "labels": [], "image_sizes": []},
        {"offsets": [0, 0, 0, 0], "boxes": [], "labels": []},
    ],
)
def test_round_trip_is_exact(tmp_path: Path, changes: dict[str, Any]) -> None:
    labels = some_labels(**changes)
    path = coco.write(labels, tmp_path / "deep" / "labels.json")
    assert path == tmp_path / "deep" / "labels.json"
    assert coco.read(path) == labels


def test_round_trip_of_many_random_boxes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n = 25_000  # more than are turned into text at a time
    rectangles = rng.uniform([-10, -10, 0, 0, -10], [5000, 5000, 300, 300, 10], (n, 5)).astype(np.float32)
    counts = rng.multinomial(n, np.full(40, 1 / 40))
    labels = RotatedInstances(
        [f"P{i}" for i in range(40)],
        [0, *np.cumsum(counts)],
        boxes.canonical(rectangles),
        rng.integers(0, 3, n),
        scores=rng.random(n),
        classes=["a", "b", "c"],
        image_sizes=np.full((40, 2), 5000),
    )
    assert coco.read(coco.write(labels, tmp_path / "labels.json")) == labels


def test_what_is_written(tmp_path: Path) -> None:
    labels = some_labels(scores=[0.5, 0.25, 0.125], difficult=[0, 1, 0])
    files = {"part1/P1": tmp_path / "images" / "part1" / "P1.PNG", "P2.v2": "P2.v2.jpeg", "P3": "P3.tif"}
    path = coco.write(labels, tmp_path / "labels.json", files)
    data = json.loads(path.read_text())
    assert data["images"] == [
        {"id": 1, "file_name": "part1/P1.PNG", "width": 640, "height": 480},
        {"id": 2, "file_name": "P2.v2.jpeg", "width": 100, "height": 200},
        {"id": 3, "file_name": "P3.tif", "width": 64, "height": 64},
    ]
    assert data["categories"] == [
        {"id": 1, "name": "ship"},
        {"id": 2, "name": "small vehicle"},
        {"id": 3, "name": "never there"},
    ]
    level, turned, square = data["annotations"]
    assert level == {
        "id": 1,
        "image_id": 1,
        "category_id": 2,
        "segmentation": [[10, 20, 30, 20, 30, 28, 10, 28]],
        "bbox": [10, 20, 20, 8],
        "area": 160,
        "iscrowd": 0,
        "attributes": {"rotation": 0, "rotated_box": [20, 24, 20, 8, 0], "difficult": 0},
        "score": 0.5,
    }
    assert turned["area"] == 500  # of the rotated box, not of its hull
    assert turned["bbox"][2] == pytest.approx(50 * math.cos(0.5) + 10 * math.sin(0.5))
    assert turned["bbox"][3] == pytest.approx(50 * math.sin(0.5) + 10 * math.cos(0.5))
    assert turned["attributes"]["rotation"] == pytest.approx(math.degrees(0.5))
    assert turned["attributes"]["rotated_box"] == labels.boxes[1].tolist()
    assert square["image_id"] == 3
    assert coco.read(path) == labels


def test_pycocotools_opens_and_evaluates_it(tmp_path: Path) -> None:
    pycocotools = pytest.importorskip("pycocotools.coco")
    from pycocotools.cocoeval import COCOeval

    labels = some_labels()
    truth = pycocotools.COCO(str(coco.write(labels, tmp_path / "labels.json")))
    assert sorted(truth.getImgIds()) == [1, 2, 3]
    assert [c["name"] for c in truth.loadCats(truth.getCatIds())] == ["ship", "small vehicle", "never there"]
    assert truth.getAnnIds(imgIds=[2]) == []
    # The mask that pycocotools makes of the polygon covers the rotated box, not its hull.
    (turned,) = truth.loadAnns([2])
    assert truth.annToMask(turned).sum() == pytest.approx(500, abs=30)

    path = coco.write(labels.replace(scores=[0.9, 0.8, 0.7]), tmp_path / "detections.json")
    detections = truth.loadRes(json.loads(path.read_text())["annotations"])
    evaluation = COCOeval(truth, detections, "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :2, 0, -1]  # of the two classes with labels
    assert precision.min() == pytest.approx(1.0)


def test_write_says_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    with pytest.raises(ValueError, match="expected instances with classes"):
        coco.write(some_labels(classes=None), path)
    with pytest.raises(ValueError, match=r"0 x 0 for 'part1/P1'; give .* instances.replace\(image_sizes="):
        coco.write(some_labels(image_sizes=None), path)
    with pytest.raises(ValueError, match=r"got 0 x 200 for 'P2.v2'"):
        coco.write(some_labels(image_sizes=[[640, 480], [0, 200], [64, 64]]), path)
    with pytest.raises(ValueError, match=r"a file for every image in image_files, got none for 'P2.v2'"):
        coco.write(some_labels(), path, {"part1/P1": "P1.png"})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        # The first available of: the rotated box, the polygon, the turned bbox, the bbox.
        (
            {
                "attributes": {"rotated_box": [50, 40, 10, 20, 0], "rotation": 45},
                "segmentation": [[0, 0, 9, 0, 9, 9, 0, 9]],
                "bbox": [0, 0, 1, 1],
            },
            [50, 40, 20, 10, -np.pi / 2],
        ),
        (
            {
                "attributes": {"rotation": 45},
                "segmentation": [[0, 4, 6, 4, 6, 0, 0, 0]],
                "bbox": [0, 0, 1, 1],
            },
            [3, 2, 6, 4, 0],
        ),
        ({"attributes": {"rotation": 30}, "segmentation": [], "bbox": [10, 20, 8, 4]}, [14, 22, 8, 4, np.pi / 6]),
        ({"attributes": {"rotation": 330.0}, "bbox": [10, 20, 8, 4]}, [14, 22, 8, 4, -np.pi / 6]),
        ({"bbox": [10, 20, 8, 4]}, [14, 22, 8, 4, 0]),
        ({"segmentation": None, "attributes": None, "bbox": [10, 20, 4, 8]}, [12, 24, 8, 4, -np.pi / 2]),
        # A 3-4-5 triangle, a turned L of six points, two parts, a closed ring, points on a line.
        ({"segmentation": [[0, 0, 4, 0, 0, 3]]}, [2, 1.5, 4, 3, 0]),
        ({"segmentation": [[0, 0, 8, 6, 6.5, 8, 2.5, 5, 1, 7, -3, 4]]}, [2.5, 5, 10, 5, math.atan2(3, 4)]),
        ({"segmentation": [[0, 0, 4, 0, 4, 2, 0, 2], [6, 0, 10, 0, 10, 2, 6, 2]]}, [5, 1, 10, 2, 0]),
        ({"segmentation": [[0, 0, 6, 0, 6, 4, 0, 4, 0, 0]]}, [3, 2, 6, 4, 0]),
        ({"segmentation": [[0, 0, 3, 4, 6, 8]]}, [3, 4, 10, 0, math.atan2(4, 3)]),
        ({"segmentation": [[5, 6, 5, 6, 5, 6]]}, [5, 6, 0, 0, 0]),
    ],
)
def test_the_box_of_an_annotation(tmp_path: Path, annotation: dict[str, Any], expected: list[float]) -> None:
    labels = read(tmp_path, document(annotation))
    assert labels.image_ids.tolist() == ["a"]
    np.testing.assert_allclose(labels.boxes, [expected], atol=1e-5)


@pytest.mark.parametrize(
    ("region", "reason"),
    [
        ({"segmentation": {"size": [9, 9], "counts": "abc"}, "bbox": [1, 1, 2, 2]}, "is a mask (RLE); export polygons"),
        ({"iscrowd": 1, "segmentation": {"size": [9, 9], "counts": [1, 80]}}, "is a crowd (iscrowd 1)"),
    ],
)
def test_an_image_with_a_region_is_held_back_alone(tmp_path: Path, region: dict[str, Any], reason: str) -> None:
    content = document({"bbox": [1, 2, 3, 4]}, {"id": 41, **region})
    content["images"].append({"id": 8, "file_name": "b.jpg"})
    content["annotations"].append({"id": 42, "image_id": 8, "category_id": 5, "bbox": [0, 0, 4, 2]})
    labels = read(tmp_path, content)
    assert labels.image_ids.tolist() == ["b"]
    assert labels.boxes.tolist() == [[2, 1, 4, 2, 0]]
    assert [*labels.skipped] == ["a"]
    assert f"labels.json: annotation 41 {reason}" in labels.skipped["a"]


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        ({"iscrowd": 2, "bbox": [1, 2, 3, 4]}, "expected iscrowd to be a number from 0 to 1, got 2"),
        ({"bbox": [1, 2, 3, 4, 0.5]}, "expected bbox as x, y, w, h, got [1, 2, 3, 4, 0.5]: COCO has no angle there"),
        ({"segmentation": [[0, 0, 1, 1]]}, "expected polygons of at least 3 points, got 4 numbers"),
        ({"segmentation": [[0, 0, 1, 1, 2, 2, 3]]}, "expected polygons of at least 3 points, got 7 numbers"),
        ({"segmentation": [0, 0, 4, 0, 4, 4]}, "expected polygon of finite numbers, got 0"),
        ({"segmentation": [[0, 0, "4", 0, 4, 4]]}, "expected polygon of finite numbers"),
        ({"segmentation": "abc"}, "expected segmentation to be a list of polygons, got 'abc'"),
        ({}, "expected bbox of 4 finite numbers, got None"),
        ({"bbox": [1, 2, -3, 4]}, "expected bbox as x, y, w, h with w, h >= 0"),
        ({"bbox": [1, 2, 3, math.nan]}, "expected bbox of 4 finite numbers"),
        ({"bbox": [1, 2, 3, 4], "attributes": {"rotation": "45"}}, "expected rotation to be a number"),
        ({"attributes": {"rotated_box": [1, 2, 3, 4]}}, "expected rotated_box of 5 finite numbers"),
        ({"attributes": {"rotated_box": [1, 2, 3, -4, 0]}}, "expected rotated_box with sides w, h >= 0"),
        ({"attributes": {"rotated_box": [1, 2, 3, 4, 45]}}, "expected theta of rotated_box in radians"),
        ({"image_id": 8, "bbox": [1, 2, 3, 4]}, "expected the id of one of the images, got 8"),
        ({"category_id": 9, "bbox": [1, 2, 3, 4]}, "expected one of the classes plane, ship, got 9"),
    ],
)
def test_refuses_a_bad_annotation_and_names_it(tmp_path: Path, annotation: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        read(tmp_path, document({"bbox": [1, 2, 3, 4]}, {"id": 41, **annotation}))
    assert str(caught.value).startswith(f"{tmp_path / 'labels.json'}: annotation 41: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{not json", "expected JSON"),
        ([{"image_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}], "expected a COCO file with images, .* got no images"),
        ({"images": [], "categories": []}, "got no annotations"),
        (document(images=[{"id": 7}]), "expected id and file_name in each of images"),
        (
            document(images=[{"id": 7, "file_name": "a"}, {"id": 7, "file_name": "b"}]),
            "expected distinct ids in images",
        ),
        (document(categories=[{"name": "ship"}]), "expected id and name in each of categories"),
    ],
)
def test_refuses_what_is_no_coco_file(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path, content)
    assert str(tmp_path / "labels.json") in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        coco.read(tmp_path / "labels.json")


def test_images_keep_the_order_of_the_file_and_boxes_that_of_the_annotations(tmp_path: Path) -> None:
    images = [
        {"id": 9, "file_name": "z/b.PNG", "width": 10, "height": 20},
        {"id": 2, "file_name": "z\\a.v2.jpg"},
        {"id": 5, "file_name": "c.v2"},
    ]
    annotations = [
        {"id": 1, "image_id": 2, "category_id": 5, "bbox": [0, 0, 2, 1]},
        {"id": 2, "image_id": 9, "category_id": 3, "bbox": [0, 0, 3, 1]},
        {"id": 3, "image_id": 2, "category_id": 3, "bbox": [0, 0, 4, 1]},
    ]
    labels = read(tmp_path, document(images=images, annotations=annotations))
    assert labels.image_ids.tolist() == ["z/b", "z/a.v2", "c.v2"]
    assert labels.offsets.tolist() == [0, 1, 3, 3]
    assert labels.boxes[:, 2].tolist() == [3, 2, 4]
    assert labels.classes == ("plane", "ship")
    assert labels.labels.tolist() == [0, 1, 0]
    assert labels.image_sizes is not None
    assert labels.image_sizes.tolist() == [[10, 20], [0, 0], [0, 0]]
    assert labels.scores is None
    assert labels.difficult is None


def test_given_classes_fix_the_labels_and_must_cover_them(tmp_path: Path) -> None:
    content = document({"bbox": [1, 2, 3, 4]})
    assert read(tmp_path, content, ["bridge", "ship"]).labels.tolist() == [1]
    with pytest.raises(ValueError, match="annotation 1: expected one of the classes plane, got 'ship'"):
        read(tmp_path, content, ["plane"])


def test_scores_in_some_annotations_only_are_refused(tmp_path: Path) -> None:
    box = {"bbox": [1, 2, 3, 4]}
    labels = read(tmp_path, document({**box, "score": 0.25}, {**box, "score": 0.5, "attributes": {"difficult": 1}}))
    assert labels.scores is not None
    assert labels.difficult is not None
    assert labels.scores.tolist() == [0.25, 0.5]
    assert labels.difficult.tolist() == [0, 1]
    with pytest.raises(ValueError, match="expected a score in all annotations or in none, got none in 2"):
        read(tmp_path, document({**box, "score": 0.25}, box))
