"""YOLO-OBB: what Ultralytics reads, worked by hand and by Label Studio's own converter, and round trips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely
from PIL import Image

from al_rotate import boxes
from al_rotate.data import RotatedInstances, images
from al_rotate.data.formats import yolo_obb

CLASSES = ("ship", 'a "b": #c', "été")


def one_box(box: list[float], size: tuple[int, int] = (200, 100), image_id: str = "P1") -> RotatedInstances:
    return RotatedInstances([image_id], [0, 1], boxes.canonical([box]), [0], classes=["ship"], image_sizes=[size])


def many_boxes(seed: int = 0, images: int = 30) -> RotatedInstances:
    """Boxes well inside images of many sizes, some without a box."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 6, images) * (np.arange(images) % 4 > 0)
    sizes = rng.integers(60, 4000, (images, 2))
    of_box = np.repeat(sizes, counts, axis=0)
    total = len(of_box)
    sides = np.sort(rng.uniform(0.02, 0.2, (total, 2)), axis=1)[:, ::-1] * of_box.min(axis=1, keepdims=True)
    place = rng.uniform(0.2, 0.8, (total, 2)) * of_box
    rotated = boxes.canonical(np.column_stack([place, sides, rng.uniform(-1.5, 1.5, total)]))
    ids = [f"a/{k}" if k % 2 else f"b {k}" for k in range(images)]
    return RotatedInstances(
        ids, np.cumsum([0, *counts]), rotated, rng.integers(0, 3, total), classes=CLASSES, image_sizes=sizes
    )


def test_a_line_worked_by_hand(tmp_path: Path) -> None:
    # Sides 3-4-5: along (4, 3) / 5 for 50 px, across (-3, 4) / 5 for 25: half of each is (20, 15) and (-7.5, 10).
    labels = one_box([100, 50, 50, 25, np.arctan2(3, 4)])
    assert yolo_obb.write(labels, tmp_path / "set") == tmp_path / "set"
    (line,) = (tmp_path / "set" / "labels" / "P1.txt").read_text().splitlines()
    number, *corners = line.split()
    assert number == "0"
    expected = [87.5, 25, 127.5, 55, 112.5, 75, 72.5, 45]
    assert (np.array(corners, float).reshape(4, 2) * [200, 100]).ravel().tolist() == pytest.approx(expected, abs=1e-4)


def test_every_polygon_is_the_boxs(tmp_path: Path) -> None:
    labels = many_boxes()
    yolo_obb.write(labels, tmp_path)
    for image_id, image in labels:
        assert image.image_sizes is not None
        lines = (tmp_path / "labels" / f"{image_id}.txt").read_text().splitlines()
        assert [int(line.split()[0]) for line in lines] == image.labels.tolist()
        for line, box in zip(lines, image.boxes.astype(float), strict=True):
            polygon = shapely.Polygon(np.array(line.split()[1:], float).reshape(4, 2) * image.image_sizes[0])
            cx, cy, w, h, theta = box
            rectangle = shapely.affinity.rotate(
                shapely.box(cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2), theta, "center", use_radians=True
            )
            assert polygon.symmetric_difference(rectangle).area <= 1e-6 * rectangle.area
    assert {p.stat().st_size for p, c in zip(paths(tmp_path, labels), labels.counts, strict=True) if not c} == {0}


def paths(folder: Path, labels: RotatedInstances) -> list[Path]:
    return [folder / "labels" / f"{image_id}.txt" for image_id in labels.image_ids]


def test_the_same_corners_as_label_studios_converter(tmp_path: Path) -> None:
    convert = pytest.importorskip("label_studio_sdk.converter.utils").convert_annotation_to_yolo_obb
    # x, y, width and height in percent of 300 x 150 pixels, turned clockwise about the top left corner.
    region = {
        "x": 40,
        "y": 30,
        "width": 20,
        "height": 16,
        "rotation": 30,
        "original_width": 300,
        "original_height": 150,
    }
    cos, sin, (w, h) = np.cos(np.pi / 6), np.sin(np.pi / 6), (60, 24)
    centre = 120 + w / 2 * cos - h / 2 * sin, 45 + w / 2 * sin + h / 2 * cos
    yolo_obb.write(one_box([*centre, w, h, np.pi / 6], (300, 150)), tmp_path)
    words = (tmp_path / "labels" / "P1.txt").read_text().split()
    np.testing.assert_allclose(np.array(words[1:], float).reshape(4, 2), convert(region), atol=1e-7)


