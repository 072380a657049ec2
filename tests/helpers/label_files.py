"""Small label files of every format that is read, written by hand, with the boxes that they mean.

Three images of 200 x 100 pixels: ``a`` has a ship and a truck, ``b`` shows nothing, ``c`` is not labelled.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from al_rotate.data import RotatedInstances

CLASSES = ("ship", "truck")
SIZE = (200, 100)
ANGLE = 0.5  # of the ship, in radians; clockwise, as y points down
SHIP = (60.0, 40.0, 40.0, 20.0)  # cx, cy, w, h
TRUCK = (150.0, 70.0, 30.0, 10.0)
BOXES = {True: [[*SHIP, ANGLE], [*TRUCK, 0.0]], False: [[*SHIP, 0.0], [*TRUCK, 0.0]]}  # rotated or not
HORIZONTAL = ("yolo", "voc")


def corners(box: tuple[float, float, float, float], angle: float) -> list[tuple[float, float]]:
    cx, cy, w, h = box
    cos, sin = math.cos(angle), math.sin(angle)
    halves = [(-w / 2, -h / 2), (w / 2, -h / 2), (w / 2, h / 2), (-w / 2, h / 2)]
    return [(cx + x * cos - y * sin, cy + x * sin + y * cos) for x, y in halves]


OBJECTS = [("ship", SHIP, ANGLE), ("truck", TRUCK, 0.0)]


def images(folder: Path) -> Path:
    """Write the three images."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in "abc":
        Image.new("RGB", SIZE, (90, 120, 60)).save(folder / f"{name}.png")
    return folder


def dota(root: Path) -> Path:
    lines = [" ".join(f"{x:.4f} {y:.4f}" for x, y in corners(*box)) + f" {name} 0" for name, *box in OBJECTS]
    return texts(root / "labelTxt", ".txt", {"a": "\n".join(lines), "b": ""})


def coco(root: Path) -> Path:
    annotations = [
        {
            "id": number,
            "image_id": 1,
            "category_id": number,
            "segmentation": [[value for point in corners(*box) for value in point]],
            "bbox": [0, 0, 1, 1],
        }
        for number, (_, *box) in enumerate(OBJECTS, 1)
    ]
    described = [{"id": k, "file_name": f"{name}.png", "width": 200, "height": 100} for k, name in ((1, "a"), (2, "b"))]
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES, 1)]
    file = root / "instances.json"
    file.write_text(json.dumps({"images": described, "annotations": annotations, "categories": categories}))
    return file


def yolo_obb(root: Path) -> Path:
    images(root / "images")
    lines = [
        f"{k} " + " ".join(f"{x / 200} {y / 100}" for x, y in corners(*box)) for k, (_, *box) in enumerate(OBJECTS)
    ]
    texts(root / "labels", ".txt", {"a": "\n".join(lines), "b": ""})
    (root / "classes.txt").write_text("ship\ntruck\n")
    return root


def ultralytics(root: Path) -> Path:
    for part, names in (("train", "ac"), ("val", "b")):
        folder = images(root / "images" / part)
        for other in set("abc") - set(names):
            (folder / f"{other}.png").unlink()
    lines = [
        f"{k} " + " ".join(f"{x / 200} {y / 100}" for x, y in corners(*box)) for k, (_, *box) in enumerate(OBJECTS)
    ]
    texts(root / "labels" / "train", ".txt", {"a": "\n".join(lines)})
    texts(root / "labels" / "val", ".txt", {"b": ""})
    (root / "data.yaml").write_text("path: .\ntrain: images/train\nval: images/val\nnames:\n  0: ship\n  1: truck\n")
    return root


def yolo(root: Path) -> Path:
    images(root / "images")
    lines = [f"{k} {cx / 200} {cy / 100} {w / 200} {h / 100}" for k, (cx, cy, w, h) in enumerate((SHIP, TRUCK))]
    texts(root / "labels", ".txt", {"a": "\n".join(lines), "b": ""})
    (root / "classes.txt").write_text("ship\ntruck\n")
    return root


def xml(root: Path, shape: Callable[[tuple[float, float, float, float], float], str]) -> Path:
    head = "<size><width>200</width><height>100</height><depth>3</depth></size>"
    objects = "".join(f"<object><name>{name}</name>{shape(*box)}</object>" for name, *box in OBJECTS)
    files = {
        n: f"<annotation><filename>{n}.png</filename>{head}{o}</annotation>" for n, o in (("a", objects), ("b", ""))
    }
    return texts(root / "annotations", ".xml", files)


