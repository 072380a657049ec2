"""A Label Studio JSON file -> DOTA, COCO, YOLO-OBB, each opened by its own reader."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.bridge.exports import PLANE, SHIP, SIZE, annotation, region, task, write_export, write_images

from al_rotate import boxes
from al_rotate.bridge.conversion.label_config import to_xml
from al_rotate.bridge.export import convert
from al_rotate.data.formats import coco, dota, yolo_obb


def test_what_is_a_label_and_the_account_of_the_rest(tmp_path: Path, export: Path) -> None:
    exported = convert(export, "dota", tmp_path / "out")
    assert exported.labels.image_ids.tolist() == ["one", "empty", "two"]
    assert exported.labels.classes == ("ship", "storage-tank")  # what is in labels, in that order
    np.testing.assert_allclose(exported.labels.boxes, [SHIP, PLANE, SHIP], atol=1e-3)
    assert exported.labels.labels.tolist() == [0, 1, 0]
    account = exported.account.set_index("image_id")
    assert account.loc["skipped", "action"] == "skipped"
    assert account.loc["broken", "action"] == "quarantined"
    assert account.loc["untouched", ["action", "detail"]].tolist() == ["left out", "no answer that counts"]
    assert account.loc["", "detail"] == "the class 'storage tank' is written as 'storage-tank'"
    assert len(account) == 4
    written = pd.read_csv(exported.folder / "account.csv", keep_default_na=False)
    columns = ["image_id", "action", "detail"]
    assert written[columns].equals(exported.account[columns])


def test_dota_is_read_as_it_was_drawn(tmp_path: Path, export: Path) -> None:
    convert(export, "dota", tmp_path / "out")
    again = dota.read(tmp_path / "out", ["ship", "storage-tank"])
    assert again.counts.tolist() == [0, 2, 1]
    np.testing.assert_allclose(again.boxes, [SHIP, PLANE, SHIP], atol=1e-3)


@pytest.mark.mm
def test_dota_in_mmrotates_own_dataset(tmp_path: Path, export: Path) -> None:
    datasets = pytest.importorskip("mmrotate.datasets")
    convert(export, "dota", tmp_path / "out")
    dataset = datasets.DOTADataset(
        data_root=str(tmp_path / "out"),
        ann_file="labelTxt",
        data_prefix={"img_path": "images"},
        metainfo={"classes": ("ship", "storage-tank")},
        pipeline=[],
    )
    instances = {info["img_id"]: info["instances"] for info in map(dataset.get_data_info, range(len(dataset)))}
    assert {image_id: len(entries) for image_id, entries in instances.items()} == {"one": 2, "empty": 0, "two": 1}
    assert [entry["bbox_label"] for entry in instances["one"]] == [0, 1]
    for entry, box in zip(instances["one"], (SHIP, PLANE), strict=True):
        np.testing.assert_allclose(np.reshape(entry["bbox"], (4, 2)), boxes.to_corners([box])[0], atol=1e-3)


def test_coco_in_pycocotools(tmp_path: Path, export: Path) -> None:
    pycocotools = pytest.importorskip("pycocotools.coco")
    root = write_images(tmp_path)
    exported = convert(export, "coco", tmp_path / "out", image_files=root.parent)
    with contextlib.redirect_stdout(io.StringIO()):
        opened = pycocotools.COCO(str(exported.folder / "annotations.json"))
    pictures = opened.loadImgs(opened.getImgIds())
    assert [(p["file_name"], p["width"], p["height"]) for p in pictures] == [
        ("one.png", *SIZE),
        ("empty.png", *SIZE),
        ("two.png", *SIZE),
    ]
    assert [c["name"] for c in opened.loadCats(opened.getCatIds())] == ["ship", "storage tank"]
    (first, second) = opened.loadAnns(opened.getAnnIds(imgIds=[pictures[0]["id"]]))
    np.testing.assert_allclose(np.reshape(first["segmentation"], (4, 2)), boxes.to_corners([SHIP])[0], atol=1e-3)
    assert second["area"] == pytest.approx(30 * 22, abs=1e-2)
    mask = opened.annToMask(first)
    assert mask.shape == SIZE[::-1]
    assert mask.sum() == pytest.approx(40 * 12, rel=0.05)
    again = coco.read(exported.folder / "annotations.json")
    np.testing.assert_array_equal(again.boxes, exported.labels.boxes)


def test_yolo_obb_as_label_studios_own_converter_makes_it(tmp_path: Path) -> None:
    """Only for boxes with a rotation: it drops the others."""
    sdk = pytest.importorskip("label_studio_sdk.converter")
    rng = np.random.default_rng(7)
    names, tasks = ("ship", "plane", "court"), []
    for k in range(12):
        size = tuple(rng.integers(200, 900, 2).tolist())
        rows = [
            [*rng.uniform(0.3, 0.7, 2) * size, *np.sort(rng.uniform(8, 60, 2))[::-1], rng.uniform(-1.5, 1.5)]
            for _ in range(k % 5)
        ]
        drawn = annotation(*(region(box, names[rng.integers(3)], size) for box in rows))
        tasks.append(task(f"im{k}", drawn, id=k + 1))
    export = write_export(tmp_path, tasks)
    converter = sdk.Converter(to_xml(names), str(tmp_path), download_resources=False)
    converter.convert_to_yolo(str(export), str(tmp_path / "theirs"), is_dir=False, is_obb=True)
    exported = convert(export, "yolo-obb", tmp_path / "ours", names)
    their_names = (tmp_path / "theirs" / "classes.txt").read_text().split()
    assert exported.labels.n_boxes == 21
    for image_id in exported.labels.image_ids[exported.labels.counts > 0]:  # it writes nothing for confirmed negatives
        files = [next((tmp_path / who / "labels").glob(f"*{image_id}.txt")) for who in ("ours", "theirs")]
        ours, theirs = (file.read_text().splitlines() for file in files)
        own_labels = [names[int(line.split()[0])] for line in ours]
        assert own_labels == [their_names[int(line.split()[0])] for line in theirs]
        for lines in zip(ours, theirs, strict=True):
            corners = [np.array(line.split()[1:], float).reshape(4, 2) for line in lines]
            # The same rectangle; le90 may begin at another corner than the hand that drew it.
            distances = [np.abs(np.roll(corners[0], turn, axis=0) - corners[1]).max() for turn in range(4)]
            assert min(distances) < 1e-6


def test_yolo_obb_with_its_images(tmp_path: Path, export: Path) -> None:
    root = write_images(tmp_path)
    exported = convert(export, "yolo-obb", tmp_path / "out", image_files=root)
    again = yolo_obb.read(exported.folder)
    assert again.classes == ("ship", "storage tank")
    assert again.image_ids.tolist() == ["empty", "one", "two"]
    assert again.image_sizes is not None
    assert again.image_sizes.tolist() == [list(SIZE)] * 3
    np.testing.assert_allclose(again.boxes, [SHIP, PLANE, SHIP], atol=1e-3)


def test_a_box_that_ultralytics_would_not_read_is_reported(tmp_path: Path) -> None:
    drawn = annotation(region(SHIP, "ship"), region([301.0, 50, 40, 12, 0], "ship"))
    export = write_export(tmp_path, [task("one", drawn)])
    exported = convert(export, "yolo-obb", tmp_path / "out")
    lines = (tmp_path / "out" / "labels" / "one.txt").read_text().splitlines()
    assert len(lines) == exported.labels.n_boxes == 1
    assert exported.account["action"].tolist() == ["noted", "dropped"]
    assert "Ultralytics would pass over the whole image" in exported.account["detail"][1]
    assert convert(export, "dota", tmp_path / "dota").labels.n_boxes == 2
