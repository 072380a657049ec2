"""The container as Parquet: single files, folders of shards, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.instances import detections, labels

from al_rotate.data import RotatedInstances
from al_rotate.data.columns import COLUMNS
from al_rotate.storage import parquet


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
    table = parquet.to_arrow(made.image_ids, made.offsets, columns, COLUMNS)
    for name, column in COLUMNS.items():
        values = table[name].chunk(0)
        values = values.values if column.per == "box" else values
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


def test_a_parquet_file_that_others_wrote_or_damaged_is_named(tmp_path: Path) -> None:
    """Columns of other names, orders, types and lengths, other notes, and single bytes flipped."""
    path = tmp_path / "q.parquet"
    good = pq.read_table(detections().save(path))
    notes = good.schema.metadata
    made = path.read_bytes()
    tables = [
        good.rename_columns(["labelz" if name == "labels" else name for name in good.column_names]),
        good.select(good.column_names[::-1]),
        good.set_column(1, "boxes", pa.array([1.0, 2.0, 3.0])),
        good.set_column(1, "boxes", pa.array([[1.0], [2.0], [3.0]])),
        good.set_column(0, "image_id", pa.array([1, 2, 3])),
        good.set_column(0, "image_id", pa.array(["a", "a", "b"])),
        good.set_column(0, "image_id", pa.array(["a", None, "b"])),
        good.replace_schema_metadata({b"al_rotate": b"{"}),
        good.replace_schema_metadata({b"al_rotate": b"\xff"}),
        good.replace_schema_metadata({b"al_rotate": b'{"colour": 1}'}),
        good.replace_schema_metadata({b"al_rotate": b"[]"}),
    ]
    for table in tables:
        pq.write_table(table if table.schema.metadata else table.replace_schema_metadata(notes), path)
        with pytest.raises(ValueError, match=r"expected a Parquet file of RotatedInstances, got .*q\.parquet"):
            RotatedInstances.load(path)
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(made), 300):
        path.write_bytes(made[:place] + bytes([made[place] ^ rng.integers(1, 256)]) + made[place + 1 :])
        try:
            RotatedInstances.load(path)
        except ValueError as error:
            refusal = str(error)
        else:
            continue  # a flipped bit of a number may pass
        assert "q.parquet" in refusal


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
