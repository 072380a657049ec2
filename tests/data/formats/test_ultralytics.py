"""Ultralytics' data sets: every way a data.yaml names its images, and every kind of label line."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from al_rotate.data import RotatedInstances
from al_rotate.data.formats import ultralytics
from al_rotate.data.formats.reading import HORIZONTAL, POLYGONS, Notes

# In an image of 200 x 100: the corners of the box (100, 50, 50, 25, atan2(3, 4)), and a level box of the same centre.
TURNED = "0 0.4375 0.25 0.6375 0.55 0.5625 0.75 0.3625 0.45"
LEVEL = "1 0.5 0.5 0.2 0.1"
BOXES = [[100, 50, 50, 25, math.atan2(3, 4)], [100, 50, 40, 10, 0]]


def put(root: Path, image: str, lines: str | None, size: tuple[int, int] = (200, 100)) -> Path:
    """Write an image and, where it is labelled, its label file where Ultralytics looks for it."""
    path = root / image
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(path)
    if lines is not None:
        before, _, after = image.rpartition("images/")
        label = root / f"{before}labels/{after}"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.with_suffix(".txt").write_text(lines, encoding="utf-8")
    return path


def describe(root: Path, text: str) -> Path:
    (root / "data.yaml").write_text(text, encoding="utf-8")
    return root / "data.yaml"


def read(source: Path, **options: object) -> tuple[RotatedInstances, list[str]]:
    notes = Notes()
    return ultralytics.read(source, notes=notes, **options), list(notes)  # type: ignore[arg-type]


@pytest.mark.parametrize("names", ["[ship, plane]", "{1: plane, 0: ship}", "\n  0: ship\n  1: plane\n"])
def test_both_kinds_of_boxes_and_both_kinds_of_names(tmp_path: Path, names: str) -> None:
    put(tmp_path, "images/train/a.jpg", f"{TURNED}\n{LEVEL}\n")
    put(tmp_path, "images/val/b.png", "", (30, 20))
    put(tmp_path, "images/val/c.png", None)
    describe(tmp_path, f"path: .\ntrain: images/train\nval: images/val\nnames: {names}\n")
    labels, notes = read(tmp_path)
    assert labels.image_ids.tolist() == ["train/a", "val/b"]  # c is not labelled, b is empty
    assert labels.counts.tolist() == [2, 0]
    assert labels.classes == ("ship", "plane")
    assert labels.labels.tolist() == [0, 1]
    np.testing.assert_allclose(labels.boxes, BOXES, atol=1e-4)
    assert labels.image_sizes is not None
    assert labels.image_sizes.tolist() == [[200, 100], [30, 20]]
    where = tmp_path / "labels" / "train" / "a.txt"
    unlabelled = "1 images without a label file, taken as not labelled yet, e.g. in val/c"
    assert notes == [unlabelled, f"1 {HORIZONTAL}, e.g. in {where}:2"]
    assert read(tmp_path / "data.yaml")[0] == labels


@pytest.mark.parametrize(
    ("layout", "splits", "ids"),
    [
        ("images/{}", "train: images", ["a", "b"]),
        ("images/{}", "train: [images]\nval: images", ["a", "b"]),
        ("images/x/{}", "train: images", ["x/a", "x/b"]),
        ("train/images/{}", "train: ../train/images\nval: ../valid/images", ["train/a", "train/b"]),  # as Roboflow
        ("train/images/{}", "train: train/images\ntest:", ["train/a", "train/b"]),
        ("images/{}", "path: /somebody/else\ntrain: images", ["a", "b"]),
        ("set/images/{}", "path: set\ntrain: images", ["a", "b"]),
        ("images/{}", "train: list.txt", ["a", "b"]),
    ],
)
def test_where_the_images_are(tmp_path: Path, layout: str, splits: str, ids: list[str]) -> None:
    for name in ("a.jpg", "b.jpg"):
        put(tmp_path, layout.format(name), TURNED)
    (tmp_path / "list.txt").write_text("./images/a.jpg\r\nimages/b.jpg\n\n")
    describe(tmp_path, f"{splits}\nnc: 1\nnames: [ship]\n")
    assert read(tmp_path)[0].image_ids.tolist() == ids


def test_ids_of_the_users_images(tmp_path: Path) -> None:
    files = {f"pool/{name}": put(tmp_path, f"images/train/{name}.jpg", TURNED) for name in ("a", "b")}
    describe(tmp_path, "train: images/train\nnames: [ship]\n")
    assert read(tmp_path, image_files=files)[0].image_ids.tolist() == ["pool/a", "pool/b"]


def test_what_is_not_there_is_noted(tmp_path: Path) -> None:
    put(tmp_path, "images/a.jpg", TURNED)
    (tmp_path / "list.txt").write_text("images/a.jpg\nimages/gone.jpg\n")
    describe(tmp_path, "train: list.txt\nval: images/val\nnames: [ship]\n")
    labels, notes = read(tmp_path)
    assert labels.image_ids.tolist() == ["a"]
    listed = f"{tmp_path / 'list.txt'}: images/gone.jpg"
    assert notes == [
        f"1 images that a list names, and that are not there: left out, e.g. in {listed}",
        "val in data.yaml is images/val, which is not there: left out",
    ]


def test_labels_that_no_split_names_are_told(tmp_path: Path) -> None:
    put(tmp_path, "images/train/a.jpg", TURNED)
    put(tmp_path, "images/val/b.jpg", TURNED)
    describe(tmp_path, "trian: images/train\nval: images/val\nnames: [ship]\n")
    labels, notes = read(tmp_path)
    assert labels.image_ids.tolist() == ["val/b"]
    reason = f"{tmp_path / 'labels' / 'train' / 'a.txt'}: of no image that data.yaml names"
    assert labels.skipped == {"labels/train/a": reason}
    assert f"1 label files left out, for their image is not known, e.g. in {reason}" in notes


def test_a_folder_without_yaml(tmp_path: Path) -> None:
    put(tmp_path, "images/a.jpg", f"{TURNED}\n")
    (tmp_path / "labels" / "alone.txt").write_text(TURNED)
    (tmp_path / "classes.txt").write_bytes("\ufeffship \r\nplane\r\n\r\n".encode())
    labels, (note,) = read(tmp_path)
    assert labels.image_ids.tolist() == ["a"]
    assert labels.classes == ("ship", "plane")
    reason = f"{tmp_path / 'labels' / 'alone.txt'}: not among the images"
    assert note == f"1 label files left out, for their image is not known, e.g. in {reason}"
    assert labels.skipped == {"alone": reason}
    assert read(tmp_path / "labels")[0] == labels


def test_a_flat_folder_as_labelimg_leaves_it(tmp_path: Path) -> None:
    Image.new("RGB", (200, 100)).save(tmp_path / "a.jpg")
    (tmp_path / "a.txt").write_text(LEVEL)
    (tmp_path / "classes.txt").write_text("dog\nship\n")
    labels, _ = read(tmp_path, kind="horizontal")
    assert labels.image_ids.tolist() == ["a"]
    np.testing.assert_allclose(labels.boxes, BOXES[1:], atol=1e-4)
    (tmp_path / "classes.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"expected the class names in .*; give classes, in the order of their"):
        read(tmp_path)
    assert read(tmp_path, classes=["dog", "ship"])[0].labels.tolist() == [1]


def test_classes_are_matched_by_name(tmp_path: Path) -> None:
    put(tmp_path, "images/a.jpg", f"{TURNED}\n{LEVEL}\n")
    describe(tmp_path, "train: images\nnames: [ship, plane]\n")
    labels, _ = read(tmp_path, classes=["car", "plane", "ship"])
    assert labels.labels.tolist() == [2, 1]
    with pytest.raises(ValueError, match=r"a\.txt: expected one of the classes ship, got 'plane'"):
        read(tmp_path, classes=["ship"])


@pytest.mark.parametrize("kind", ["any", "rotated", "horizontal"])
@pytest.mark.parametrize(
    ("line", "accepted"),
    [
        (TURNED, ("any", "rotated")),
        (LEVEL, ("any", "horizontal")),
        ("1.0 0.5 0.5 0.2 0.1", ("any", "horizontal")),
        ("0 0.1 0.1 0.3 0.1 0.3 0.3", ("any",)),  # a triangle
        ("0 -0.005 0.5 0.2 0.5 0.2 0.7 -0.005 0.7", ("any", "rotated")),  # a little outside
        ("0 0.5 0.5 0.2 0.1 0.9", ()),  # with a score
        ("0 0.5 0.5 0.2", ()),
        ("0", ()),
        ("2 0.5 0.5 0.2 0.1", ()),
        ("-1 0.5 0.5 0.2 0.1", ()),
        ("0.5 0.5 0.5 0.2 0.1", ()),
        ("ship 0.5 0.5 0.2 0.1", ()),
        ("1 0.5 0.5 -0.2 0.1", ()),
        ("1 0.5 0.5 nan 0.1", ()),
        ("1 0.5 1e39 0.2 0.1", ()),
        ("1 100 50 40 10", ()),  # pixels
        ("1 50 50 20 10", ()),  # percent
        ("0 20 10 60 10 60 30 20 30", ()),  # pixels
        ("0 2 1 3 1 3 2 2 2", ()),  # pixels of a tiny box
        ("0 0 1e39 1 0 1 1 0 1", ()),
    ],
)
def test_lines(tmp_path: Path, line: str, accepted: tuple[str, ...], kind: str) -> None:
    put(tmp_path, "images/a.jpg", f"\n{line}\n")
    describe(tmp_path, "train: images\nnames: [ship, plane]\n")
    if kind in accepted:
        assert read(tmp_path, kind=kind)[0].n_boxes == 1
    else:
        with pytest.raises(ValueError, match=r"a\.txt:2: expected .*; the line is"):
            read(tmp_path, kind=kind)


def test_a_polygon_becomes_its_rectangle_of_least_area(tmp_path: Path) -> None:
    put(tmp_path, "images/a.jpg", "0 0.1 0.2 0.3 0.2 0.3 0.6 0.2 0.6 0.1 0.6")
    describe(tmp_path, "train: images\nnames: [ship]\n")
    labels, (note,) = read(tmp_path)
    np.testing.assert_allclose(labels.boxes, [[40, 40, 40, 40, labels.boxes[0, 4]]], atol=1e-4)
    assert note.startswith(f"1 {POLYGONS}")


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("train: images\n", ValueError, "expected names as a list or a mapping"),
        ("train: 5\nnames: [ship]\n", ValueError, "expected train to be folders or .txt files, got 5"),
        ("train: [[images]]\nnames: [ship]\n", ValueError, "expected train to be folders"),
        ("path: [1]\ntrain: images\nnames: [ship]\n", ValueError, "expected path to be a folder"),
        ("train: images/a.jpg\nnames: [ship]\n", ValueError, "expected train to be a folder or a .txt file"),
        ("train: nowhere\nnames: [ship]\n", FileNotFoundError, "expected images in train, val or test"),
        ("train: bare/images\nnames: [ship]\n", FileNotFoundError, "expected labels such as"),
        ("train: [images, other/images]\nnames: [ship]\n", ValueError, "expected one image per id"),
        ("train: images\nnames: [ship, ship]\n", ValueError, "expected distinct class names"),
    ],
)
def test_a_data_yaml_that_cannot_be_followed(tmp_path: Path, text: str, error: type, message: str) -> None:
    for name in ("images/a.jpg", "other/images/../images/a.jpg"):
        put(tmp_path, name, TURNED)
    put(tmp_path, "images/other/a.jpg", TURNED)
    put(tmp_path, "bare/images/a.jpg", None)
    file = describe(tmp_path, text)
    with pytest.raises(error, match=message) as caught:
        read(tmp_path)
    assert str(file) in str(caught.value)


def test_no_labels_no_image_and_several_yamls(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("ship\n")
    with pytest.raises(FileNotFoundError, match=r"expected YOLO labels in .*, got no \.txt file"):
        read(tmp_path)
    put(tmp_path, "images/a.jpg", None)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "b.txt").write_text(TURNED)
    with pytest.raises(ValueError, match=r"b\.txt: expected an image with the id 'b', for its size, got none"):
        read(tmp_path)
    for name in ("one.yaml", "two.yaml"):
        (tmp_path / name).write_text("train: images\nnames: [ship]\n")
    (tmp_path / "other.yaml").write_text("- 1\n")
    with pytest.raises(ValueError, match=r"expected one data\.yaml in .*, got one\.yaml, two\.yaml; name the file"):
        read(tmp_path)
