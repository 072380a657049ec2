"""The container: its images and boxes, parts of it, several joined, and how it is shown."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from helpers.instances import detections, labels

from al_rotate.data import RotatedInstances
from al_rotate.data.columns import COLUMNS

OPTIONAL = [name for name in COLUMNS if name not in ("boxes", "labels")]


def test_counts_and_indices() -> None:
    made = detections()
    assert len(made) == 3
    assert made.n_boxes == 3
    assert made.counts.tolist() == [2, 0, 1]
    assert made.image_index.tolist() == [0, 0, 2]
    assert made.position("P3") == 2
    assert "part/P2" in made
    assert "P2" not in made
    assert 1 not in made


def test_empty_and_boxless() -> None:
    assert len(RotatedInstances.empty()) == 0
    assert RotatedInstances.empty().to_frame().empty
    made = RotatedInstances.empty(["a", "b"], ["ship"])
    assert made.counts.tolist() == [0, 0]
    assert made["b"].boxes.shape == (0, 5)
    assert made.subset([]).image_ids.tolist() == []
    # Lists without an element take the shape that their column has.
    full = RotatedInstances(["a"], [0, 0], [], [], [], [], [], [[1, 2]], ["ship"], difficult=[], image_sizes=[[3, 4]])
    assert full.boxes.shape == (0, 5)
    assert full.scores is not None
    assert full.scores.shape == (0,)
    assert full.to_frame().columns.tolist() == [
        "image_id", "cx", "cy", "w", "h", "theta", "label", "class", "score", "difficult",
    ]  # fmt: skip


# Parts and changes.


def test_one_image_is_a_view() -> None:
    made = detections()
    image = made["P3"]
    assert image.image_ids.tolist() == ["P3"]
    assert image.offsets.tolist() == [0, 1]
    assert image.boxes.tolist() == [[50, 60, 9, 9, 0]]
    assert image.classes == made.classes
    for name in COLUMNS:
        assert np.shares_memory(getattr(image, name), getattr(made, name))
    assert made["part/P2"].n_boxes == 0
    assert made["part/P2"].image_features.tolist() == [[2, 2]]
    with pytest.raises(KeyError, match="no image 'P9' among these 3"):
        made["P9"]


def test_iteration_gives_ids_and_views_in_order() -> None:
    made = detections()
    parts = dict(made)
    assert list(parts) == ["P1", "part/P2", "P3"]
    assert all(part == made[image_id] for image_id, part in parts.items())


def test_subset_keeps_the_order_asked_for() -> None:
    made = detections()
    part = made.subset(["P3", "P1"])
    assert part.image_ids.tolist() == ["P3", "P1"]
    assert part.offsets.tolist() == [0, 1, 3]
    assert part.labels.tolist() == [1, 1, 0]
    assert part.difficult.tolist() == [2, 0, 1]
    assert part.image_features.tolist() == [[3, 3], [1, 1]]
    assert part["P1"] == made["P1"]
    assert made.subset(iter(made.image_ids)) == made
    with pytest.raises(KeyError, match="no image 'P9'"):
        made.subset(["P1", "P9"])
    with pytest.raises(ValueError, match="expected distinct image ids, got 'P1' more than once"):
        made.subset(["P1", "P1"])


def test_where_drops_boxes_and_keeps_images() -> None:
    made = detections()
    part = made.where(made.scores >= 0.5)
    assert part.image_ids.tolist() == made.image_ids.tolist()
    assert part.counts.tolist() == [2, 0, 0]
    assert part.box_features.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert part.image_features.tolist() == made.image_features.tolist()
    assert made.where(np.zeros(3, bool)).counts.tolist() == [0, 0, 0]
    assert made.where(np.array([False, True, True])).labels.tolist() == [0, 1]
    for mask in ([0, 1, 1], [True, False]):
        with pytest.raises(ValueError, match=r"expected a bool mask of shape \(3,\), got"):
            made.where(mask)


def test_replace_changes_removes_and_checks() -> None:
    made = detections()
    changed = made.replace(labels=[0, 0, 0], scores=None, skipped={})
    assert changed.labels.tolist() == [0, 0, 0]
    assert changed.scores is None
    assert changed.skipped == {}
    assert changed.class_scores is made.class_scores
    assert made.labels.tolist() == [1, 0, 1]
    with pytest.raises(ValueError, match=r"expected changes of image_ids, .*, got bboxes, label"):
        made.replace(label=[0, 0, 0], bboxes=[])
    with pytest.raises(ValueError, match="expected indices below the 2 classes"):
        made.replace(labels=[0, 0, 9])


def test_as_labels_keeps_only_what_labels_have() -> None:
    plain = detections().as_labels()
    assert plain == labels(classes=["ship", "plane"], difficult=[0, 1, 2], image_sizes=[[640, 480], [0, 0], [100, 200]])
    assert plain.skipped == {}
    assert labels().as_labels() == labels()
    assert labels().as_labels(["ship", "plane"]).classes == ("ship", "plane")
    assert detections().as_labels(["ship", "plane"]) == plain
    with pytest.raises(ValueError, match=r"labels of the classes \('plane', 'ship'\), got \('ship', 'plane'\)"):
        detections().as_labels(["plane", "ship"])
    with pytest.raises(ValueError, match="expected indices below the 1 classes in labels, got 1 for image 'P1'"):
        labels().as_labels(["ship"])


def test_equality() -> None:
    assert detections() == detections(skipped={})
    assert detections() != labels()
    assert detections() != detections(difficult=[0, 1, 1])
    assert detections() != detections(classes=["plane", "ship"])
    assert detections() != detections(image_ids=["P1", "P2", "P3"])
    assert detections() != detections(offsets=[0, 1, 2, 3])
    assert detections() != "detections"


# Joined.


def test_concat_puts_the_images_one_after_the_other() -> None:
    made = detections()
    other = made.replace(image_ids=["Q1", "Q2", "Q3"], skipped={"Q4": "not an image"})
    both = RotatedInstances.concat([made, other])
    assert both.image_ids.tolist() == ["P1", "part/P2", "P3", "Q1", "Q2", "Q3"]
    assert both.offsets.tolist() == [0, 2, 2, 3, 5, 5, 6]
    assert both.skipped == {"P4": "empty file", "Q4": "not an image"}
    assert both.subset(made.image_ids) == made
    assert both.subset(other.image_ids) == other
    assert RotatedInstances.concat(part for _, part in made) == made
    assert RotatedInstances.concat([made]) == made
    assert RotatedInstances.concat([]) == RotatedInstances.empty()


@pytest.mark.parametrize("name", OPTIONAL)
def test_concat_refuses_a_column_in_some_parts_only(name: str) -> None:
    parts = [detections(), detections(image_ids=["Q1", "Q2", "Q3"]).replace(**{name: None})]
    with pytest.raises(ValueError, match=f"expected {name} in all parts or in none, got it in 1 of 2"):
        RotatedInstances.concat(parts)


def test_concat_refuses_other_classes_other_widths_and_an_image_twice() -> None:
    made = detections()
    with pytest.raises(ValueError, match=r"expected the same classes in all parts, got .*'plane', 'ship'"):
        RotatedInstances.concat([made, detections(image_ids=["Q1", "Q2", "Q3"], classes=["plane", "ship"])])
    with pytest.raises(ValueError, match=r"expected box_features of one width in all parts, got \[1, 3\]"):
        RotatedInstances.concat([made, detections(image_ids=["Q1", "Q2", "Q3"], box_features=[[1], [2], [3]])])
    with pytest.raises(ValueError, match="expected distinct image ids, got 'P1' more than once"):
        RotatedInstances.concat([made, made])


def test_concat_asks_no_column_of_parts_without_rows_for_it() -> None:
    made = detections(image_features=None, image_sizes=None)
    boxless = RotatedInstances.empty(["Q1", "Q2"])
    no_width = RotatedInstances(["Q3"], [0, 0], [], [], scores=[], class_scores=[], box_features=[], difficult=[])
    nothing = RotatedInstances.empty().replace(skipped={"Q4": "empty file"})
    both = RotatedInstances.concat([boxless, no_width, nothing, made])
    assert both.image_ids.tolist() == ["Q1", "Q2", "Q3", *made.image_ids]
    assert both.subset(made.image_ids) == made
    assert both.skipped == {"Q4": "empty file", "P4": "empty file"}
    assert both.classes == made.classes
    only = RotatedInstances.concat([boxless, no_width])
    assert only.counts.tolist() == [0, 0, 0]
    assert only.scores is not None
    # An image without boxes does have a row of image features.
    with pytest.raises(ValueError, match="expected image_features in all parts or in none, got it in 1 of 2"):
        RotatedInstances.concat([boxless, detections()])


# Shown.


def test_frame_has_one_row_a_box() -> None:
    frame = detections().to_frame()
    expected = pd.DataFrame(
        {
            "image_id": pd.Series(["P1", "P1", "P3"], dtype=object),
            "cx": np.float32([10, 30, 50]),
            "cy": np.float32([20, 40, 60]),
            "w": np.float32([8, 6, 9]),
            "h": np.float32([4, 3, 9]),
            "theta": np.float32([0.5, -0.5, 0]),
            "label": np.int32([1, 0, 1]),
            "class": ["plane", "ship", "plane"],
            "score": np.float32([0.75, 0.5, 0.25]),
            "difficult": np.uint8([0, 1, 2]),
        }
    )
    pd.testing.assert_frame_equal(frame, expected)
    assert labels().to_frame().columns.tolist() == ["image_id", "cx", "cy", "w", "h", "theta", "label"]


def test_repr_says_how_much_of_what() -> None:
    assert repr(detections()) == "<RotatedInstances: 3 images, 3 detections, 2 classes>"
    assert repr(labels()) == "<RotatedInstances: 3 images, 3 labels>"


def test_html_counts_classes_and_escapes_their_names() -> None:
    text = detections(classes=["<script>alert(1)</script>", "a&b"])._repr_html_()
    assert "<script>" not in text
    assert "<td>&lt;script&gt;alert(1)&lt;/script&gt;</td><td>1</td><td>0.500</td>" in text
    assert "<td>a&amp;b</td><td>2</td><td>0.500</td>" in text  # the mean of 0.75 and 0.25
    assert "<td>1</td><td>2</td><td></td>" in labels()._repr_html_()
    assert "0 images, 0 labels" in RotatedInstances.empty()._repr_html_()