def rolabelimg(root: Path) -> Path:
    def shape(box: tuple[float, float, float, float], angle: float) -> str:
        values = zip(("cx", "cy", "w", "h", "angle"), (*box, angle), strict=True)
        inner = "".join(f"<{name}>{value}</{name}>" for name, value in values)
        return f"<type>robndbox</type><robndbox>{inner}</robndbox>"

    return xml(root, shape)


def voc(root: Path) -> Path:
    def shape(box: tuple[float, float, float, float], angle: float) -> str:
        cx, cy, w, h = box
        values = {"xmin": cx - w / 2, "ymin": cy - h / 2, "xmax": cx + w / 2, "ymax": cy + h / 2}
        return "<bndbox>" + "".join(f"<{name}>{value}</{name}>" for name, value in values.items()) + "</bndbox>"

    return xml(root, shape)


def cvat(root: Path) -> Path:
    boxes = "".join(
        f'<box label="{name}" xtl="{cx - w / 2}" ytl="{cy - h / 2}" xbr="{cx + w / 2}" ybr="{cy + h / 2}" '
        f'rotation="{math.degrees(angle)}" occluded="0" z_order="0"></box>'
        for name, (cx, cy, w, h), angle in OBJECTS
    )
    labels = "".join(f"<label><name>{name}</name></label>" for name in CLASSES)
    size = 'width="200" height="100"'
    file = root / "annotations.xml"
    file.write_text(
        f"<annotations><version>1.1</version><meta><job><labels>{labels}</labels></job></meta>"
        f'<image id="0" name="a.png" {size}>{boxes}</image><image id="1" name="b.png" {size}></image></annotations>'
    )
    return file


def labelme(root: Path) -> Path:
    shapes = [{"label": name, "points": corners(*box), "shape_type": "polygon"} for name, *box in OBJECTS]
    files = {
        name: json.dumps({"shapes": of_image, "imagePath": f"{name}.png", "imageHeight": 100, "imageWidth": 200})
        for name, of_image in (("a", shapes), ("b", []))
    }
    return texts(root / "labelme", ".json", files)


def label_studio(root: Path) -> Path:
    """An export of three tasks: answered, answered without a box, and not answered yet."""
    result = []
    for name, box, angle in OBJECTS:
        (x, y), (_, _, w, h) = corners(box, angle)[0], box  # the corner that the rotation leaves in its place
        value = {"x": x / 2, "y": y, "width": w / 2, "height": h, "rotation": math.degrees(angle)}
        region = {"id": name, "type": "rectanglelabels", "from_name": "label", "to_name": "image"}
        sizes = {"original_width": 200, "original_height": 100, "image_rotation": 0}
        result.append({**region, **sizes, "value": {**value, "rectanglelabels": [name]}})
    answers = {"a": [{"id": 1, "result": result}], "b": [{"id": 2, "result": []}], "c": []}
    tasks = [
        {"id": number, "data": {"image": f"/data/upload/1/0123abcd-{name}.png"}, "annotations": annotations}
        for number, (name, annotations) in enumerate(answers.items(), 1)
    ]
    file = root / "project-1-at-2026-01-01.json"
    file.write_text(json.dumps(tasks))
    return file


def parquet(root: Path) -> Path:
    rows = [[*box, angle] for _, box, angle in OBJECTS]
    sizes = [SIZE, SIZE]
    labels = RotatedInstances(["a", "b"], [0, 2, 2], rows, [0, 1], classes=CLASSES, image_sizes=sizes)
    return labels.save(root / "labels.parquet")


def texts(folder: Path, suffix: str, contents: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / f"{name}{suffix}").write_text(content)
    return folder


WRITERS: dict[str, Callable[[Path], Path]] = {
    "dota": dota,
    "coco": coco,
    "ultralytics": ultralytics,
    "yolo-obb": yolo_obb,
    "yolo": yolo,
    "rolabelimg": rolabelimg,
    "voc": voc,
    "cvat": cvat,
    "labelme": labelme,
    "label-studio": label_studio,
    "parquet": parquet,
}
