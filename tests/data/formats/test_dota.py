"""DOTA label files: every line that is read, every line that is refused, and round trips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from al_rotate import boxes
from al_rotate.data.formats import dota
from al_rotate.data.instances import RotatedInstances
from al_rotate.storage import files as _files

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
    # Classes found on the way mean the same as classes given.
    found = dota.read(tmp_path)
    assert found.classes == ("plane", "ship")
    assert found.to_frame()["class"].tolist() == whole.to_frame()["class"].tolist()


def some_labels() -> RotatedInstances:
    rectangles = np.float32([[20, 24, 20, 8, 0.3], [1054.37, 1028.01, 63.2, 14.5, -1.2], [-5, 3, 9, 2, 1.5]])
    return RotatedInstances(
        ["P1", "tiles/P2__0___0", "tiles/P2__824___0"],
        [0, 2, 2, 3],
        rectangles,
        [1, 0, 1],
        classes=["ship", "small vehicle 2"],
        difficult=[1, 0, 2],
    )


def test_round_trip(tmp_path: Path) -> None:
    labels = some_labels()
    assert dota.write(labels, tmp_path / "out") == tmp_path / "out"
    assert (tmp_path / "out" / "tiles" / "P2__0___0.txt").read_bytes() == b""
    back = dota.read(tmp_path / "out", labels.classes)
    assert back == labels
    dota.write(back, tmp_path / "again")
    files = sorted(file.relative_to(tmp_path / "out") for file in (tmp_path / "out").rglob("*.*"))
    assert len(files) == 3
    for file in files:
        assert (tmp_path / "out" / file).read_bytes() == (tmp_path / "again" / file).read_bytes()


def test_written_text_in_full(tmp_path: Path) -> None:
    labels = RotatedInstances(["a"], [0, 1], [[20, 24, 20, 8, 0]], [0], classes=["ship"])
    text = (dota.write(labels, tmp_path) / "a.txt").read_text()
    words = text.split()
    assert text.endswith(" ship 0\n")
    assert [float(word) for word in words[:8]] == [10, 20, 30, 20, 30, 28, 10, 28]
    assert words[0] == "10.000000000"


sides = st.floats(0.5, 2000, width=32)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.floats(-100, 20000, width=32),
            st.floats(-100, 20000, width=32),
            sides,
            sides,
            st.floats(-10, 10, width=32),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_round_trip_keeps_every_rectangle(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, ...]]
) -> None:
    folder = tmp_path_factory.mktemp("labels")
    labels = RotatedInstances(["a"], [0, len(rows)], boxes.canonical(np.float32(rows)), [0] * len(rows), classes=["x"])
    back = dota.read(dota.write(labels, folder), ["x"])
    before, after = (boxes.to_corners(part.boxes.astype(np.float64)) for part in (labels, back))
    # The same four corners, whichever is first: to the spacing of float32 at 20,000 and of the angle at 2,000.
    distance = np.linalg.norm(before[:, :, None] - after[:, None], axis=-1).min(axis=2)
    assert distance.max() < 2e-3
    assert boxes.iou(labels.boxes, back.boxes, paired=True).min() > 0.999


def test_detections_are_not_written_as_labels(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"write_submission, or instances.replace\(scores=None\)"):
        dota.write(some_labels().replace(scores=[0.5, 0.5, 0.5]), tmp_path)
    assert not list(tmp_path.iterdir())


def test_labels_need_classes_that_can_be_read_back(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected instances with classes"):
        dota.write(some_labels().replace(classes=None), tmp_path)
    for name in ("two  spaces", "line\nend", " edge"):
        with pytest.raises(ValueError, match="expected class names with single spaces"):
            dota.write(some_labels().replace(classes=["ship", name]), tmp_path)


@pytest.mark.parametrize(
    "image_id", ["../a", "/a", "b/../../a", "a/", "a//b", "./a", ".hidden", "b/.hidden", "..", "a\\b"]
)
def test_ids_that_would_leave_the_folder_are_refused(tmp_path: Path, image_id: str) -> None:
    folder = tmp_path / "in" / "out"
    with pytest.raises(ValueError, match="expected an image id to be a relative POSIX path"):
        dota.write(RotatedInstances.empty([image_id], ["ship"]), folder)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_one_bad_id_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="relative POSIX path"):
        dota.write(some_labels().replace(image_ids=["P1", "P2", "../a"]), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = dota.write(some_labels(), tmp_path) / "P1.txt"
    before = path.read_bytes()
    with pytest.raises(TypeError), _files.atomic_write(path) as file:
        file.writelines(["half a line", None])  # type: ignore[list-item]
    assert path.read_bytes() == before
    assert not list(tmp_path.rglob(".*"))


def test_submission_has_one_file_a_class(tmp_path: Path) -> None:
    detections = RotatedInstances(
        ["P1", "P2"],
        [0, 2, 3],
        [[20, 24, 20, 8, 0], [50, 50, 4, 2, 0], [7, 8, 6, 2, 0]],
        [0, 2, 0],
        scores=[0.9, 0.25, 0.1],
        classes=["ship", "harbor", "small vehicle"],
    )
    dota.write_submission(detections, tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "Task1_harbor.txt",
        "Task1_ship.txt",
        "Task1_small vehicle.txt",
    ]
    assert (tmp_path / "Task1_harbor.txt").read_text() == ""
    lines = [line.split() for line in (tmp_path / "Task1_ship.txt").read_text().splitlines()]
    assert [line[:2] for line in lines] == [["P1", "0.9"], ["P2", "0.1"]]
    assert [float(word) for word in lines[1][2:]] == [4, 7, 10, 7, 10, 9, 4, 9]


def test_submission_refuses_what_the_server_could_not_read(tmp_path: Path) -> None:
    detections = some_labels().replace(scores=[0.5, 0.5, 0.5])
    with pytest.raises(ValueError, match="expected detections with scores"):
        dota.write_submission(some_labels(), tmp_path)
    with pytest.raises(ValueError, match="without spaces in a DOTA submission, got 'a b'"):
        dota.write_submission(detections.replace(image_ids=["a b", "c", "d"]), tmp_path)
    with pytest.raises(ValueError, match="can be file names"):
        dota.write_submission(detections.replace(classes=["../x", "y"]), tmp_path)
