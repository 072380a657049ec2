"""The data of the comparisons: small copies of images, and their labels.

:func:`small_copies` leaves a folder with ``images/``, ``pool.parquet``, ``val.parquet`` and ``test.parquet`` (labels in
the pixels of the copies).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import al_rotate as al
from al_rotate.data import images, synthetic
from al_rotate.storage.files import atomic_write

from . import dota_folder

PARTS = ("pool", "val", "test")

Parts = dict[str, tuple[al.RotatedInstances, dict[str, Path]]]  # name of a part -> labels and files


def small_copies(name: str, folder: Path, size: int, data: Path | None = None) -> Parts:
    """Make a dataset in `folder`, or load it from there.

    Args:
        name: one of DATASETS.
        folder: of this dataset and size.
        size: of the copies' longer side, in pixels.
        data: where photographs are, in DOTA form; rendered scenes need none.

    Raises:
        ValueError: if the folder holds another dataset or size, or the photographs are missing.
    """
    if not (folder / "made.json").exists():
        parts = DATASETS[name](folder / "images", size, data)
        for part, (labels, _) in parts.items():
            labels.save(folder / f"{part}.parquet")
        ids = [image_id for _, files in parts.values() for image_id in files]
        with atomic_write(folder / "made.json") as file:
            json.dump({"name": name, "size": size, "images": ids}, file)
    manifest = read_manifest(folder)
    if (manifest["name"], manifest["size"]) != (name, size):
        got = f"{manifest['name']} at {manifest['size']} px"
        raise ValueError(f"expected {name} at {size} px in {folder}, got {got}")
    labels_of = {part: al.RotatedInstances.load(folder / f"{part}.parquet") for part in PARTS}
    files = images.find(folder / "images")
    return {part: (labels, {i: files[i] for i in labels.image_ids}) for part, labels in labels_of.items()}


def read_manifest(folder: Path) -> dict[str, Any]:
    """Name, size and image ids of the dataset in a folder."""
    return json.loads((folder / "made.json").read_text(encoding="utf-8"))


def scenes(folder: Path, size: int, data: Path | None, unique: int = 280, copied: int = 120) -> Parts:
    """Render scenes: five long-tailed classes, crowded and empty ones, and 30 scenes with four near copies each.

    Near copies are windows a few pixels apart on one scene, darker or brighter and noisy, like frames of a flight.
    """
    pool, val, test = (
        synthetic.write_dataset(folder / part, n, size, seed, prefix=part)
        for part, n, seed in (("pool", unique, 100), ("val", 200, 101), ("test", 240, 102))
    )
    copies = _near_copies(folder, size, copied)
    files = images.find(folder)

    def renamed(labels: al.RotatedInstances, part: str) -> al.RotatedInstances:
        return al.RotatedInstances(
            [f"{part}/images/{i}" for i in labels.image_ids],
            labels.offsets,
            labels.boxes,
            labels.labels,
            classes=labels.classes,
            image_sizes=np.full((len(labels), 2), size),
        )

    labels_of = {
        "pool": al.RotatedInstances.concat([renamed(pool, "pool"), *copies]),
        "val": renamed(val, "val"),
        "test": renamed(test, "test"),
    }
    return {part: (labels, {i: files[i] for i in labels.image_ids}) for part, labels in labels_of.items()}


def photographs(folder: Path, size: int, data: Path | None, val_every: int = 5) -> Parts:
    """Copy aerial photographs in DOTA form with splits/: its test images, and every fifth of the others as val."""
    if data is None:
        raise ValueError("expected the folder of the photographs, with images/, labelTxt/ and splits/: give --data")
    source = dota_folder.read(data)
    order = np.random.default_rng(0).permutation(sorted(source.train)).tolist()
    ids = {"pool": sorted(order[len(order) // val_every :]), "val": sorted(order[: len(order) // val_every])}
    ids["test"] = sorted(source.test)
    return {part: _shrunk(source.labels.subset(chosen), source.files, folder, size) for part, chosen in ids.items()}


DATASETS: dict[str, Callable[[Path, int, Path | None], Parts]] = {
    "scenes": scenes,
    "vhr10": photographs,
    "boxes": photographs,
}


def _near_copies(folder: Path, size: int, n: int) -> list[al.RotatedInstances]:
    """The labels of `n` windows on scenes, four on each, written to ``again/`` and named as tiles are, ``00__3``."""
    rng = np.random.default_rng(103)
    (folder / "again").mkdir(parents=True, exist_ok=True)
    margin, copies = 16, []
    for k in range(n):
        scene, boxes, labels = synthetic.render(size + margin, np.random.default_rng([104, k // 4]))
        x, y = rng.integers(0, margin + 1, 2)
        window = scene[y : y + size, x : x + size] * rng.uniform(0.85, 1.15) + rng.normal(0, 4, (size, size, 3))
        boxes[:, :2] -= [x, y]
        inside = ((boxes[:, :2] >= 0) & (boxes[:, :2] < size)).all(axis=1)
        image_id, n_boxes = f"again/{k // 4:02d}__{k % 4}", int(inside.sum())
        pixels = np.clip(np.rint(window), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{image_id}.png"), pixels[..., ::-1])
        copies.append(
            al.RotatedInstances(
                [image_id],
                [0, n_boxes],
                boxes[inside],
                labels[inside],
                classes=synthetic.CLASSES,
                image_sizes=[[size, size]],
            )
        )
    return copies


def _shrunk(
    labels: al.RotatedInstances, files: Mapping[str, Path], folder: Path, size: int
) -> tuple[al.RotatedInstances, dict[str, Path]]:
    """Write copies whose longer side has `size` pixels; the labels in their pixels, and the files."""
    folder.mkdir(parents=True, exist_ok=True)
    scales, sizes, copies = [], [], {}
    for image_id in labels.image_ids:
        pixels = cv2.imread(str(files[image_id]))
        scale = size / max(pixels.shape[:2])
        small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        copies[image_id] = folder / f"{image_id}.png"
        cv2.imwrite(str(copies[image_id]), small)
        scales.append(scale)
        sizes.append(small.shape[1::-1])
    boxes = labels.boxes.copy()
    boxes[:, :4] *= np.array(scales, np.float32)[labels.image_index, None]
    return labels.replace(boxes=boxes, image_sizes=np.array(sizes)), copies
