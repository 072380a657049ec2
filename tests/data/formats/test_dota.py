"""DOTA's label files read: every line that is accepted, every line that is refused, and where files are found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from al_rotate.data import RotatedInstances
from al_rotate.data.formats import dota

LEVEL = "10 20 30 20 30 28 10 28"  # the box (20, 24, 20, 8, 0)


def put(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    return folder


def read_lines(tmp_path: Path, text: str, classes: list[str] | None = None) -> RotatedInstances:
    return dota.read(put(tmp_path / "labels", P1=text), classes)


def test_class_lists_have_the_sizes_and_ends_of_the_three_versions() -> None:
    assert [len(names) for names in (dota.DOTA_V1, dota.DOTA_V15, dota.DOTA_V2)] == [15, 16, 18]
    assert dota.DOTA_V1[0] == "plane"
    assert dota.DOTA_V1[-1] == "helicopter"
    assert dota.DOTA_V2[15:] == ("container-crane", "airport", "helipad")


@pytest.mark.mm
def test_class_lists_are_mmrotates() -> None:
    datasets = pytest.importorskip("mmrotate.datasets")
    for names, dataset in (
        (dota.DOTA_V1, "DOTADataset"),
        (dota.DOTA_V15, "DOTAv15Dataset"),
        (dota.DOTA_V2, "DOTAv2Dataset"),
    ):
        assert names == tuple(getattr(datasets, dataset).METAINFO["classes"])


def test_reads_a_file_as_dota_publishes_it(tmp_path: Path) -> None:
    text = f"imagesource:GoogleEarth\ngsd:0.146343590398\n{LEVEL} ship 1\n100 100 100 140 90 140 90 100 plane 0\n"
    labels = read_lines(tmp_path, text)
    assert labels.image_ids.tolist() == ["P1"]
    assert labels.classes == ("plane", "ship")
    assert labels.labels.tolist() == [1, 0]
    assert labels.difficult is not None
    assert labels.difficult.tolist() == [1, 0]
    assert labels.scores is None
    np.testing.assert_allclose(labels.boxes, [[20, 24, 20, 8, 0], [95, 120, 40, 10, -np.pi / 2]], atol=1e-6)


@pytest.mark.parametrize(
    ("line", "name", "difficulty"),
    [
        (f"{LEVEL} plane", "plane", 0),
        (f"{LEVEL} plane 0", "plane", 0),
        (f"{LEVEL} plane 2", "plane", 2),
        (f"{LEVEL} plane 2 0", "plane 2", 0),
        (f"{LEVEL} Soccer ball field 1", "Soccer ball field", 1),
        (f"{LEVEL} soccer ball field", "soccer ball field", 0),
        (f"{LEVEL} 7", "7", 0),
        (f"{LEVEL} 7 1", "7", 1),
        (f"{LEVEL} 747b 255", "747b", 255),
        ("\t" + LEVEL.replace(" ", "\t") + "\tplane   1  ", "plane", 1),
        ("10.0 20.00 30. 2e1 +30 28.0 10 28 plane 1", "plane", 1),
        (f"{LEVEL} été 1", "été", 1),
    ],
)
def test_class_and_difficulty_of_a_line(tmp_path: Path, line: str, name: str, difficulty: int) -> None:
    labels = read_lines(tmp_path, line)
    assert labels.classes == (name,)
    assert labels.difficult is not None
    assert labels.difficult.tolist() == [difficulty]
    np.testing.assert_array_equal(labels.boxes, np.float32([[20, 24, 20, 8, 0]]))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("10 20 30 20 30 28 10 plane 0", "expected 8 numbers, a class"),
        ("10 20 30 20 30 28 10 28", "expected 8 numbers, a class"),
        ("10,20,30,20,30,28,10,28,plane,0", "expected 8 numbers, a class"),
        ("plane 10 20 30 20 30 28 10 28", "expected 8 numbers, a class"),
        ("10 20 30 20 30 28 10 nan plane 0", "expected finite coordinates"),
        ("10 20 30 20 30 28 10 -inf plane 0", "expected finite coordinates"),
        (f"{LEVEL} plane -1", "expected a difficulty from 0 to 255, got -1"),
        (f"{LEVEL} plane 0.98", "expected a difficulty from 0 to 255, got 0.98"),
        (f"{LEVEL} plane 256", "expected a difficulty from 0 to 255, got 256"),
        (f"{LEVEL} boat 0", "expected one of the classes plane, ship, got 'boat'"),
        (f"{LEVEL} plane ship 0", "got 'plane ship'"),
    ],
)
def test_refuses_a_bad_line_and_names_file_and_line(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        read_lines(tmp_path, f"gsd:null\n\n{LEVEL} plane 0\n{line}\n", ["plane", "ship"])
    assert message in str(caught.value)
    assert str(tmp_path / "labels" / "P1.txt") + ":4:" in str(caught.value)
    assert line in str(caught.value)


def test_given_classes_fix_the_labels(tmp_path: Path) -> None:
    labels = read_lines(tmp_path, f"{LEVEL} ship 0", ["plane", "harbor", "ship"])
    assert labels.classes == ("plane", "harbor", "ship")
    assert labels.labels.tolist() == [2]


def test_windows_line_ends_a_byte_order_mark_and_no_last_line_end(tmp_path: Path) -> None:
    folder = put(tmp_path)
    (folder / "a.txt").write_bytes(b"\xef\xbb\xbfimagesource:x\r\ngsd:1\r\n" + LEVEL.encode() + b" ship 1\r\n\r\n")
    (folder / "b.txt").write_bytes(b"\xef\xbb\xbf" + LEVEL.encode() + b" ship")
    labels = dota.read(folder)
    assert labels.counts.tolist() == [1, 1]
    assert labels.classes == ("ship",)


def test_text_in_another_encoding_is_refused_with_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(LEVEL.encode() + b" \xe9t\xe9 0\n")
    with pytest.raises(ValueError, match=r"a\.txt: expected UTF-8"):
        dota.read(tmp_path)


def test_blank_and_header_only_files_are_images_without_objects(tmp_path: Path) -> None:
    labels = dota.read(put(tmp_path, a="", b="\n\n", c="imagesource:GoogleEarth\ngsd:None\n"))
    assert labels.image_ids.tolist() == ["a", "b", "c"]
    assert labels.counts.tolist() == [0, 0, 0]
    assert labels.classes == ()


def test_a_quadrilateral_becomes_its_rectangle_of_least_area(tmp_path: Path) -> None:
    # A right trapezium; its least rectangle is 10 x 4, level.
    labels = read_lines(tmp_path, "0 0 10 0 10 4 3 4 plane 0")
    np.testing.assert_allclose(labels.boxes, [[5, 2, 10, 4, 0]], atol=1e-6)


def test_a_folder_may_hold_labelTxt_and_sub_folders(tmp_path: Path) -> None:
    put(tmp_path / "labelTxt" / "part1", P2=f"{LEVEL} ship 0")
    put(tmp_path / "labelTxt" / "part2", **{"P1.v2": ""})
    put(tmp_path / "labelTxt" / ".cache", P9="not a label")
    put(tmp_path / "splits", train="P1\nP2\n")
    for folder in (tmp_path, tmp_path / "labelTxt", str(tmp_path)):
        labels = dota.read(folder)
        assert labels.image_ids.tolist() == ["part1/P2", "part2/P1.v2"]
        assert labels.counts.tolist() == [1, 0]


def test_files_are_read_in_the_order_given(tmp_path: Path) -> None:
    put(tmp_path, a=f"{LEVEL} ship 0", b=f"{LEVEL} plane 0")
    labels = dota.read([tmp_path / "b.txt", str(tmp_path / "a.txt")])
    assert labels.image_ids.tolist() == ["b", "a"]
    assert labels.labels.tolist() == [0, 1]
    assert dota.read(tmp_path / "a.txt").image_ids.tolist() == ["a"]


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    files = [put(tmp_path / part, P1="") / "P1.txt" for part in ("train", "val")]
    with pytest.raises(ValueError, match="expected one file per image id"):
        dota.read(files)


def test_nothing_to_read(tmp_path: Path) -> None:
    for source in (tmp_path, tmp_path / "missing", []):
        with pytest.raises(FileNotFoundError, match="expected DOTA labels"):
            dota.read(source)


def test_stream_gives_the_same_labels_some_images_at_a_time(tmp_path: Path) -> None:
    put(tmp_path, **{f"P{i}": f"{LEVEL} {'ship' if i % 2 else 'plane'} {i}\n" * i for i in range(7)})
    classes = ["ship", "plane", "harbor"]
    shards = list(dota.stream(tmp_path, classes, images_at_once=3))
    assert [len(shard) for shard in shards] == [3, 3, 1]
    assert all(shard.classes == ("ship", "plane", "harbor") for shard in shards)
    whole = dota.read(tmp_path, classes)
    assert RotatedInstances.concat(shards) == whole
    assert whole.counts.tolist() == list(range(7))
    # Without `classes`, those in the files are sorted, and the names are the same.
    sorted_classes = dota.read(tmp_path)
    assert sorted_classes.classes == ("plane", "ship")
    assert sorted_classes.to_frame()["class"].tolist() == whole.to_frame()["class"].tolist()
