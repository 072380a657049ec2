"""Exports: a Label Studio JSON file or a workspace -> DOTA, COCO, YOLO-OBB, each opened by its own reader."""

from __future__ import annotations

import contextlib
import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from al_rotate import boxes
from al_rotate.bridge.conversion.label_config import to_xml
from al_rotate.bridge.export import FORMATS, convert, export_workspace
from al_rotate.data.formats import coco, dota, yolo_obb
from al_rotate.data.images import UnreadableImage
from al_rotate.data.instances import RotatedInstances
from al_rotate.workspace import Workspace

SIZE = (300, 150)
SHIP, PLANE = [100.0, 50, 40, 12, 0.5], [200.0, 90, 30, 22, -1.2]


def region(box: Any, label: str, size: tuple[int, int] = SIZE, **more: Any) -> dict[str, Any]:
    """Label Studio's rectangle of a box: its own top left corner and sides in percent, turned about that corner."""
    (left, top), w, h = boxes.to_corners([box])[0, 0], box[2], box[3]
    value = {
        "x": 100 * left / size[0],
        "y": 100 * top / size[1],
        "width": 100 * w / size[0],
        "height": 100 * h / size[1],
        "rotation": np.degrees(box[4]) % 360,
        "rectanglelabels": [label],
    }
    shape = {"type": "rectanglelabels", "from_name": "label", "to_name": "image"}
    return {**shape, "original_width": size[0], "original_height": size[1], "value": value, **more}


def annotation(*result: dict[str, Any], **more: Any) -> dict[str, Any]:
    regions = [{"id": f"r{k}", **one} for k, one in enumerate(result)]
    return {"id": 5, "result": regions, "was_cancelled": False, "completed_by": 1, "updated_at": "2026-01-02", **more}


def task(name: str, *annotations: dict[str, Any], **more: Any) -> dict[str, Any]:
    address = f"/data/local-files/?d=scenes%2F{name}.png"
    return {
        "id": 1,
        "data": {"image": address},
        "annotations": list(annotations),
        "predictions": [],
        "drafts": [],
        **more,
    }


TASKS = [
    task("one", annotation(region(SHIP, "ship"), region(PLANE, "storage tank"))),
    task("empty", annotation()),
    task("skipped", annotation(region(SHIP, "submarine"), was_cancelled=True)),
    task("untouched", predictions=[{"id": 2, "result": [region(SHIP, "ghost")]}]),
    task("broken", annotation(region(SHIP, "ship"), region([50, 50, float("1e999"), 9, 0], "ship", x=1))),
    task("two", annotation(region(SHIP, "ship"))),
]
TASKS[4]["annotations"][0]["result"][1]["value"] = {"x": 1, "rectanglelabels": ["ship"]}


@pytest.fixture
def export(tmp_path: Path) -> Path:
    return put(tmp_path, TASKS)


def put(folder: Path, content: Any) -> Path:
    path = folder / "export.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def scenes(folder: Path, size: tuple[int, int] = SIZE) -> Path:
    root = folder / "root" / "scenes"
    root.mkdir(parents=True)
    for one in TASKS:
        Image.new("RGB", size).save(root / f"{one['data']['image'].split('%2F')[1]}")
    return root


def test_what_is_a_label_and_the_account_of_the_rest(tmp_path: Path, export: Path) -> None:
    done = convert(export, "dota", tmp_path / "out")
    assert done.labels.image_ids.tolist() == ["one", "empty", "two"]
    assert done.labels.classes == ("ship", "storage-tank")  # what is in labels, in that order
    np.testing.assert_allclose(done.labels.boxes, [SHIP, PLANE, SHIP], atol=1e-3)
    assert done.labels.labels.tolist() == [0, 1, 0]
    told = done.account.set_index("image_id")
    assert told.loc["skipped", "action"] == "skipped"
    assert told.loc["broken", "action"] == "quarantined"
    assert told.loc["untouched", ["action", "detail"]].tolist() == ["left out", "no answer that counts"]
    assert told.loc["", "detail"] == "the class 'storage tank' is written as 'storage-tank'"
    assert len(told) == 4
    written = pd.read_csv(done.folder / "account.csv", keep_default_na=False)
    assert written[["image_id", "action", "detail"]].equals(done.account[["image_id", "action", "detail"]])


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
    found = {info["img_id"]: info["instances"] for info in map(dataset.get_data_info, range(len(dataset)))}
    assert {image_id: len(one) for image_id, one in found.items()} == {"one": 2, "empty": 0, "two": 1}
    assert [one["bbox_label"] for one in found["one"]] == [0, 1]
    for one, box in zip(found["one"], (SHIP, PLANE), strict=True):
        np.testing.assert_allclose(np.reshape(one["bbox"], (4, 2)), boxes.to_corners([box])[0], atol=1e-3)


