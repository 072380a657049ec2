"""Labels of any format: recognised, matched with images, with an account of what was odd, and written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers import other_formats
from helpers.other_formats import put
from helpers.shapes import corner_distance
from PIL import Image

from al_rotate import boxes
from al_rotate.data import RotatedInstances, formats, images

SIZES = {"P1": (200, 100), "part/P2": (64, 80), "P3": (50, 50)}
CLASSES = ("large vehicle", "ship")


def labels(level: bool = False) -> RotatedInstances:
    """Boxes inside three images; the third is empty. On request all are level, as in the formats without an angle."""
    rows = np.array([[100, 50, 50, 25, 0.6], [60, 40, 20, 10, -1.2], [30, 40, 24, 12, 0.1]])
    rows[:, 4] *= not level
    sizes = list(SIZES.values())
    return RotatedInstances(
        list(SIZES), [0, 2, 3, 3], boxes.canonical(rows), [1, 0, 1], classes=CLASSES, image_sizes=sizes
    )


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    for image_id, size in SIZES.items():
        path = tmp_path / "pool" / f"{image_id}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size).save(path)
    return images.find(tmp_path / "pool")


@pytest.mark.parametrize("name", sorted(formats.FORMATS))
def test_every_format_is_recognised_and_read(tmp_path: Path, files: dict[str, Path], name: str) -> None:
    given = labels(level=name in other_formats.LEVEL)
    out = other_formats.WRITERS[name](given, tmp_path / "labels of others", files)
    assert formats.guess(out).format == name
    imported = formats.read(out, images=files)
    assert imported.format == name
    assert imported.notes[0].startswith(f"read as {name}, for ")
    assert any(f": {', '.join(CLASSES)}" in note for note in imported.notes)
    assert any("horizontal boxes" in note for note in imported.notes) == (name in ("voc", "yolo"))
    assert "1 labelled images without an object, taken as empty, e.g. in P3" in imported.notes
    again = imported.labels.subset(given.image_ids)
    assert again.classes == given.classes
    assert again.labels.tolist() == given.labels.tolist()
    assert again.offsets.tolist() == given.offsets.tolist()
    assert again.image_sizes is not None
    assert again.image_sizes.tolist() == [list(size) for size in SIZES.values()]
    assert corner_distance(given.boxes, again.boxes).max() < 1e-3
    assert formats.read(out, name, CLASSES[::-1], files).labels.subset(given.image_ids).labels.tolist() == [0, 1, 0]
    assert str(imported).splitlines()[0] == f"{name}: 3 images, 3 boxes"


def test_classes_are_numbered_alike_whichever_comes_first(tmp_path: Path) -> None:
    for name, order in (("train", ("ship", "plane")), ("val", ("plane", "ship"))):
        put(tmp_path / name / "a.txt", "".join(f"10 10 30 10 30 20 10 20 {label} 0\n" for label in order))
    read = [formats.read(tmp_path / name) for name in ("train", "val")]
    assert read[0].labels.classes == read[1].labels.classes == ("plane", "ship")
    assert "classes, sorted: plane, ship" in read[0].notes


def test_an_image_without_a_label_file_is_not_labelled(tmp_path: Path, files: dict[str, Path]) -> None:
    formats.write(labels().subset(["P1", "P3"]), "dota", tmp_path / "out")
    imported = formats.read(tmp_path / "out", images=files)
    assert imported.labels.image_ids.tolist() == ["P1", "P3"]


def test_labels_are_matched_with_images_by_the_end_of_their_ids(tmp_path: Path, files: dict[str, Path]) -> None:
    given = labels().replace(image_ids=["x/P1", "P2", "elsewhere"])
    formats.write(given, "dota", tmp_path / "out")
    imported = formats.read(tmp_path / "out", images=tmp_path / "pool")
    assert sorted(imported.labels.image_ids) == ["P1", "part/P2"]
    assert imported.labels.skipped == {"elsewhere": "not among the images"}
    assert "1 labelled images left out: not among the images, e.g. in elsewhere" in imported.notes
    with pytest.raises(
        ValueError, match=r"expected labels of the images z\.\.\., got labels of P2, elsewhere, x/P1\.\.\.: not "
    ):
        formats.read(tmp_path / "out", images={"z": files["P1"]})
    with pytest.raises(ValueError, match=r"expected one image of these labels, got a/P2, b/P2"):
        formats.read(tmp_path / "out", images={"a/P2": files["P1"], "b/P2": files["P1"]})


def test_what_cannot_be_matched_is_left_out_alone(tmp_path: Path, files: dict[str, Path]) -> None:
    formats.write(labels().replace(image_ids=["a/P1", "b/P1", "P3"]), "dota", tmp_path / "out")
    imported = formats.read(tmp_path / "out", images=files)
    assert imported.labels.image_ids.tolist() == ["P3"]
    assert imported.labels.skipped == {
        "a/P1": "expected one set of labels of the image 'P1', got also 'b/P1'",
        "b/P1": "expected one set of labels of the image 'P1', got also 'a/P1'",
    }
    assert "2 labelled images left out: labelled twice, e.g. in a/P1" in imported.notes


def test_labels_of_another_size_or_a_damaged_image_are_left_out(tmp_path: Path, files: dict[str, Path]) -> None:
    formats.write(labels(), "coco", tmp_path / "out")
    Image.new("RGB", (100, 50)).save(files["P1"])
    files["P3"].write_bytes(b"no image")
    imported = formats.read(tmp_path / "out", images=files)
    assert imported.labels.image_ids.tolist() == ["part/P2"]
    assert imported.labels.skipped["P1"].startswith(
        "expected the image 'P1' to be of 200 x 100 pixels, as when it was labelled, got 100 x 50"
    )
    assert str(files["P3"]) in imported.labels.skipped["P3"]
    files["part/P2"].write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"out: expected labels that can be taken over, got none: .* \(and 2 others\)"):
        formats.read(tmp_path / "out", images=files)


def test_images_without_an_object_that_nobody_has_looked_at(tmp_path: Path, files: dict[str, Path]) -> None:
    formats.write(labels(), "cvat", tmp_path / "out")
    assert any("empty='unlabelled'" in note for note in formats.read(tmp_path / "out", images=files).notes)
    imported = formats.read(tmp_path / "out", images=files, empty="unlabelled")
    assert imported.labels.image_ids.tolist() == ["P1", "part/P2"]
    assert "1 images without an object, taken as not labelled yet, e.g. in P3" in imported.notes
    with pytest.raises(ValueError, match="expected empty to be one of labelled, unlabelled, got 'no'"):
        formats.read(tmp_path / "out", images=files, empty="no")


def test_several_coco_files_in_a_folder(tmp_path: Path) -> None:
    for name in ("train", "valid"):
        formats.write(labels(), "coco", tmp_path / name / "_annotations.coco.json")
    assert formats.read(tmp_path / "train").labels == labels()
    with pytest.raises(ValueError, match=r"expected one COCO file in .*, got train/_.*, valid/_.*; name the file"):
        formats.read(tmp_path)


def test_boxes_without_an_area_or_outside_are_noted(tmp_path: Path, files: dict[str, Path]) -> None:
    rows = [[300, 50, 5, 3, 0], [60, 40, 20, 0, 0], [30, 40, 24, 12, 0]]
    formats.write(labels().replace(boxes=rows), "dota", tmp_path / "out")
    notes = formats.read(tmp_path / "out", images=files).notes
    assert "1 boxes without an area, e.g. in P1" in notes
    assert "1 boxes whose centre is outside their image, e.g. in P1" in notes


@pytest.mark.parametrize("name", ["dota", "coco", "cvat", "rolabelimg", "voc", "labelme", "parquet"])
def test_fractions_where_pixels_are_meant_are_refused(tmp_path: Path, files: dict[str, Path], name: str) -> None:
    rows = labels(level=name in other_formats.LEVEL).boxes / [[200, 100, 200, 100, 1]] * 2**-0.5
    source = other_formats.WRITERS[name](labels().replace(boxes=rows), tmp_path / "labels", files)
    with pytest.raises(ValueError, match=r"expected coordinates in pixels, got none above 1, .* are these fractions"):
        formats.read(source, name, images=files)


def test_boxes_that_are_drawn_twice_are_noted(tmp_path: Path, files: dict[str, Path]) -> None:
    rows = [[60, 40, 20, 10, 0], [60, 40, 20, 10, 0], [60, 40, 20, 10, 0]]
    formats.write(labels().replace(boxes=rows, labels=[1, 1, 1]), "dota", tmp_path / "out")
    imported = formats.read(tmp_path / "out", images=files)
    assert "1 boxes that are exact copies of another, e.g. in P1" in imported.notes  # the third is on another image
    assert imported.labels.n_boxes == 3


@pytest.mark.parametrize(
    ("name", "wrong"), [("cvat", "a\x01"), ("cvat", " a"), ("yolo-obb", "a "), ("yolo-obb", "a\u2028b")]
)
def test_class_names_that_a_format_cannot_hold(tmp_path: Path, name: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=r"expected .*names .*, got "):
        formats.write(labels().replace(classes=[wrong, "ship"]), name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ({}, FileNotFoundError, "there is no such file"),
        ({"a.zip": "PK"}, ValueError, "unpack it first"),
        ({"a.txt": "", "b.json": "{}", "readme.txt": "1 2 3"}, ValueError, "empty or of no known format"),
        ({"a.txt": "1 1 2 1 2 2 1 2 s 0", "b.xml": "<annotations/>"}, ValueError, "of one format in .*dota.*; cvat"),
        ({"a.json": '[{"id": 1, "data": {}}]'}, ValueError, "Label Studio's export: read it by"),
        ({"a.json": "{"}, ValueError, r"a\.json: expected JSON"),
        ({"a.xml": "<x"}, ValueError, r"a\.xml: expected XML"),
    ],
)
def test_what_is_not_recognised(tmp_path: Path, content: dict[str, str], error: type, message: str) -> None:
    source = tmp_path / "source"
    for name, text in content.items():
        put(source / name, text)
    if [*content] == ["a.zip"]:
        source /= "a.zip"
    with pytest.raises(error, match=message):
        formats.guess(source)


def test_blank_files_come_before_the_one_that_tells(tmp_path: Path) -> None:
    for number in range(60):
        put(tmp_path / f"{number:02}.txt", "" if number != 59 else "imagesource:x\ngsd:1\n1 1 2 1 2 2 1 2 ship 0\n")
    assert formats.guess(tmp_path) == ("dota", "59.txt has four corners and a class")


def test_a_format_that_is_not_known_or_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected a format among dota, coco, .* got 'doat'"):
        formats.read(tmp_path, "doat")
    with pytest.raises(ValueError, match=r"that can be written \(dota, coco, ultralytics, yolo-obb, cvat\), got 'voc'"):
        formats.write(labels(), "voc", tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        formats.read(tmp_path / "missing", "dota")
    with pytest.raises(ValueError, match=r"expected a sequence of class names, got 'ship'"):
        formats.read(tmp_path, "dota", "ship")


@pytest.mark.parametrize("name", sorted(formats.FORMATS))
def test_damaged_files_are_read_or_refused_by_name(tmp_path: Path, files: dict[str, Path], name: str) -> None:
    """Bytes are cut, repeated and replaced, 60 times."""
    rng = np.random.default_rng([*name.encode()])
    source = other_formats.WRITERS[name](labels(level=name in other_formats.LEVEL), tmp_path / "labels", files)
    every = [source] if source.is_file() else [file for file in source.rglob("*") if file.suffix != ".jpg"]
    victims = [file for file in every if file.is_file() and file.stat().st_size]
    for _ in range(60):
        file = victims[rng.integers(len(victims))]
        whole = file.read_bytes()
        start, end = sorted(rng.integers(len(whole) + 1, size=2))
        end = min(end, start + 6)
        damaged = [
            whole[:start],
            whole[:start] + whole[end:],
            whole[:end] + whole[start:],
            whole[:start] + [b"nan", b"1e39", b"-1", b"\xff", b"\0", b"", b"x"][rng.integers(7)] + whole[end:],
        ]
        file.write_bytes(damaged[rng.integers(4)])
        refusal, imported = "", None
        try:
            imported = formats.read(source, name, images=files)
        except (ValueError, FileNotFoundError) as error:
            refusal = f"{type(error).__name__}: {error}"
        file.write_bytes(whole)
        if imported is None:
            assert refusal.startswith(("ValueError: ", "FileNotFoundError: "))  # and none of their subclasses
            assert str(tmp_path / "labels") in refusal
        else:
            assert np.isfinite(imported.labels.boxes).all()
            assert imported.labels.image_ids.tolist() or imported.labels.skipped
