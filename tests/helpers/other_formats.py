"""Labels written as other tools write them, one writer for every format that is read.

Independent of the package's own writers: corners and XML are made here.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from al_rotate.data import RotatedInstances

Objects = list[tuple[str, list[float], list[tuple[float, float]]]]  # class, cx cy w h theta, corners
LEVEL = ("yolo", "voc")  # formats without an angle


def objects_of(image: RotatedInstances) -> Objects:
    found = []
    for (cx, cy, w, h, theta), label in zip(image.boxes.astype(float).tolist(), image.labels, strict=True):
        cos, sin = math.cos(theta), math.sin(theta)
        halves = [(-w / 2, -h / 2), (w / 2, -h / 2), (w / 2, h / 2), (-w / 2, h / 2)]
        corners = [(cx + x * cos - y * sin, cy + x * sin + y * cos) for x, y in halves]
        found.append((image.classes[label], [cx, cy, w, h, theta], corners))
    return found


def put(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def per_image(suffix: str, text_of: Callable[[Objects, str, tuple[int, int]], str]) -> Callable:
    """Make a writer of one file per image."""

    def write(labels: RotatedInstances, root: Path, files: Mapping[str, Path]) -> Path:
        sizes = dict(zip(labels.image_ids, labels.image_sizes.tolist(), strict=True))
        for image_id, image in labels:
            put(root / f"{image_id}{suffix}", text_of(objects_of(image), files[image_id].name, sizes[image_id]))
        return root

    return write


def _dota(objects: Objects, name: str, size: tuple[int, int]) -> str:
    lines = [f"{' '.join(f'{x} {y}' for x, y in corners)} {label} 0\n" for label, _, corners in objects]
    return "imagesource:GoogleEarth\ngsd:0.2\n" + "".join(lines)


def _xml(rotated: bool) -> Callable[[Objects, str, tuple[int, int]], str]:
    def text_of(objects: Objects, name: str, size: tuple[int, int]) -> str:
        parts = ""
        for label, (cx, cy, w, h, theta), _ in objects:
            if rotated:
                values = {"cx": cx, "cy": cy, "w": w, "h": h, "angle": theta % math.pi}
            else:
                values = {"xmin": cx - w / 2, "ymin": cy - h / 2, "xmax": cx + w / 2, "ymax": cy + h / 2}
            kind = "robndbox" if rotated else "bndbox"
            box = "".join(f"<{part}>{value}</{part}>" for part, value in values.items())
            parts += f"<object><type>{kind}</type><name>{escape(label)}</name><{kind}>{box}</{kind}></object>"
        head = f"<filename>{escape(name)}</filename><size><width>{size[0]}</width><height>{size[1]}</height></size>"
        return f'<annotation verified="no">{head}{parts}</annotation>'

    return text_of


def _labelme(objects: Objects, name: str, size: tuple[int, int]) -> str:
    shapes = [
        {"label": label, "points": corners, "shape_type": kind, "flags": {}}
        for (label, _, corners), kind in zip(objects, ["polygon", "oriented_rectangle"] * len(objects), strict=False)
    ]
    return json.dumps({"shapes": shapes, "imagePath": name, "imageWidth": size[0], "imageHeight": size[1]})


def _coco(labels: RotatedInstances, root: Path, files: Mapping[str, Path]) -> Path:
    """As CVAT exports it: level boxes with a rotation, ids with gaps, no outline."""
    numbers = {name: 10 * (k + 1) for k, name in enumerate(labels.classes)}
    listed, annotations = [], []
    for number, ((image_id, image), (width, height)) in enumerate(
        zip(labels, labels.image_sizes.tolist(), strict=True)
    ):
        listed.append({"id": 7 * number, "file_name": files[image_id].name, "width": width, "height": height})
        for name, (cx, cy, w, h, theta), _ in objects_of(image):
            annotation = {
                "id": len(annotations) + 1,
                "image_id": 7 * number,
                "category_id": numbers[name],
                "iscrowd": 0,
            }
            box = {"bbox": [cx - w / 2, cy - h / 2, w, h], "segmentation": [], "area": w * h}
            annotations.append({**annotation, **box, "attributes": {"rotation": math.degrees(theta) % 360}})
    categories = [{"id": number, "name": name, "supercategory": ""} for name, number in numbers.items()]
    put(
        root / "instances_default.json",
        json.dumps({"images": listed, "categories": categories, "annotations": annotations}),
    )
    return root


def _cvat(labels: RotatedInstances, root: Path, files: Mapping[str, Path]) -> Path:
    text = ""
    for number, ((image_id, image), (width, height)) in enumerate(
        zip(labels, labels.image_sizes.tolist(), strict=True)
    ):
        text += f'<image id="{number}" name={quoteattr(files[image_id].name)} width="{width}" height="{height}">'
        for name, (cx, cy, w, h, theta), _ in objects_of(image):
            edges = f'xtl="{cx - w / 2}" ytl="{cy - h / 2}" xbr="{cx + w / 2}" ybr="{cy + h / 2}"'
            turned = f'rotation="{math.degrees(theta) % 360}"'
            text += f'<box label={quoteattr(name)} source="manual" occluded="0" {edges} {turned} z_order="0"></box>'
        text += "</image>"
    named = "".join(f"<label><name>{escape(name)}</name><type>any</type></label>" for name in labels.classes)
    put(
        root / "annotations.xml", f"<annotations><meta><task><labels>{named}</labels></task></meta>{text}</annotations>"
    )
    return root


def _lines(labels: RotatedInstances, image: RotatedInstances, size: list[int], level: bool) -> str:
    lines = ""
    for name, (cx, cy, w, h, _), corners in objects_of(image):
        numbers = [cx, cy, w, h] if level else [value for corner in corners for value in corner]
        fractions = [value / size[k % 2] for k, value in enumerate(numbers)]
        lines += f"{labels.classes.index(name)} {' '.join(map(str, fractions))}\n"
    return lines


def _yolo(level: bool, yaml: bool) -> Callable:
    def write(labels: RotatedInstances, root: Path, files: Mapping[str, Path]) -> Path:
        for number, ((image_id, image), size) in enumerate(zip(labels, labels.image_sizes.tolist(), strict=True)):
            part = ("train/" if number % 4 else "val/") if yaml else ""
            put(root / "labels" / f"{part}{image_id}.txt", _lines(labels, image, size, level))
            target = root / "images" / f"{part}{image_id}{files[image_id].suffix}"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(files[image_id], target)
        if yaml:
            splits = f"path: {root}\ntrain: images/train\nval: images/val\ntest:\n"
            put(root / "data.yaml", f"{splits}nc: {len(labels.classes)}\nnames: {json.dumps([*labels.classes])}\n")
        else:
            put(root / "classes.txt", "\n".join(labels.classes))
        return root

    return write


def _label_studio(labels: RotatedInstances, root: Path, files: Mapping[str, Path]) -> Path:
    tasks = []
    for number, ((image_id, image), (width, height)) in enumerate(
        zip(labels, labels.image_sizes.tolist(), strict=True), 1
    ):
        result = []
        for name, (_, _, w, h, theta), corners in objects_of(image):
            x, y = corners[0]  # the corner that the rotation leaves in its place
            percent = {
                "x": 100 * x / width,
                "y": 100 * y / height,
                "width": 100 * w / width,
                "height": 100 * h / height,
            }
            value = {**percent, "rotation": math.degrees(theta), "rectanglelabels": [name]}
            sizes = {"original_width": width, "original_height": height, "image_rotation": 0}
            region = {"id": f"r{len(result)}", "type": "rectanglelabels", "from_name": "label", "to_name": "image"}
            result.append({**region, **sizes, "value": value})
        address = {"image": f"/data/upload/3/{number:08x}-{files[image_id].name}"}
        tasks.append({"id": number, "data": address, "annotations": [{"id": number, "result": result}]})
    put(root / "export.json", json.dumps(tasks))
    return root / "export.json"


def _parquet(labels: RotatedInstances, root: Path, files: Mapping[str, Path]) -> Path:
    return labels.save(root / "labels.parquet")


WRITERS: dict[str, Callable[[RotatedInstances, Path, Mapping[str, Path]], Path]] = {
    "dota": per_image(".txt", _dota),
    "coco": _coco,
    "ultralytics": _yolo(level=False, yaml=True),
    "yolo-obb": _yolo(level=False, yaml=False),
    "yolo": _yolo(level=True, yaml=False),
    "rolabelimg": per_image(".xml", _xml(rotated=True)),
    "voc": per_image(".xml", _xml(rotated=False)),
    "cvat": _cvat,
    "labelme": per_image(".json", _labelme),
    "label-studio": _label_studio,
    "parquet": _parquet,
}
