"""Folders as people and tools leave them: what is recognised, what is read, and what is told."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from al_rotate.data import formats, images

DOTA = "60 40 100 40 100 60 60 60 ship 0\n"
YOLO = "0 0.3 0.4 0.5 0.4 0.5 0.6 0.3 0.6\n"  # the same box in an image of 200 x 100 pixels
BOX = [80, 50, 40, 20, 0]
LEVEL = "0 0.4 0.5 0.2 0.2\n"
VOC = (
    "<annotation><object><name>ship</name><bndbox><xmin>60</xmin><ymin>40</ymin><xmax>100</xmax><ymax>60</ymax></bndbox>"
    "</object></annotation>"
)
COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Zürich") for form in ("NFC", "NFD"))

Files = dict[str, str | bytes | None]  # None is an image


def lay_out(root: Path, files: Files) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            Image.new("RGB", (200, 100)).save(path)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


@pytest.mark.parametrize(
    ("format", "labels", "pool", "ids"),
    [
        ("dota", {"x/a.txt": DOTA, "y/b.txt": DOTA}, ["x/a.png", "y/b.png"], ["x/a", "y/b"]),
        ("dota", {"labelTxt/a.txt": DOTA, "images/a.png": None}, ["a.png"], ["a"]),
        (
            "dota",
            {"a.txt": "\ufeffimagesource:GoogleEarth\r\ngsd:null\r\n" + DOTA.replace("\n", "\r\n")},
            ["a.png"],
            ["a"],
        ),
        ("dota", {"a.TXT": DOTA}, ["a.PNG"], ["a"]),
        (
            "dota",
            {"Bild 1 (Kopie).txt": DOTA, f"{DECOMPOSED}.txt": DOTA},
            ["Bild 1 (Kopie).png", f"{COMPOSED}.jpg"],
            ["Bild 1 (Kopie)", COMPOSED],
        ),
        ("dota", {"a.png.txt": DOTA}, ["a.png"], ["a"]),
        ("dota", {"a.v2.txt": DOTA}, ["a.v2.png"], ["a.v2"]),
        (
            "dota",
            {"a.txt": DOTA, "__MACOSX/._a.txt": b"\0\5\x16", ".DS_Store": b"\0", "Thumbs.db": b"\0"},
            ["a.png"],
            ["a"],
        ),
        (
            "dota",
            {"a.txt": DOTA, "classes.txt": "ship\n", "README.txt": "my labels\n", "train.txt": "a\n"},
            ["a.png"],
            ["a"],
        ),
        ("dota", {"test.txt": DOTA, "train.txt": DOTA}, ["test.png", "train.png"], ["test", "train"]),
        ("dota", {"a.txt": DOTA, "b.txt": DOTA}, ["x/a.png", "y/a.png", "b.png"], ["b"]),  # a is of either
        ("yolo-obb", {"a.png": None, "a.txt": YOLO, "classes.txt": "ship\n"}, ["a.png"], ["a"]),
        (
            "yolo-obb",
            {"labels/train/a.txt": YOLO, "labels/val/b.txt": YOLO, "classes.txt": "ship"},
            ["a.png", "b.png"],
            ["a", "b"],
        ),
        ("yolo-obb", {"train/labels/a.txt": YOLO, "train/images/a.png": None, "classes.txt": "ship"}, ["a.png"], ["a"]),
        (
            "yolo-obb",
            {"labels/x/a.txt": YOLO, "labels/x/classes.txt": "ship", "labels/y/classes.txt": "ship"},
            ["a.png"],
            ["a"],
        ),
        (
            "yolo",
            {"obj_train_data/a.txt": LEVEL, "obj.names": "ship\n", "train.txt": "data/obj_train_data/a.png\n"},
            ["a.png"],
            ["a"],
        ),
        ("ultralytics", {"a.txt": YOLO, "b.txt": LEVEL, "classes.txt": "ship"}, ["a.png", "b.png"], ["a", "b"]),
        (
            "ultralytics",
            {"a.txt": "0 0.3 0.4 0.5 0.4 0.5 0.6 0.4 0.6 0.3 0.6", "classes.txt": "ship"},
            ["a.png"],
            ["a"],
        ),
        (
            "ultralytics",
            {
                "set/images/a.png": None,
                "set/labels/a.txt": YOLO,
                "set/data.yaml": "train: images\nnames: [ship]",
                "__MACOSX/set/._data.yaml": b"\0",
            },
            ["a.png"],
            ["a"],
        ),
        (
            "ultralytics",
            {"labels/a.txt": YOLO, "data.yaml": "train: ../train/images\nnc: 1\nnames: ['ship']"},
            ["a.png"],
            ["a"],
        ),
        (
            "ultralytics",
            {
                "labels/train/a.txt": YOLO,
                "images/train/a.png": None,
                "train.txt": "data/images/train/a.png\n",
                "data.yaml": "path: .\ntrain: train.txt\nnames:\n  '0': ship\n",
            },
            ["a.png"],
            ["a"],
        ),
        (
            "ultralytics",
            {"labels/a.txt": YOLO, "images/a.png": None, "data.yaml": "train: images\\\r\nval:\r\nnames: {0: ship}"},
            ["a.png"],
            ["a"],
        ),
        ("voc", {"a.XML": VOC}, ["a.png"], ["a"]),
    ],
)
def test_what_people_bring(tmp_path: Path, format: str, labels: Files, pool: list[str], ids: list[str]) -> None:
    source = lay_out(tmp_path / "labels of others", labels)
    files = images.find(lay_out(tmp_path / "pool", dict.fromkeys(pool)))
    imported = formats.read(source, images=files)
    assert imported.format == format
    assert imported.labels.image_ids.tolist() == ids
    assert imported.labels.boxes.tolist() == [pytest.approx(BOX, abs=1e-4)] * len(ids)
    assert imported.labels.classes == ("ship",)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            {"labelTxt/a.txt": DOTA, "voc/a.xml": VOC},
            "of one format in .*dota: a.txt has four corners and a class; voc: ",
        ),
        (
            {
                "labelTxt/a.txt": DOTA,
                "labels/a.txt": YOLO,
                "images/a.png": None,
                "data.yaml": "train: images\nnames: [ship]",
            },
            "of one format in .*ultralytics: data.yaml .*; dota: a.txt",
        ),
        ({"a.txt": "", "b.txt": "\n"}, "files that are empty or of no known format; name the format"),
        ({"a.xml": ""}, r"a\.xml: expected XML, got: no element found"),
        ({"a.json": ""}, r"a\.json: expected JSON"),
        ({"a.txt": "0 0.5 0.5 0.1 0.1 0.9\n"}, "of no known format"),  # a prediction with its confidence
        ({"a.txt": "60,40,100,40,100,60,60,60,ship\n"}, "of no known format"),
        ({"Task1_ship.txt": "a 0.9 60 40 100 40 100 60 60 60\n"}, "of no known format"),
        (
            {"a.txt": YOLO + LEVEL, "classes.txt": "ship"},
            r"a\.txt:2: .*the format ultralytics takes rotated and horizontal",
        ),
        ({"a.txt": DOTA, "a.TXT": DOTA}, "expected one label file per image, got .*; delete one"),
        (
            {"x/labels/a.txt": YOLO, "x/a.txt": YOLO, "classes.txt": "ship"},
            "expected one file per id, got .*, both 'x/a'",
        ),
        (
            {"x/data.yaml": "train: x\nnames: [a]", "y/data.yaml": "train: x\nnames: [b]"},
            "got x/data.yaml, y/data.yaml; name",
        ),
        (
            {"labels/x/a.txt": YOLO, "labels/x/classes.txt": "ship", "labels/y/classes.txt": "plane"},
            "expected the same class names",
        ),
    ],
)
def test_what_is_not_guessed(tmp_path: Path, labels: Files, message: str) -> None:
    source = lay_out(tmp_path / "labels", labels)
    files = images.find(lay_out(tmp_path / "pool", {"a.png": None, "x/a.png": None}))
    with pytest.raises(ValueError, match=message):
        formats.read(source, images=files)


def test_what_is_left_out_is_told(tmp_path: Path) -> None:
    source = lay_out(tmp_path / "labels", {"a.txt": YOLO, "gone.txt": YOLO, "torn.txt": YOLO, "classes.txt": "ship"})
    pool = lay_out(tmp_path / "pool", {"a.png": None, "torn.png": b"no image"})
    imported = formats.read(source, images=pool)
    assert imported.labels.image_ids.tolist() == ["a"]
    assert sorted(imported.labels.skipped) == ["gone", "torn"]
    assert imported.labels.skipped["gone"] == f"{source / 'gone.txt'}: not among the images"
    assert imported.labels.skipped["torn"].startswith(f"{source / 'torn.txt'}: expected the size of its image, got: ")
    first = f"{source / 'gone.txt'}: not among the images"
    assert f"2 label files left out, for their image is not known, e.g. in {first}" in imported.notes


def test_lists_beside_labels_are_left_out_and_told(tmp_path: Path) -> None:
    source = lay_out(tmp_path, {"a.txt": DOTA, "classes.txt": "ship\n", "notes.txt": DOTA})
    imported = formats.read(source)
    assert imported.labels.image_ids.tolist() == ["a", "notes"]
    assert f"1 files left out, for they hold no labels, e.g. in {source / 'classes.txt'}" in imported.notes


def test_a_format_that_is_told_is_not_guessed(tmp_path: Path) -> None:
    source = lay_out(tmp_path, {"labelTxt/a.txt": DOTA, "a.xml": VOC, "b.txt": ""})
    assert formats.read(source, "dota").labels.boxes.tolist() == [BOX]
    assert formats.read(source, "voc").labels.boxes.tolist() == [BOX]
    document = {"images": [], "categories": [], "annotations": []}
    lay_out(tmp_path / "other", {"a.json": json.dumps(document)})
    assert len(formats.read(tmp_path / "other", "coco").labels) == 0