def test_coco_in_pycocotools(tmp_path: Path, export: Path) -> None:
    pycocotools = pytest.importorskip("pycocotools.coco")
    root = scenes(tmp_path)
    done = convert(export, "coco", tmp_path / "out", image_files=root.parent)
    with contextlib.redirect_stdout(io.StringIO()):
        opened = pycocotools.COCO(str(done.folder / "annotations.json"))
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
    again = coco.read(done.folder / "annotations.json")
    np.testing.assert_array_equal(again.boxes, done.labels.boxes)


def test_yolo_obb_as_label_studios_own_converter_makes_it(tmp_path: Path) -> None:
    """Only of boxes with a rotation: it drops the others."""
    sdk = pytest.importorskip("label_studio_sdk.converter")
    rng = np.random.default_rng(7)
    names, given = ("ship", "plane", "court"), []
    for k in range(12):
        size = tuple(rng.integers(200, 900, 2).tolist())
        some = [
            [*rng.uniform(0.3, 0.7, 2) * size, *np.sort(rng.uniform(8, 60, 2))[::-1], rng.uniform(-1.5, 1.5)]
            for _ in range(k % 5)
        ]
        drawn = annotation(*(region(box, names[rng.integers(3)], size) for box in some))
        given.append(task(f"im{k}", drawn, id=k + 1))
    export = put(tmp_path, given)
    studio = sdk.Converter(to_xml(names), str(tmp_path), download_resources=False)
    studio.convert_to_yolo(str(export), str(tmp_path / "theirs"), is_dir=False, is_obb=True)
    done = convert(export, "yolo-obb", tmp_path / "ours", names)
    theirs = (tmp_path / "theirs" / "classes.txt").read_text().split()
    assert done.labels.n_boxes == 21
    for image_id in done.labels.image_ids[done.labels.counts > 0]:  # of confirmed negatives it writes nothing
        files = [next((tmp_path / who / "labels").glob(f"*{image_id}.txt")) for who in ("ours", "theirs")]
        mine, other = (file.read_text().splitlines() for file in files)
        assert [names[int(line.split()[0])] for line in mine] == [theirs[int(line.split()[0])] for line in other]
        for one, two in zip(mine, other, strict=True):
            corners = [np.array(line.split()[1:], float).reshape(4, 2) for line in (one, two)]
            # The same rectangle; le90 may begin at another corner than the hand that drew it.
            apart = [np.abs(np.roll(corners[0], turn, axis=0) - corners[1]).max() for turn in range(4)]
            assert min(apart) < 1e-6


def test_yolo_obb_with_its_images(tmp_path: Path, export: Path) -> None:
    root = scenes(tmp_path)
    done = convert(export, "yolo-obb", tmp_path / "out", image_files=root)
    again = yolo_obb.read(done.folder)
    assert again.classes == ("ship", "storage tank")
    assert again.image_ids.tolist() == ["empty", "one", "two"]
    assert again.image_sizes is not None
    assert again.image_sizes.tolist() == [list(SIZE)] * 3
    np.testing.assert_allclose(again.boxes, [SHIP, PLANE, SHIP], atol=1e-3)


def test_a_box_that_ultralytics_would_not_read_is_told_of(tmp_path: Path) -> None:
    export = put(tmp_path, [task("one", annotation(region(SHIP, "ship"), region([301.0, 50, 40, 12, 0], "ship")))])
    done = convert(export, "yolo-obb", tmp_path / "out")
    assert len((tmp_path / "out" / "labels" / "one.txt").read_text().splitlines()) == done.labels.n_boxes == 1
    assert done.account["action"].tolist() == ["noted", "dropped"]
    assert "Ultralytics would pass over the whole image" in done.account["detail"][1]
    assert convert(export, "dota", tmp_path / "dota").labels.n_boxes == 2


