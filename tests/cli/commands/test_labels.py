"""convert: from every format that is read to every format that can be written."""

import json

import numpy as np
import pytest
from helpers import label_files

from al_rotate import boxes
from al_rotate.cli.commands.label_files import WRITABLE
from al_rotate.data import formats


def same_boxes(labels, expected):
    """The corners, in whatever order, within what the formats' decimals leave."""
    got, wanted = (boxes.to_corners(np.asarray(of, float)) for of in (labels.boxes, expected))
    assert got.shape == wanted.shape
    assert np.linalg.norm(got[:, :, None] - wanted[:, None], axis=-1).min(axis=2).max() < 0.02


@pytest.mark.parametrize("source_format", label_files.WRITERS)
@pytest.mark.parametrize("to", WRITABLE)
def test_convert(al, tmp_path, source_format, to):
    source = label_files.WRITERS[source_format](tmp_path)
    pool = label_files.images(tmp_path / "pool")
    images = ["--images", tmp_path / "images" if source_format == "ultralytics" else pool]
    code, out, err = al("convert", source, "--to", to, "--out", tmp_path / "out", *images)
    assert (code, err) == (0, "")
    assert source_format == "label-studio" or f"read as {source_format}, for " in out
    assert f"{tmp_path / 'out'}: 2 images, 2 boxes\n2 classes: ship, truck\n" in out
    horizontal = source_format in label_files.HORIZONTAL
    assert ("taken as rotated boxes of angle 0" in out) == horizontal
    read = formats.read(tmp_path / "out", classes=label_files.CLASSES).labels
    assert [image_id.rpartition("/")[2] for image_id in sorted(read.image_ids)] == ["a", "b"]
    labels = read.subset(sorted(read.image_ids))
    assert labels.offsets.tolist() == [0, 2, 2]
    assert labels.labels.tolist() == [0, 1]
    same_boxes(labels, label_files.BOXES[not horizontal])


def test_a_chain_of_formats_moves_no_box(al, tmp_path):
    """And what a format cannot hold is told."""
    pool = label_files.images(tmp_path / "pool")
    source = label_files.dota(tmp_path)
    hard = (source / "a.txt").read_text().replace("truck 0", "truck 1")
    (source / "a.txt").write_text(hard)
    drawn = formats.read(source).labels.boxes
    for number, to in enumerate(("coco", "cvat", "ultralytics", "dota", "yolo-obb", "dota")):
        out = tmp_path / f"{number}-{to}"
        assert al("convert", source, "--to", to, "--images", pool, "--out", out)[0] == 0
        source = next(iter(out.glob("annotations.*")), out)
        labels = formats.read(source, images=pool).labels
        assert labels.image_ids.tolist() == ["a", "b"]
        np.testing.assert_allclose(labels.boxes, drawn, atol=1e-4)
        assert (labels.difficult is not None and labels.difficult.tolist() == [0, 1]) == (number < 2)
        told = "written like all others: 1 difficult box;" in (out / "account.csv").read_text()
        assert told == (number == 2)


def test_convert_leaves_out_images_that_nobody_has_looked_at(al, tmp_path):
    source, pool = label_files.WRITERS["coco"](tmp_path), label_files.images(tmp_path / "pool")
    arguments = ("convert", source, "--to", "coco", "--images", pool, "--out", tmp_path / "out")
    code, out, err = al(*arguments)
    assert (code, err) == (0, "")
    assert "  images without an object that nobody has looked at yet: read with --empty unlabelled\n" in out
    assert al(*arguments, "--empty", "unlabelled")[0] == 0
    assert formats.read(tmp_path / "out").labels.image_ids.tolist() == ["a"]


def test_convert_by_a_named_format_into_a_default_folder(al, tmp_path):
    source = label_files.dota(tmp_path)
    code, out, err = al("convert", source, "--from", "dota", "--to", "dota")
    assert (code, err) == (0, "")
    assert "read as" not in out
    assert formats.read(tmp_path / "labelTxt-dota").labels.n_boxes == 2
    code, out, err = al("convert", source, "--from", "voc", "--to", "dota", "--out", tmp_path / "other")
    assert code == 1
    assert str(source) in err


def test_convert_renames_and_merges(al, tmp_path):
    source = label_files.dota(tmp_path)
    arguments = ("convert", source, "--to", "dota", "--out", tmp_path / "out")
    assert al(*arguments, "--rename", "truck=large vehicle", "ship=large vehicle")[0] == 0
    assert formats.read(tmp_path / "out").labels.classes == ("large-vehicle",)  # MMRotate splits lines at spaces
    code, _, err = al(*arguments, "--rename", "boat=ship")
    assert (code, err) == (1, "al-rotate convert: expected --rename of a class among ship, truck, got 'boat'\n")
    code, _, err = al(*arguments, "--rename", "ship=boat", "--classes", "ship,truck")
    assert (code, "expected --classes to name every class, got none of 'boat'" in err) == (1, True)


@pytest.mark.parametrize("option", [["--polygons"], ["--policy", "agreement"], ["--label-config", "x.xml"]])
def test_what_only_label_studio_has(al, tmp_path, option):
    code, _, err = al("convert", label_files.dota(tmp_path), "--to", "coco", *option)
    assert (code, "with Label Studio's JSON export alone" in err) == (1, True)


def test_convert_label_studio(al, tmp_path):
    """Its export is recognised, and the classes are printed."""
    region = {
        "id": "r",
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": 200,
        "original_height": 100,
        "image_rotation": 0,
        "value": {"x": 20, "y": 30, "width": 20, "height": 20, "rotation": 0, "rectanglelabels": ["ship"]},
    }
    answer = {"id": 1, "result": [region], "was_cancelled": False, "completed_by": 1, "updated_at": "2024-01-01T00:00Z"}
    task = {"id": 1, "data": {"image": "/data/upload/1/0a1b2c3d-a.png"}, "annotations": [answer]}
    file = tmp_path / "export.json"
    file.write_text(json.dumps([task]))
    code, out, err = al("convert", file, "--to", "dota")
    assert (code, err) == (0, "")
    assert out.startswith(f"{tmp_path / 'export-dota'}: 1 image, 1 box\n1 class: ship\n")
    same_boxes(formats.read(tmp_path / "export-dota").labels, [[60, 40, 40, 20, 0]])
    code, _, err = al("convert", file, "--to", "dota", "--classes", tmp_path / "clases.txt")
    assert code == 1
    assert "clases.txt" in err
    assert "no such file" in err
