"""Labels and image files written together, and read back."""

from pathlib import Path

import pytest
from PIL import Image

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


def save_images(folder, **sizes):
    files = {}
    for name, size in sizes.items():
        files[name.replace("_", "/")] = folder / f"{name}.png"
        Image.new("L", size).save(folder / f"{name}.png")
    return files


def test_images_of_another_size_than_the_labelled_ones_are_refused(tmp_path):
    files = save_images(tmp_path, a=(64, 48), b_c=(32, 32))
    dataset.write(tmp_path / "x.parquet", files, LABELS.replace(image_sizes=[[64, 48], [0, 0]]), CLASSES)
    (tmp_path / "x.parquet").unlink()
    labels = LABELS.replace(image_sizes=[[64, 48], [64, 64]])
    with pytest.raises(ValueError, match=r"'b/c' to be of 64 x 64 pixels, .*, got 32 x 32: .*b_c\.png; give the image"):
        dataset.write(tmp_path / "x.parquet", files, labels, CLASSES)
    with pytest.raises(ValueError, match=r"the image 'a' \(and 1 others\) to be of 48 x 64 pixels, .*, got 64 x 48"):
        dataset.write(tmp_path / "x.parquet", files, labels.replace(image_sizes=[[48, 64], [1, 1]]), CLASSES)
    assert not (tmp_path / "x.parquet").exists()


@pytest.mark.parametrize("content", ["", "{", "[]", "5", '{"a": 1}'])
def test_a_damaged_list_of_files_is_named(tmp_path, content):
    path = dataset.write(tmp_path / "x.parquet", {"a": "a", "b/c": "c"}, LABELS, CLASSES)
    (tmp_path / "x.files.json").write_text(content)
    with pytest.raises(ValueError, match=r"x\.files\.json: expected a JSON object of image ids and files"):
        dataset.read(path)
    (tmp_path / "x.files.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"x\.files\.json"):
        dataset.read(path)


def test_one_class_as_text_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected a sequence of class names, got 'ship'; write \['ship'\]"):
        dataset.write(tmp_path / "x.parquet", {"a": "a", "b/c": "c"}, LABELS.replace(classes=None), "ship")
    with pytest.raises(ValueError, match="expected a sequence of class names"):
        LABELS.as_labels("ship")