@pytest.mark.parametrize(
    ("options", "classes", "boxes_of_one"),
    [
        ({}, ("ship", "storage tank"), 2),
        ({"classes": ["storage tank", "ship", "never"]}, ("storage tank", "ship", "never"), 2),
        ({"label_config": to_xml(["a", "storage tank", "ship"])}, ("a", "storage tank", "ship"), 2),
        ({"rename": {"storage tank": "tank"}}, ("ship", "tank"), 2),
        ({"classes": ["ship"]}, ("ship",), None),
    ],
)
def test_classes(
    tmp_path: Path, export: Path, options: dict, classes: tuple[str, ...], boxes_of_one: int | None
) -> None:
    if "label_config" in options:
        (tmp_path / "config.xml").write_text(options["label_config"])
        options = {"label_config": tmp_path / "config.xml"}
    done = convert(export, "yolo-obb", tmp_path / "out", **options)
    assert done.labels.classes == classes
    if boxes_of_one:
        assert done.labels["one"].n_boxes == boxes_of_one
    else:  # a label that is no class may hide an object: its image is held back
        assert done.labels.image_ids.tolist() == ["empty", "two"]
        assert "unknown label 'storage tank'" in "".join(done.account["detail"])


def test_polygons_and_policy_are_handed_on(tmp_path: Path) -> None:
    points = [[10, 20], [30, 20], [30, 40], [10, 40]]  # percent of 300 x 150: 60 x 30 px around (60, 45)
    polygon = {**region(SHIP, ""), "type": "polygonlabels", "value": {"points": points, "polygonlabels": ["pond"]}}
    export = put(tmp_path, [task("one", annotation(polygon), annotation(region(SHIP, "ship"), ground_truth=True))])
    done = convert(export, "dota", tmp_path / "out", polygons=True, policy="ground-truth")
    assert done.labels.classes == ("pond", "ship")
    np.testing.assert_allclose(done.labels.boxes, [SHIP], atol=1e-3)
    polygon_alone = put(tmp_path, [task("one", annotation(polygon))])
    alone = convert(polygon_alone, "dota", tmp_path / "alone", polygons=True)
    np.testing.assert_allclose(np.abs(alone.labels.boxes), [[60, 45, 60, 30, 0]], atol=1e-4)
    assert convert(polygon_alone, "dota", tmp_path / "without").labels.classes == ()


def test_which_of_the_data_is_the_image(tmp_path: Path) -> None:
    one = task("one", annotation(region(SHIP, "ship")))
    one["data"] = {"place": "Kiel.", "photo": "s3://bucket/a/P1.tif?versionId=3"}
    done = convert(put(tmp_path, [one]), "coco", tmp_path / "out")
    assert json.loads((done.folder / "annotations.json").read_text())["images"][0]["file_name"] == "P1.tif"
    one["data"]["map"] = "https://example.org/m.png"
    with pytest.raises(ValueError, match="expected one image a task, got photo, map: give the project's labelling"):
        convert(put(tmp_path, [one]), "coco", tmp_path / "out")
    (tmp_path / "config.xml").write_text(to_xml(["ship"]).replace("$image", "$map"))
    done = convert(put(tmp_path, [one]), "coco", tmp_path / "out", label_config=tmp_path / "config.xml")
    assert done.labels.image_ids.tolist() == ["m"]


def test_our_own_image_ids_keep_their_folders(tmp_path: Path) -> None:
    one = task("x", annotation(region(SHIP, "ship")))
    one["data"]["al_image_id"] = "north/a b"
    convert(put(tmp_path, [one]), "dota", tmp_path / "out")
    assert (tmp_path / "out" / "labelTxt" / "north" / "a b.txt").exists()


def test_sizes_from_the_image_files(tmp_path: Path, export: Path) -> None:
    with pytest.raises(ValueError, match=r"size of every image, for COCO, got none of 1 without a box, e\.g\. 'empty'"):
        convert(export, "coco", tmp_path / "out")
    other = scenes(tmp_path, SIZE[::-1])
    done = convert(export, "coco", tmp_path / "out", image_files=other)
    assert done.labels.image_ids.tolist() == ["empty"]  # the others were drawn on another picture
    turned = done.account[done.account["detail"].str.contains("EXIF")]
    assert {*turned["image_id"]} == {"one", "broken", "two"}
    (other / "one.png").unlink()
    with pytest.raises(ValueError, match="expected one file of the image 'one' in image_files, got none"):
        convert(export, "coco", tmp_path / "out", image_files=other)
    for folder in ("a", "b"):
        (other / folder).mkdir()
        Image.new("RGB", SIZE).save(other / folder / "one.png")
    with pytest.raises(
        ValueError, match=r"expected one file of the image 'one' in image_files, got .*a/one\.png and .*b/"
    ):
        convert(export, "coco", tmp_path / "out", image_files=other)
    (other / "one.png").write_bytes(b"no image")
    with pytest.raises(UnreadableImage, match=r"one\.png"):
        convert(export, "coco", tmp_path / "out", image_files=other)


