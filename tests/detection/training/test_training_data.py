"""What of a labelled set is left out of a training, and how it is told."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from al_rotate import RotatedInstances
from al_rotate.detection.training.data import usable

GOOD = [50, 25, 20, 10, 0.3]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Four images of 100 x 50 pixels, of which the last breaks off."""
    noise = np.random.default_rng(0).integers(0, 256, (50, 100, 3), np.uint8)
    files = {name: tmp_path / f"{name}.jpg" for name in "abcd"}
    for file in files.values():
        Image.fromarray(noise).save(file)
    files["d"].write_bytes(files["d"].read_bytes()[:2000])
    return files


def labelled(**boxes: list[list[float]]) -> RotatedInstances:
    counts = np.cumsum([0, *map(len, boxes.values())])
    rows = np.array([box for rows in boxes.values() for box in rows]).reshape(-1, 5)
    return RotatedInstances([*boxes], counts, rows, np.zeros(len(rows), int), classes=("ship",))


def test_what_is_right_is_kept_without_a_word(files: dict[str, Path]):
    labels = labelled(a=[GOOD, [0, 0, 40, 40, 0.5]], b=[], c=[[-5, 25, 12, 4, 0], [50, 52, 8, 0.5, 1.57]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = usable(files, labels)
    assert (result.labels, result.left_out, result.metrics) == (labels, {}, {})


def test_images_that_break_off_and_boxes_that_are_not_there(files: dict[str, Path]):
    far, thin = [150, 25, 20, 10, 0], [50, 25, 20, 0, 0]
    corner = [-6, -6, 40, 1, -np.pi / 4]  # its hull meets the image, it does not
    labels = labelled(a=[GOOD, far, GOOD, thin], b=[corner], c=[GOOD, GOOD], d=[GOOD])
    message = r"2 images and 3 boxes cannot be trained on and are left out: d: .*d\.jpg: .*truncated.*and 2 more images"
    with pytest.warns(UserWarning, match=message) as caught:
        result = usable(files, labels)
    assert [warning.filename for warning in caught] == [__file__]
    assert result.labels == labelled(a=[GOOD, GOOD], c=[GOOD, GOOD])
    assert result.left_out.keys() == {"a", "b", "d"}
    assert result.left_out["a"] == "boxes left out: 1 without an area and 1 outside of its 100 x 50 pixels"
    assert result.left_out["b"] == "boxes left out, and so the image: 1 outside of its 100 x 50 pixels"
    assert result.metrics == {"images_left_out": 2, "boxes_left_out": 2}


def test_boxes_of_another_unit_are_left_out_and_long_objects_are_not(files: dict[str, Path]):
    bridge, huge = [50, 25, 1999, 12, 0.3], [50, 25, 2001, 900, 0.3]  # the image is 100 pixels wide
    with pytest.warns(UserWarning, match="1 boxes cannot be trained on"):
        result = usable(files, labelled(a=[GOOD, bridge, huge]))
    assert result.labels == labelled(a=[GOOD, bridge])
    assert result.left_out == {"a": "boxes left out: 1 more than 20 times as long as its 100 x 50 pixels"}


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        (
            {"a": [[5000, 2500, 20, 10, 0]], "b": [GOOD], "c": [[4000, 100, 5, 5, 0]]},
            "2 of 3 outside, .* first in a: .* 1 outs",
        ),
        (
            {"a": [[0.5, 0.25, 0, 0, 0]], "c": []},
            "1 of 1 outside, too large or without an area, the first in a: .*1 without an area",
        ),
        ({"d": [GOOD]}, r"images that can be trained on, got none: .*d\.jpg"),
    ],
)
def test_what_is_no_slip_is_refused(files: dict[str, Path], boxes: Any, message: str):
    with pytest.raises(ValueError, match=message):
        usable(files, labelled(**boxes))


def test_images_of_another_size_are_named(files: dict[str, Path]):
    labels = labelled(a=[GOOD], c=[GOOD]).replace(image_sizes=[[100, 50], [200, 100]])
    with pytest.raises(ValueError, match=r"the image 'c' to be of 200 x 100 pixels, .* got 100 x 50"):
        usable(files, labels)
    unknown = labels.replace(image_sizes=[[100, 50], [0, 0]])
    assert usable(files, unknown).labels == unknown


def test_labels_without_a_file_are_for_others_to_refuse(files: dict[str, Path]):
    labels = labelled(a=[GOOD], elsewhere=[GOOD])
    assert usable(files, labels).labels == labels
    assert len(usable(files, labels.subset([])).labels) == 0


@pytest.mark.mm
def test_a_training_goes_on_without_them_and_gives_an_account(quick: Any, tmp_path: Path):
    pytest.importorskip("mmrotate")
    from al_rotate.data import dataset, images
    from al_rotate.detection import finetune

    files, labels = images.find(quick["images"]), quick["labels"]
    cut, emptied = labels.image_ids[0], labels.image_ids[np.flatnonzero(labels.counts)[1]]
    whole = [image_id for image_id in labels.image_ids if image_id not in (cut, emptied)]
    (tmp_path / "cut.jpg").write_bytes(files[cut].read_bytes()[:-800])
    boxes = labels.boxes.copy()
    boxes[labels.image_index == labels.position(emptied), :2] += 1000
    labels = labels.replace(boxes=boxes)
    val = labels.subset([cut, whole[0]])
    arguments = {**quick, "images": {**files, cut: tmp_path / "cut.jpg"}, "labels": labels, "work_dir": tmp_path / "w"}
    with pytest.warns(UserWarning, match="cannot be trained on") as caught:
        result = finetune(**arguments, val=val)
    assert any("cannot be evaluated on" in str(warning.message) for warning in caught)
    assert result.left_out.keys() == {cut, emptied}
    assert result.metrics["images_left_out"] == 2
    trained, evaluated = (dataset.read(tmp_path / "w" / "data" / f"{name}.parquet")[0] for name in ("train", "val"))
    assert trained == labels.subset(whole)
    assert evaluated == labels.subset(whole[:1])
    assert json.loads((tmp_path / "w" / "finetuned.json").read_text())["left_out"] == result.left_out
    assert finetune(**arguments, val=val) == result
