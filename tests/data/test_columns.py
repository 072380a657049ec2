"""What the container makes of its arguments, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.instances import detections, labels

from al_rotate.data.columns import COLUMNS


def test_columns_have_their_dtypes_whatever_came() -> None:
    made = detections()
    for name, (dtype, _, _) in COLUMNS.items():
        column = getattr(made, name)
        assert column.dtype == dtype
        assert column.flags.c_contiguous
    assert made.offsets.dtype == np.int64
    assert made.classes == ("ship", "plane")
    assert all(isinstance(image_id, str) and not isinstance(image_id, np.str_) for image_id in made.image_ids)
    assert labels(image_ids=np.array(["a", "b", "c"])).image_ids.tolist() == ["a", "b", "c"]


def test_arrays_of_the_right_dtype_are_not_copied() -> None:
    boxes = detections().boxes
    made = labels(boxes=boxes)
    assert np.shares_memory(made.boxes, boxes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_ids": ["P1", "P2", "P1"]}, "expected distinct image ids, got 'P1' more than once"),
        ({"image_ids": ["P1", "", "P3"]}, "expected image ids to be non-empty strings, got ''"),
        ({"image_ids": ["P1", 2, "P3"]}, "expected image ids to be non-empty strings, got 2"),
        ({"offsets": [0, 2, 3]}, r"expected offsets of 4 integers \(images \+ 1\), got int64 \(3,\)"),
        ({"offsets": [0.0, 2.0, 2.0, 3.0]}, r"expected offsets of 4 integers .*, got float64"),
        ({"offsets": [0, 3, 2, 3]}, "expected offsets to ascend from 0"),
        ({"offsets": [1, 2, 2, 3]}, "expected offsets to ascend from 0"),
        ({"offsets": [0, 2, 2, 4]}, r"expected boxes of shape \(4, 5\), got \(3, 5\)"),
        ({"boxes": np.zeros((3, 4))}, r"expected boxes of shape \(3, 5\), got \(3, 4\)"),
        ({"boxes": []}, r"expected boxes of shape \(3, 5\), got \(0,\)"),
        ({"labels": [1, 0]}, r"expected labels of shape \(3,\), got \(2,\)"),
        ({"labels": [1.0, 0.0, 1.0]}, "expected integers in labels, got float64"),
        ({"labels": [1, 0, 2]}, "expected indices below the 2 classes in labels, got 2 for image 'P3'"),
        ({"labels": [1, -1, 1]}, "expected indices >= 0 in labels, got -1 for image 'P1'"),
        ({"labels": [1, 0, 2**40]}, f"expected labels that fit int32, got 0 to {2**40}"),
        ({"difficult": [0, 0, 300]}, "expected difficult that fit uint8, got 0 to 300"),
        ({"scores": [0.5, 0.5, 1.5]}, r"expected values in \[0, 1\] in scores, got 1.5 for image 'P3'"),
        ({"scores": [0.5, np.nan, 0.5]}, "expected finite values in scores, got nan for image 'P1'"),
        ({"scores": [[0.5], [0.5], [0.5]]}, r"expected scores of shape \(3,\), got \(3, 1\)"),
        ({"class_scores": [[0, 2], [0, 0], [0, 0]]}, r"expected values in \[0, 1\] in class_scores, .* image 'P1'"),
        ({"class_scores": np.zeros((3, 5))}, "expected class_scores of 2 columns, got 5"),
        ({"class_scores": [0.5, 0.5, 0.5]}, r"expected class_scores of shape \(3, any\), got \(3,\)"),
        ({"box_features": [[1], [2], [np.inf]]}, r"expected finite values in box_features, got \[inf\] for image 'P3'"),
        ({"image_features": [[1], [np.nan], [3]]}, r"expected finite values in image_features, .* image 'part/P2'"),
        ({"image_features": [[1], [2]]}, r"expected image_features of shape \(3, any\), got \(2, 1\)"),
        (
            {"image_sizes": [[1, 2], [3, -4], [5, 6]]},
            r"expected width, height >= 0 .* got \[3, -4\] for image 'part/P2'",
        ),
        ({"image_sizes": [[1, 2, 3]] * 3}, r"expected image_sizes of shape \(3, 2\), got \(3, 3\)"),
        ({"classes": ["ship", "ship"]}, "expected classes to be distinct non-empty strings"),
        ({"classes": ["ship", ""]}, "expected classes to be distinct non-empty strings"),
        ({"classes": "sp"}, "expected a sequence of class names, got 'sp'"),
        ({"classes": ["ship", "\ud800"]}, r"expected a class name in UTF-8, got '\\ud800'"),
        ({"image_ids": ["P1", "\udcb4\udcac", "P3"]}, r"expected an image id in UTF-8, got '\\udcb4\\udcac'"),
        ({"image_ids": "abc"}, "expected a sequence of image ids, got the string 'abc'"),
    ],
)
def test_refusals_say_what_was_expected_and_what_came(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        detections(**changes)


@pytest.mark.parametrize(("row", "image_id"), [(0, "P1"), (1, "P1"), (2, "P3")])
def test_a_bad_box_names_its_image(row: int, image_id: str) -> None:
    for column, value, message in ((3, -1, "sides w, h >= 0"), (4, np.nan, "finite values")):
        boxes = detections().boxes.copy()
        boxes[row, column] = value
        with pytest.raises(ValueError, match=f"expected {message} in boxes, got .* for image '{image_id}'"):
            detections(boxes=boxes)
