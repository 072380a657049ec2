"""roLabelImg's and Pascal VOC's XML: boxes worked by hand, and files that cannot be read."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from al_rotate import boxes
from al_rotate.data import formats
from al_rotate.data.formats import voc
from al_rotate.data.formats.reading import HORIZONTAL, Notes

ROTATED = "<robndbox><cx>100</cx><cy>50.5</cy><w>40</w><h>20</h><angle>{angle}</angle></robndbox>"
LEVEL = "<bndbox><xmin>10</xmin><ymin>20</ymin><xmax>50</xmax><ymax>40.5</ymax></bndbox>"


def entry(shape: str, name: str = "ship", more: str = "") -> str:
    return f"<object><type>x</type><name>{name}</name>{more}{shape}</object>"


def document(*objects: str, size: str = "<width>200</width><height>100</height>", name: str = "P1.jpg") -> str:
    return (
        f"<annotation verified='no'><folder>f</folder><filename>{name}</filename><size>{size}<depth>3</depth></size>"
        f"<segmented>0</segmented>{''.join(objects)}</annotation>"
    )


def put(folder: Path, content: str, name: str = "P1.xml") -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content, encoding="utf-8")
    return file


@pytest.mark.parametrize("angle", [0, 0.3, 1.2, math.pi / 2, 2.5, 3.031593, math.pi, -0.4, 6.2])
def test_a_rotated_box_has_the_corners_that_rolabelimg_draws(tmp_path: Path, angle: float) -> None:
    """Its reader turns each corner about the centre by x cos - y sin, x sin + y cos, with y down."""
    put(tmp_path, document(entry(ROTATED.format(angle=angle))))
    labels = voc.read(tmp_path)
    cos, sin = math.cos(angle), math.sin(angle)
    expected = [
        (100 + x * cos - y * sin, 50.5 + x * sin + y * cos) for x, y in ((-20, -10), (20, -10), (20, 10), (-20, 10))
    ]
    corners = boxes.to_corners(labels.boxes.astype(float))[0]
    gaps = np.linalg.norm(corners[:, None] - np.array(expected)[None], axis=-1)
    assert max(gaps.min(axis=0).max(), gaps.min(axis=1).max()) < 1e-4


def test_corners_as_dior_r_has_them(tmp_path: Path) -> None:
    corners = (("left_top", 10, 20), ("right_top", 40, 60), ("right_bottom", 20, 75), ("left_bottom", -10, 35))
    inner = "".join(f"<x_{name}>{x}</x_{name}><y_{name}>{y}</y_{name}>" for name, x, y in corners)
    put(tmp_path, document(entry(f"<robndbox>{inner}</robndbox>")))
    imported = formats.read(tmp_path)
    assert imported.format == "rolabelimg"
    np.testing.assert_allclose(imported.labels.boxes, [[15, 47.5, 50, 25, math.atan2(4, 3)]], atol=1e-4)


def test_a_rotation_beside_the_box_as_cvat_exports_it(tmp_path: Path) -> None:
    """Its <bndbox> is the box before it is turned."""
    turned = "<attributes><attribute><name>rotation</name><value>{}</value></attribute></attributes>"
    put(tmp_path, document(entry(LEVEL, more=turned.format(90)), entry(LEVEL, more=turned.format("0.0"))))
    notes = Notes()
    labels = voc.read(tmp_path, notes=notes, rotated=False)
    np.testing.assert_allclose(labels.boxes, [[30, 30.25, 40, 20.5, -math.pi / 2], [30, 30.25, 40, 20.5, 0]], atol=1e-5)
    assert [*notes] == []  # a level box that could be turned is no horizontal one
    put(tmp_path, document(entry(LEVEL, more=turned.format("x"))))
    with pytest.raises(ValueError, match=r"P1\.xml: object 1: expected rotation to be a number, got 'x'"):
        voc.read(tmp_path)


def test_what_a_folder_holds(tmp_path: Path) -> None:
    put(tmp_path, document(entry(ROTATED.format(angle=0.5), "plane", "<difficult>1</difficult>"), entry(LEVEL)))
    put(tmp_path, document(size="", name="other.jpg"), "deep/P0.XML")
    put(tmp_path, "not read", ".hidden/a.xml")
    notes = Notes()
    labels = voc.read(tmp_path, notes=notes)
    assert labels.image_ids.tolist() == ["P1", "deep/P0"]
    assert labels.counts.tolist() == [2, 0]
    assert labels.classes == ("plane", "ship")
    assert labels.labels.tolist() == [0, 1]
    np.testing.assert_allclose(labels.boxes, [[100, 50.5, 40, 20, 0.5], [30, 30.25, 40, 20.5, 0]], atol=1e-5)
    assert labels.difficult is not None
    assert labels.image_sizes is not None
    assert labels.difficult.tolist() == [1, 0]
    assert labels.image_sizes.tolist() == [[200, 100], [0, 0]]
    one, two = notes
    assert one == f"1 {HORIZONTAL}, e.g. in {tmp_path / 'P1.xml'}"
    assert "another name than their <filename>" in two
    assert voc.read(tmp_path / "P1.xml").image_ids.tolist() == ["P1"]


def test_given_classes_fix_the_numbers(tmp_path: Path) -> None:
    file = put(tmp_path, document(entry(LEVEL)))
    assert voc.read(tmp_path, ["plane", "ship"]).labels.tolist() == [1]
    with pytest.raises(ValueError, match=r"P1\.xml: expected one of the classes plane, got 'ship'"):
        voc.read(file, ["plane"])
    with pytest.raises(ValueError, match="expected a sequence of class names"):
        voc.read(file, "ship")


def test_rotated_boxes_where_none_are_expected(tmp_path: Path) -> None:
    file = put(tmp_path, document(entry(LEVEL), entry(ROTATED.format(angle=1))))
    with pytest.raises(ValueError, match=r"P1\.xml: object 2 is a rotated box; read the files as rolabelimg"):
        voc.read(file, rotated=False)
    assert voc.read(file, rotated=True).n_boxes == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "P1.xml: expected XML"),
        ("<annotation>", "P1.xml: expected XML"),
        ("<annotations/>", "expected Pascal VOC's <annotation>, got <annotations>"),
        ("<!DOCTYPE x [<!ENTITY a 'b'>]><annotation>&a;</annotation>", "a document type"),
        ("<!DOCTYPE annotation SYSTEM 'http://localhost/x.dtd'><annotation/>", "a document type"),
        (document(entry("")), r"object 1: expected <bndbox> or <robndbox>, got <type>, <name>"),
        (document(entry(LEVEL), entry(LEVEL, "")), "object 2: expected name to be a text"),
        (document(entry(LEVEL.replace("50", "5"))), "object 1: expected left <= right"),
        (document(entry(LEVEL.replace("50", "nan"))), "object 1: expected xmax to be a number"),
        (document(entry(LEVEL.replace("50", "1e39"))), "object 1: expected xmax to be a number"),
        (document(entry(LEVEL.replace("<xmax>50</xmax>", ""))), "object 1: expected xmax to be a number, got None"),
        (document(entry(ROTATED.format(angle="x"))), "object 1: expected angle to be a number, got 'x'"),
        (document(entry(ROTATED.format(angle=90))), "object 1: expected angle in radians, from -2 pi to 2 pi, got 90"),
        (document(entry(ROTATED.format(angle=0).replace("40", "-40"))), "object 1: expected w to be a number from 0"),
        (document(entry(LEVEL, more="<difficult>maybe</difficult>")), "object 1: expected difficult"),
        (document(size="<width>wide</width>"), "expected size/width to be a number, got 'wide'"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, content: str, message: str | None) -> None:
    file = put(tmp_path, content)
    if message is None:
        assert voc.read(tmp_path).n_boxes == 1
        return
    with pytest.raises(ValueError, match=message) as caught:
        voc.read(tmp_path)
    assert str(file) in str(caught.value)


def test_nothing_to_read(tmp_path: Path) -> None:
    for source in (tmp_path, tmp_path / "missing"):
        with pytest.raises(FileNotFoundError, match=r"expected \.xml files with labels in .*, got none"):
            voc.read(source)