def test_the_files_around_the_labels(tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    labels = many_boxes()
    yolo_obb.write(labels, tmp_path)
    assert (tmp_path / "classes.txt").read_text(encoding="utf-8").splitlines() == list(CLASSES)
    data = yaml.safe_load((tmp_path / "data.yaml").read_text(encoding="utf-8"))
    assert data == {"train": "images", "val": "images", "names": dict(enumerate(CLASSES))}
    written = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert written == {"classes.txt", "data.yaml", *(f"labels/{i}.txt" for i in labels.image_ids)}


def test_images_are_copied_where_ultralytics_looks_and_sizes_come_back(tmp_path: Path) -> None:
    labels = many_boxes(1, 6)
    files = {image_id: tmp_path / "elsewhere" / f"{k}.PNG" for k, image_id in enumerate(labels.image_ids)}
    (tmp_path / "elsewhere").mkdir()
    assert labels.image_sizes is not None
    for file, size in zip(files.values(), labels.image_sizes.tolist(), strict=True):
        Image.new("L", size).save(file)
    copies = {image_id: tmp_path / "set" / "images" / f"{image_id}.PNG" for image_id in files}
    yolo_obb.write(labels, tmp_path / "set", files)
    times = [copy.stat().st_ctime_ns for copy in copies.values()]
    yolo_obb.write(labels, tmp_path / "set", files)  # again: the images are not copied again
    assert [copy.stat().st_ctime_ns for copy in copies.values()] == times
    for image_id, file in files.items():
        copy = copies[image_id]
        assert copy.read_bytes() == file.read_bytes()
        assert not copy.is_symlink()
        assert str(copy).replace("/images/", "/labels/")[:-4] + ".txt" == str(
            tmp_path / "set" / "labels" / f"{image_id}.txt"
        )
    (tmp_path / "set").rename(tmp_path / "moved")
    again = yolo_obb.read(tmp_path / "moved")
    assert again.image_sizes is not None
    wanted = labels.subset(sorted(labels.image_ids))
    assert again.image_ids.tolist() == wanted.image_ids.tolist()
    np.testing.assert_array_equal(again.image_sizes, wanted.image_sizes)
    np.testing.assert_array_equal(again.labels, wanted.labels)
    np.testing.assert_allclose(again.boxes, wanted.boxes, rtol=2e-7, atol=1e-6)
    assert again == yolo_obb.read(tmp_path / "moved", files)


def test_images_that_ultralytics_would_read_otherwise_become_pngs(tmp_path: Path) -> None:
    deep, plain = tmp_path / "deep.tif", tmp_path / "plain.jpg"
    Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30) * 100).save(deep)
    Image.new("RGB", (30, 20), (9, 8, 7)).save(plain)
    labels = RotatedInstances.empty(["deep", "plain"], ("ship",))
    yolo_obb.write(labels, tmp_path / "set", {"deep": deep, "plain": plain}, val=0)
    with Image.open(tmp_path / "set" / "images" / "deep.png") as made:
        np.testing.assert_array_equal(np.asarray(made), images.read(deep))
    assert (tmp_path / "set" / "train.txt").read_text() == "./images/deep.png\n./images/plain.jpg\n"
    assert (tmp_path / "set" / "images" / "plain.jpg").read_bytes() == plain.read_bytes()
    assert yolo_obb.read(tmp_path / "set").image_sizes.tolist() == [[30, 20], [30, 20]]
    Image.fromarray(np.full((20, 30), 70_000, np.int32)).save(deep)
    with pytest.raises(images.UndecidedImage, match=r"deep.tif: .* by al-rotate render or images.render"):
        yolo_obb.write(labels, tmp_path / "set", {"deep": deep, "plain": plain}, val=0)