def test_labels_of_another_export_are_not_mixed_in(tmp_path: Path, export: Path) -> None:
    for _ in range(2):  # the same again is fine
        for to in FORMATS[::2]:
            convert(export, to, tmp_path / to)
    fewer = put(tmp_path, TASKS[:2])
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
        (json.dumps(TASKS[:2])[:-1] + ', {"boxes": []}]', "number 3 an object with boxes"),
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


def test_refuses_a_format_that_it_does_not_know_and_classes_that_fall_together(tmp_path: Path, export: Path) -> None:
    with pytest.raises(ValueError, match="expected a format of dota, coco, yolo-obb, got 'voc'"):
        convert(export, "voc", tmp_path / "out")
    with pytest.raises(
        ValueError, match="differ by more than spaces and hyphens, got storage tank, storage-tank, ship"
    ):
        convert(export, "dota", tmp_path / "out", ["storage tank", "storage-tank", "ship"])


def test_a_large_export_is_not_held_in_memory(tmp_path: Path) -> None:
    regions = [region([100.0 + k, 50, 40, 12, 0.1 * k], "ship") for k in range(20)]
    path = tmp_path / "export.json"
    with open(path, "w") as file:
        for k in range(200):
            one = task(f"t{k}", annotation(*regions), predictions=[{"id": k, "result": regions, "score": 0.5}])
            file.write(("[" if k == 0 else ",") + json.dumps(one))
        file.write("]")
    peaks = []
    for take in (lambda: json.loads(path.read_text()), lambda: convert(path, "dota", tmp_path / "out")):
        tracemalloc.start()
        done = take()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert done.labels.n_boxes == 4000
    assert peaks[1] < peaks[0] / 3, peaks


@pytest.fixture
def workspace(tmp_path: Path):
    """Three images labelled of four, the sizes of only two of them known."""
    files = {}
    for k, name in enumerate(["a", "deep/b", "c", "d"]):
        files[name] = tmp_path / "photos" / f"{k}.png"
        files[name].parent.mkdir(exist_ok=True)
        Image.new("RGB", SIZE).save(files[name])
    with Workspace.create(tmp_path / "work", files, ["ship", "storage tank"], {}) as made:
        made.begin_round()
        made.record_query(0, ["a", "deep/b", "c"])
        first = RotatedInstances(["a", "c"], [0, 2, 2], [SHIP, PLANE], [0, 1], image_sizes=[SIZE, SIZE])
        second = RotatedInstances(["deep/b"], [0, 1], [PLANE], [1])
        made.record_answers(0, first)
        made.record_answers(0, second)
    with Workspace.open(tmp_path / "work", read_only=True) as opened:
        yield opened


@pytest.mark.parametrize("to", FORMATS)
def test_a_workspace(tmp_path: Path, workspace: Workspace, to: str) -> None:
    done = export_workspace(workspace, to, tmp_path / "out")
    again = {
        "dota": lambda: dota.read(done.folder, ["ship", "storage-tank"]),
        "coco": lambda: coco.read(done.folder / "annotations.json"),
        "yolo-obb": lambda: yolo_obb.read(done.folder),
    }[to]()
    assert again.image_ids.tolist() == ["a", "c", "deep/b"]
    assert again.counts.tolist() == [2, 0, 1]
    assert again.labels.tolist() == [0, 1, 1]
    np.testing.assert_allclose(again.boxes, [SHIP, PLANE, PLANE], atol=1e-4)
    if to != "dota":
        assert again.image_sizes is not None
        assert again.image_sizes.tolist() == [list(SIZE)] * 3
    assert done.account["action"].tolist() == (["noted"] if to == "dota" else [])
    assert (done.folder / "account.csv").read_text().startswith("image_id,task,annotation,region,action,detail\n")
    if to == "coco":
        names = [one["file_name"] for one in json.loads((done.folder / "annotations.json").read_text())["images"]]
        assert names == ["a.png", "c.png", "deep/b.png"]


def test_a_workspace_without_labels_or_with_an_image_that_is_gone(tmp_path: Path, workspace: Workspace) -> None:
    (tmp_path / "photos" / "1.png").unlink()
    export_workspace(workspace, "dota", tmp_path / "dota")
    with pytest.raises(UnreadableImage, match=r"1\.png"):
        export_workspace(workspace, "coco", tmp_path / "coco")
    with (
        Workspace.create(tmp_path / "new", {"a": "a.png"}, ["ship"], {}) as fresh,
        pytest.raises(ValueError, match=r"expected labelled images in .*new, got none yet"),
    ):
        export_workspace(fresh, "dota", tmp_path / "none")
