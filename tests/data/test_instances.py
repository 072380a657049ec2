"""The container: what it refuses, how it is taken apart and joined, and Parquet there and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from al_rotate.data.columns import COLUMNS
from al_rotate.data.instances import RotatedInstances
from al_rotate.storage import parquet as _parquet


def detections(**changes: Any) -> RotatedInstances:
    """Three images of 2, 0 and 1 boxes with every column."""
    arguments: dict[str, Any] = {
        "image_ids": ["P1", "part/P2", "P3"],
        "offsets": [0, 2, 2, 3],
        "boxes": [[10, 20, 8, 4, 0.5], [30, 40, 6, 3, -0.5], [50, 60, 9, 9, 0]],
        "labels": [1, 0, 1],
        "scores": [0.75, 0.5, 0.25],
        "class_scores": [[0.1, 0.75], [0.5, 0.2], [0, 0.25]],
        "box_features": [[1, 2, 3], [4, 5, 6], [7, 8, 9]],
        "image_features": [[1, 1], [2, 2], [3, 3]],
        "classes": ["ship", "plane"],
        "difficult": [0, 1, 2],
        "image_sizes": [[640, 480], [0, 0], [100, 200]],
        "skipped": {"P4": "empty file"},
    }
    return RotatedInstances(**{**arguments, **changes})


def labels(**changes: Any) -> RotatedInstances:
    """The same boxes without an optional column."""
    return RotatedInstances(
        **{
            "image_ids": ["P1", "part/P2", "P3"],
            "offsets": [0, 2, 2, 3],
            "boxes": detections().boxes,
            "labels": [1, 0, 1],
            **changes,
        }
    )


OPTIONAL = [name for name in COLUMNS if name not in ("boxes", "labels")]


# Construction.


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
        ({"classes": "sp"}, "expected classes to be distinct non-empty strings, got 'sp'"),
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


# Taking apart.


def test_one_image_is_a_view() -> None:
    made = detections()
    one = made["P3"]
    assert one.image_ids.tolist() == ["P3"]
    assert one.offsets.tolist() == [0, 1]
    assert one.boxes.tolist() == [[50, 60, 9, 9, 0]]
    assert one.classes == made.classes
    for name in COLUMNS:
        assert np.shares_memory(getattr(one, name), getattr(made, name))
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
    some = made.subset(["P3", "P1"])
    assert some.image_ids.tolist() == ["P3", "P1"]
    assert some.offsets.tolist() == [0, 1, 3]
    assert some.labels.tolist() == [1, 1, 0]
    assert some.difficult.tolist() == [2, 0, 1]
    assert some.image_features.tolist() == [[3, 3], [1, 1]]
    assert some["P1"] == made["P1"]
    assert made.subset(iter(made.image_ids)) == made
    with pytest.raises(KeyError, match="no image 'P9'"):
        made.subset(["P1", "P9"])
    with pytest.raises(ValueError, match="expected distinct image ids, got 'P1' more than once"):
        made.subset(["P1", "P1"])


def test_where_drops_boxes_and_keeps_images() -> None:
    made = detections()
    some = made.where(made.scores >= 0.5)
    assert some.image_ids.tolist() == made.image_ids.tolist()
    assert some.counts.tolist() == [2, 0, 0]
    assert some.box_features.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert some.image_features.tolist() == made.image_features.tolist()
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


# Joining.


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
            "image_id": ["P1", "P1", "P3"],
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


# Parquet.


@pytest.mark.parametrize(
    "made",
    [
        detections(),
        labels(),
        labels(difficult=[0, 0, 1], classes=["ship", "été"]),
        RotatedInstances.empty(),
        RotatedInstances.empty(["a", "b"], ["ship"]),
        RotatedInstances.empty(["a", "b"]).replace(image_features=[[1, 2], [3, 4]], image_sizes=[[1, 2], [3, 4]]),
        RotatedInstances(["a"], [0, 0], [], [], [], np.zeros((0, 15)), np.zeros((0, 7)), difficult=[]),
        RotatedInstances([], [0], [], [], [], np.zeros((0, 15)), image_features=np.zeros((0, 3))),
    ],
    ids=["full", "plain", "labels", "nothing", "boxless", "images", "empty columns", "no image"],
)
def test_parquet_round_trip_is_exact(tmp_path: Path, made: RotatedInstances) -> None:
    path = made.save(tmp_path / "deep" / "part.parquet")
    assert path == tmp_path / "deep" / "part.parquet"
    assert [file.name for file in path.parent.iterdir()] == ["part.parquet"]
    back = RotatedInstances.load(str(path))
    assert back == made
    assert back.skipped == made.skipped
    for name, (dtype, _, _) in COLUMNS.items():
        column, original = getattr(back, name), getattr(made, name)
        assert (column is None) == (original is None)
        if column is not None:
            assert column.dtype == dtype
            assert column.shape == original.shape
    # What was loaded can be worked with and saved again.
    assert RotatedInstances.load(back.subset(back.image_ids).save(tmp_path / "again.parquet")) == made


def test_parquet_is_plain_list_columns_with_a_row_an_image(tmp_path: Path) -> None:
    table = pq.read_table(detections().save(tmp_path / "a.parquet"))
    assert table.column_names == ["image_id", *COLUMNS]
    assert table["image_id"].to_pylist() == ["P1", "part/P2", "P3"]
    assert table["labels"].to_pylist() == [[1, 0], [], [1]]
    assert table["boxes"].to_pylist()[1:] == [[], [[50, 60, 9, 9, 0]]]
    assert table["image_sizes"].to_pylist() == [[640, 480], [0, 0], [100, 200]]
    notes = json.loads(table.schema.metadata[b"al_rotate"])
    assert notes == {"classes": ["ship", "plane"], "skipped": {"P4": "empty file"}}


def test_writing_hands_arrow_the_memory_itself() -> None:
    made = detections()
    columns = {name: getattr(made, name) for name in COLUMNS}
    table = _parquet.to_arrow(made.image_ids, made.offsets, columns, COLUMNS)
    for name, (_, per, _) in COLUMNS.items():
        values = table[name].chunk(0)
        values = values.values if per == "box" else values
        values = values.values if pa.types.is_fixed_size_list(values.type) else values
        assert np.shares_memory(values.to_numpy(zero_copy_only=True), columns[name])


def test_reading_hands_on_arrows_memory(tmp_path: Path) -> None:
    path = detections().save(tmp_path / "a.parquet")
    for back in (RotatedInstances.load(path), next(RotatedInstances.stream(path))):
        for name in COLUMNS:
            column = getattr(back, name)
            assert not column.flags.owndata
            assert not column.flags.writeable


def test_a_folder_of_shards_is_loaded_and_streamed_in_the_order_of_names(tmp_path: Path) -> None:
    made = detections()
    for name, image_id in (("00002", "P1"), ("00000", "P3"), ("00001", "part/P2")):
        made.subset([image_id]).save(tmp_path / f"{name}.parquet")
    (tmp_path / "detections.json").write_text("{}")
    # What a killed writer leaves behind is no shard.
    (tmp_path / ".00003.parquet.123.tmp").write_bytes(b"PAR1 half a shard")
    order = ["P3", "part/P2", "P1"]
    assert RotatedInstances.load(tmp_path) == made.subset(order)
    assert [shard.image_ids.tolist() for shard in RotatedInstances.stream(tmp_path)] == [[i] for i in order]


def test_saving_over_a_loaded_file_leaves_what_was_loaded(tmp_path: Path) -> None:
    path = detections().save(tmp_path / "a.parquet")
    before = RotatedInstances.load(path)
    labels().where(np.zeros(3, bool)).save(path)
    assert before == detections()
    assert RotatedInstances.load(path).n_boxes == 0


def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = detections().save(tmp_path / "a.parquet")
    with pytest.raises(UnicodeEncodeError):
        labels(image_ids=["a", "b", "\ud800"]).save(path)
    (tmp_path / "folder.parquet").mkdir()
    with pytest.raises(OSError, match="folder"):
        labels().save(tmp_path / "folder.parquet")
    assert RotatedInstances.load(path) == detections()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.parquet", "folder.parquet"]


def test_loading_what_is_not_there_or_something_else(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.parquet", tmp_path):
        with pytest.raises(FileNotFoundError, match="expected a Parquet file or a folder of them, got"):
            RotatedInstances.load(path)
    whole = detections().save(tmp_path / "whole.parquet").read_bytes()
    for name, content in (("empty", b""), ("text", b"no parquet file"), ("cut", whole[: len(whole) // 2])):
        (tmp_path / f"{name}.parquet").write_bytes(content)
        with pytest.raises(ValueError, match=rf"expected a Parquet file of RotatedInstances, got .*{name}\.parquet"):
            RotatedInstances.load(tmp_path / f"{name}.parquet")
    pq.write_table(pa.table({"image_id": ["a"], "score": [0.5]}), tmp_path / "other.parquet")
    with pytest.raises(ValueError, match=r"got .*other\.parquet with columns \['image_id', 'score'\]"):
        RotatedInstances.load(tmp_path / "other.parquet")


def test_shards_that_differ_in_columns_are_refused(tmp_path: Path) -> None:
    detections().save(tmp_path / "0.parquet")
    labels(image_ids=["a", "b", "c"]).save(tmp_path / "1.parquet")
    with pytest.raises(ValueError, match="expected scores in all parts or in none"):
        RotatedInstances.load(tmp_path)


def test_load_only_some_images(tmp_path):
    """Of two shards, in their order; an id that is nowhere is no matter."""
    whole = detections()
    first, *others = whole.image_ids
    whole.subset([first]).save(tmp_path / "0.parquet")
    whole.subset(others).save(tmp_path / "1.parquet")
    wanted = [whole.image_ids[-1], first, "nowhere"]
    assert RotatedInstances.load(tmp_path, wanted) == whole.subset([first, whole.image_ids[-1]])
    assert len(RotatedInstances.load(tmp_path, [])) == 0
