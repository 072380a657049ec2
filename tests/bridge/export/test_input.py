"""Which files are converted, and what is read of them: classes, sizes, image ids."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from helpers.bridge.exports import SHIP, SIZE, TASKS, annotation, region, task, write_export, write_images
from PIL import Image

from al_rotate.bridge.conversion.label_config import to_xml
from al_rotate.bridge.conversion.options import ReadOptions
from al_rotate.bridge.export import convert
from al_rotate.data.images import UnreadableImage


@pytest.mark.parametrize(
    ("options", "classes", "boxes_of_one"),
    [
        ({}, ("ship", "storage tank"), 2),
        ({"classes": ["storage tank", "ship", "never"]}, ("storage tank", "ship", "never"), 2),
        ({"label_config": to_xml(["a", "storage tank", "ship"])}, ("a", "storage tank", "ship"), 2),
        ({"rename": {"storage tank": "tank"}}, ("ship", "tank"), 2),
        ({"options": ReadOptions(["ship", "tank"], rename={"storage tank": "tank"})}, ("ship", "tank"), 2),
        ({"classes": ["ship"]}, ("ship",), None),
    ],
)
def test_classes(
    tmp_path: Path, export: Path, options: dict, classes: tuple[str, ...], boxes_of_one: int | None
) -> None:
    if "label_config" in options:
        (tmp_path / "config.xml").write_text(options["label_config"])
        options = {"label_config": tmp_path / "config.xml"}
    exported = convert(export, "yolo-obb", tmp_path / "out", **options)
    assert exported.labels.classes == classes
    if boxes_of_one:
        assert exported.labels["one"].n_boxes == boxes_of_one
    else:  # a label that is no class may hide an object: its image is held back
        assert exported.labels.image_ids.tolist() == ["empty", "two"]
        assert "unknown label 'storage tank'" in "".join(exported.account["detail"])


def test_polygons_and_policy(tmp_path: Path) -> None:
    points = [[10, 20], [30, 20], [30, 40], [10, 40]]  # percent of 300 x 150: 60 x 30 px around (60, 45)
    polygon = {**region(SHIP, ""), "type": "polygonlabels", "value": {"points": points, "polygonlabels": ["pond"]}}
    answers = annotation(polygon), annotation(region(SHIP, "ship"), ground_truth=True)
    export = write_export(tmp_path, [task("one", *answers)])
    exported = convert(export, "dota", tmp_path / "out", policy="ground-truth")
    assert exported.labels.classes == ("pond", "ship")
    np.testing.assert_allclose(exported.labels.boxes, [SHIP], atol=1e-3)
    polygon_alone = write_export(tmp_path, [task("one", annotation(polygon))])
    exported = convert(polygon_alone, "dota", tmp_path / "alone")
    np.testing.assert_allclose(np.abs(exported.labels.boxes), [[60, 45, 60, 30, 0]], atol=1e-4)
    assert convert(polygon_alone, "dota", tmp_path / "without", polygons=False).labels.classes == ()


def test_which_of_the_data_is_the_image(tmp_path: Path) -> None:
    entry = task("one", annotation(region(SHIP, "ship")))
    entry["data"] = {"place": "Kiel.", "photo": "s3://bucket/a/P1.tif?versionId=3"}
    exported = convert(write_export(tmp_path, [entry]), "coco", tmp_path / "out")
    assert json.loads((exported.folder / "annotations.json").read_text())["images"][0]["file_name"] == "P1.tif"
    entry["data"]["map"] = "https://example.org/m.png"
    export = write_export(tmp_path, [entry])
    with pytest.raises(ValueError, match="expected one image per task, got photo, map: give the project's labelling"):
        convert(export, "coco", tmp_path / "out")
    (tmp_path / "config.xml").write_text(to_xml(["ship"]).replace("$image", "$map"))
    exported = convert(export, "coco", tmp_path / "out", label_config=tmp_path / "config.xml")
    assert exported.labels.image_ids.tolist() == ["m"]
    assert convert(export, "dota", tmp_path / "dota", image_key="photo").labels.image_ids.tolist() == ["P1"]


def test_our_own_image_ids_keep_their_folders(tmp_path: Path) -> None:
    entry = task("x", annotation(region(SHIP, "ship")))
    entry["data"]["al_image_id"] = "north/a b"
    convert(write_export(tmp_path, [entry]), "dota", tmp_path / "out")
    assert (tmp_path / "out" / "labelTxt" / "north" / "a b.txt").exists()


def test_sizes_from_the_image_files(tmp_path: Path, export: Path) -> None:
    with pytest.raises(ValueError, match=r"size of every image, for COCO, got none of 1 without a box, e\.g\. 'empty'"):
        convert(export, "coco", tmp_path / "out")
    other = write_images(tmp_path, SIZE[::-1])
    exported = convert(export, "coco", tmp_path / "out", image_files=other)
    assert exported.labels.image_ids.tolist() == ["empty"]  # the others were drawn on another picture
    turned = exported.account[exported.account["detail"].str.contains("EXIF")]
    assert {*turned["image_id"]} == {"one", "broken", "two"}
    (other / "one.png").unlink()
    with pytest.raises(ValueError, match="expected one file of the image 'one' in image_files, got none"):
        convert(export, "coco", tmp_path / "out", image_files=other)
    for folder in ("a", "b"):
        (other / folder).mkdir()
        Image.new("RGB", SIZE).save(other / folder / "one.png")
    message = r"expected one file of the image 'one' in image_files, got .*a/one\.png and .*b/"
    with pytest.raises(ValueError, match=message):
        convert(export, "coco", tmp_path / "out", image_files=other)
    (other / "one.png").write_bytes(b"no image")
    with pytest.raises(UnreadableImage, match=r"one\.png"):
        convert(export, "coco", tmp_path / "out", image_files=other)


def test_labels_of_another_export_are_not_mixed_in(tmp_path: Path, export: Path) -> None:
    for _ in range(2):  # the same again is fine
        for to in ("dota", "yolo-obb"):
            convert(export, to, tmp_path / to)
    fewer = write_export(tmp_path, TASKS[:2])
    for to, folder in (("dota", "labelTxt"), ("yolo-obb", "labels")):
        with pytest.raises(ValueError, match=rf"expected no other labels in .*{folder}, got .*two\.txt: delete them"):
            convert(fewer, to, tmp_path / to)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "an empty file"),
        ("[]", "an empty one"),
        ("PK\x03\x04", "a zip archive"),
        ("image,label\n1,2", "something that is no JSON: b'image,label"),
        ('{"images": [], "categories": [], "annotations": []}', "a COCO file"),
        (json.dumps(TASKS[0]), "a single task; put it in a list"),
        ('{"tasks": [], "total": 0}', "an object with tasks, total"),
        (
            '[{"image": "/a.png", "id": 1, "label": [], "annotator": 1, "annotation_id": 3}]',
            "number 1 a row of the JSON-MIN",
        ),
        ('[{"data": {"image": "/a.png"}, "completions": []}]', "a task of Label Studio before 1.0"),
        ('[{"data": {"image": "/a.png"}, "predictions": []}]', "a task without its annotations"),
        ('[{"data": {"image": "/a.png"}, "annotations": [12, 13]}]', "a task without its annotations"),
        ("[1, 2]", "number 1 '1'"),
    ],
)
def test_other_files_are_named_for_what_they_are(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "export.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as raised:
        convert(path, "dota", tmp_path / "out")
    assert str(path) in str(raised.value)
    assert "choose Export, then JSON: the only format" in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_damaged_and_missing_files(tmp_path: Path, export: Path) -> None:
    export.write_text(export.read_text()[:-200])
    with pytest.raises(ValueError, match=r"export\.json: expected JSON, got a file that is damaged or cut short"):
        convert(export, "dota", tmp_path / "out")
    with pytest.raises(FileNotFoundError, match=r"none\.json"):
        convert(tmp_path / "none.json", "dota", tmp_path / "out")


def test_unknown_formats_and_classes_that_fall_together(tmp_path: Path, export: Path) -> None:
    with pytest.raises(ValueError, match=r"expected a format of dota, .*, got 'voc'"):
        convert(export, "voc", tmp_path / "out")
    message = "differ by more than spaces and hyphens, got storage tank, storage-tank, ship"
    with pytest.raises(ValueError, match=message):
        convert(export, "dota", tmp_path / "out", ["storage tank", "storage-tank", "ship"])


def test_a_large_export_is_not_held_in_memory(tmp_path: Path) -> None:
    regions = [region([100.0 + k, 50, 40, 12, 0.1 * k], "ship") for k in range(20)]
    path = tmp_path / "export.json"
    with open(path, "w") as file:
        for k in range(200):
            prediction = {"id": k, "result": regions, "score": 0.5}
            entry = task(f"t{k}", annotation(*regions), predictions=[prediction])
            file.write(("[" if k == 0 else ",") + json.dumps(entry))
        file.write("]")
    peaks = []
    for read in (lambda: json.loads(path.read_text()), lambda: convert(path, "dota", tmp_path / "out")):
        tracemalloc.start()
        content = read()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert content.labels.n_boxes == 4000
    assert peaks[1] < peaks[0] / 3, peaks
