"""Labels and image files written together, and read back."""

from pathlib import Path

import pytest

from al_rotate.data import RotatedInstances, dataset

CLASSES = ("ship", "plane")
LABELS = RotatedInstances(
    ["a", "b/c"], [0, 2, 2], [[10, 10, 8, 4, 0.25], [30, 20, 6, 6, 0]], [1, 0], classes=CLASSES, difficult=[0, 1]
)


def test_labels_come_back_with_their_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = {"a": "images/a.png", "b/c": tmp_path / "elsewhere" / "c.jpg", "unlabelled": "d.png"}
    path = dataset.write("sets/train.parquet", files, LABELS, list(CLASSES))
    assert path == Path("sets/train.parquet")
    assert sorted(file.name for file in path.parent.iterdir()) == ["train.files.json", "train.parquet"]
    monkeypatch.chdir("/")  # files are found from anywhere
    labels, images = dataset.read(tmp_path / path)
    assert labels == LABELS
    assert list(images.items()) == [("a", tmp_path / "images/a.png"), ("b/c", tmp_path / "elsewhere" / "c.jpg")]


def test_only_what_labels_have_is_kept(tmp_path):
    detections = LABELS.replace(
        classes=None,
        scores=[0.5, 0.9],
        class_scores=[[0, 1], [1, 0]],
        box_features=[[1], [2]],
        image_features=[[1], [2]],
    )
    labels, _ = dataset.read(dataset.write(tmp_path / "x.parquet", {"a": "a", "b/c": "c"}, detections, CLASSES))
    assert labels == LABELS  # with their classes
    detections.replace(classes=CLASSES).save(tmp_path / "x.parquet")  # as older releases wrote it
    assert dataset.read(tmp_path / "x.parquet")[0] == LABELS


def test_labels_that_do_not_fit_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match=r"classes \('plane', 'ship'\), got \('ship', 'plane'\)"):
        dataset.write(tmp_path / "x.parquet", {"a": "a", "b/c": "c"}, LABELS, ("plane", "ship"))
    with pytest.raises(ValueError, match=r"got none for 1, e\.g\. 'b/c'"):
        dataset.write(tmp_path / "x.parquet", {"a": "a"}, LABELS, CLASSES)
    assert list(tmp_path.iterdir()) == []
