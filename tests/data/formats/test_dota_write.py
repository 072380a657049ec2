"""DOTA's files written: labels that are read back, what is refused, and submissions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from al_rotate import boxes
from al_rotate.data import RotatedInstances
from al_rotate.data.formats import dota


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