def test_validation_images_are_listed_apart(tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    ids = [f"{k:03}" for k in range(20)]
    labels = RotatedInstances.empty(ids, ["ship"])
    Image.new("L", (20, 10)).save(tmp_path / "a.png")
    files = dict.fromkeys(ids, tmp_path / "a.png")
    sides = {}
    for val, seed in ((0.2, 0), (0.2, 1), (0.4, 0), (0, 0)):
        folder = yolo_obb.write(labels, tmp_path / f"{val}-{seed}", files, val, seed)
        data = yaml.safe_load((folder / "data.yaml").read_text())
        sides[val, seed] = {side: (folder / data[side]).read_text().split() for side in ("train", "val")}
    assert [len(listed["val"]) for listed in sides.values()] == [4, 4, 8, 20]
    assert all(sorted(s["train"] + s["val"]) == [f"./images/{i}.png" for i in ids] for s in list(sides.values())[:3])
    assert set(sides[0.2, 0]["val"]) < set(sides[0.4, 0]["val"])
    assert sides[0.2, 0] != sides[0.2, 1]
    again = yolo_obb.write(labels.subset(ids[::-1]), tmp_path / "again", files)
    assert sorted((again / "val.txt").read_text().split()) == sides[0.2, 0]["val"]
    for wrong in (-0.1, 1, 20):
        with pytest.raises(ValueError, match=r"for validation in \[0, 1\), got"):
            yolo_obb.write(labels, tmp_path / "x", files, wrong)


def test_tiles_of_a_scene_stay_together_and_images_rarely_change_sides() -> None:
    tiles = [f"scene{s}__1024__{x}___0" for s in range(10) for x in range(0, 4000, 1000)]
    chosen = yolo_obb.split(tiles, 0.25)
    scenes = {tile.split("__")[0] for tile in chosen}
    assert chosen == {tile for tile in tiles if tile.split("__")[0] in scenes}
    assert 10 <= len(chosen) <= 13
    ids = [f"{k}" for k in range(200)]
    before, after = yolo_obb.split(ids[:180], 0.2), yolo_obb.split(ids, 0.2)
    assert len(before - after) <= 4
    assert yolo_obb.split(["only"], 0.5) == set()
    assert len(yolo_obb.split(["one", "two"], 0.01)) == 1


@pytest.mark.parametrize(
    ("box", "reads"),
    [
        ([100, 50, 40, 20, 0], True),
        ([1, 50, 40, 20, 0], True),  # nearly half outside
        ([-1, 50, 40, 20, 0], False),
        ([201, 50, 40, 20, 0], False),
        ([100, -1, 40, 20, 0], False),
        ([100, 101, 40, 20, 0], False),
        ([100, 50, 200, 20, 0], True),
        ([100, 50, 202, 20, 0], False),
        ([100, 50, 120, 20, 0], True),
        ([100, 50, 120, 20, np.pi / 2], False),  # longer than the image is high
        ([100, 50, 200, 100, 0], True),
    ],
)
def test_boxes_that_would_cost_a_whole_image(tmp_path: Path, box: list[float], reads: bool) -> None:
    labels = one_box(box)
    assert yolo_obb.readable(labels).tolist() == [reads]
    if reads:
        yolo_obb.write(labels, tmp_path)
    else:
        with pytest.raises(ValueError, match=r"boxes that Ultralytics reads, got \[.*\] in image 'P1'"):
            yolo_obb.write(labels, tmp_path)
        assert not (tmp_path / "labels").exists()
        yolo_obb.write(labels.where(yolo_obb.readable(labels)), tmp_path)
        assert (tmp_path / "labels" / "P1.txt").read_text() == ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scores": [0.5]}, "expected labels, got detections"),
        ({"classes": None}, "expected instances with classes, got None"),
        ({"classes": ["a\nb"]}, "class names of one line"),
        ({"image_sizes": None}, "the sizes of images, got none for 1, e.g. 'P1'"),
        ({"image_sizes": [[200, 0]]}, "the sizes of images"),
        ({"image_ids": ["../P1"]}, "without '..'"),
        ({"image_ids": ["x/images/P1"]}, "without a folder 'images'"),
    ],
)
def test_refuses_what_cannot_be_written(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        yolo_obb.write(one_box([100, 50, 40, 20, 0]).replace(**changes), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_image_without_boxes_needs_no_size(tmp_path: Path) -> None:
    yolo_obb.write(RotatedInstances.empty(["P1"], ["ship"]), tmp_path)
    assert (tmp_path / "labels" / "P1.txt").read_text() == ""


def test_refuses_images_that_are_not_there(tmp_path: Path) -> None:
    labels = one_box([100, 50, 40, 20, 0])
    with pytest.raises(ValueError, match="a file for every image in image_files, got none for 'P1'"):
        yolo_obb.write(labels, tmp_path, {})
    with pytest.raises(ValueError, match="expected an image file, got none at"):
        yolo_obb.write(labels, tmp_path, {"P1": tmp_path / "P1.jpg"})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.1 0.1 0.2 0.1 0.2 0.2 0.1", "8 coordinates"),
        ("0 0.5 0.5 0.1 0.1", "8 coordinates"),  # an upright box
        ("0 0.1 0.1 0.2 0.1 0.2 0.2 0.1 nan", "8 coordinates"),
        ("0 0.1 0.1 0.2 0.1 0.2 0.2 0.1 x", "8 coordinates"),
        ("1 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2", "class number below 1, of classes.txt or data.yaml, got 1"),
        ("ship 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2", "class number below 1, of classes.txt or data.yaml, got ship"),
    ],
)
def test_names_the_line_that_cannot_be_read(tmp_path: Path, line: str, message: str) -> None:
    Image.new("L", (200, 100)).save(tmp_path / "P1.png")
    yolo_obb.write(one_box([100, 50, 40, 20, 0]), tmp_path / "set")
    file = tmp_path / "set" / "labels" / "P1.txt"
    file.write_text(file.read_text() + f"\n{line}\n")
    with pytest.raises(ValueError, match=f"P1.txt:3: expected .*{message}"):
        yolo_obb.read(tmp_path / "set", {"P1": tmp_path / "P1.png"})
    with pytest.raises(ValueError, match="an image with the id 'P1', for its size, got none"):
        yolo_obb.read(tmp_path / "set", {})


def test_a_folder_without_labels(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"classes\.txt"):
        yolo_obb.read(tmp_path)
    (tmp_path / "classes.txt").write_text("ship\n")
    with pytest.raises(FileNotFoundError, match=r"got no \.txt file"):
        yolo_obb.read(tmp_path)
