"""The data of the comparisons: small copies of pictures, their labels, and what a frozen backbone sees in them.

:func:`copies` leaves a folder for good: ``images/``, ``pool.parquet``, ``val.parquet``, ``test.parquet`` (labels in
the pixels of the copies). :func:`prepare` adds ``features.npy``: the backbone of the quick detector is not trained, so
that its output follows from the pixels alone; it is computed once for each picture and each of its flips and turns,
and a training or a prediction then costs a neck and a head.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

import al_rotate as al
from al_rotate.data import synthetic
from al_rotate.data.views import DIHEDRAL, View
from al_rotate.storage.files import atomic_write

VIEWS = (View(), *DIHEDRAL)
GREY = 114  # beyond the picture's edge, as MMDetection pads
PARTS = ("pool", "val", "test")
CHANNELS, STRIDES = (40, 112, 320), (8, 16, 32)  # of EfficientNet-Lite0

Parts = dict[str, tuple[al.RotatedInstances, dict[str, Path]]]


@dataclass(frozen=True)
class Sandbox:
    """What :func:`prepare` made.

    Attributes:
        size: pixels, both sides of what the detector sees.
        parts: name -> labels and files, of pool, val and test.
        features: (M, 8, F) half precision: a row an image of all parts, a column each of VIEWS; the
            levels of strides 8, 16 and 32 behind each other.
        row: image id -> row.
        sizes: image id -> width and height of the copy.
    """

    size: int
    parts: Parts
    features: NDArray[np.float16]
    row: Mapping[str, int]
    sizes: Mapping[str, tuple[int, int]]

    @property
    def classes(self) -> tuple[str, ...]:
        classes = self.parts["pool"][0].classes
        assert classes is not None
        return classes


def copies(name: str, folder: Path, size: int, data: Path | None = None) -> Parts:
    """Make the pictures and labels called `name` in `folder`, or come back to them.

    Args:
        name: one of DATASETS.
        folder: of this dataset and size.
        size: of the copies' longer side, in pixels.
        data: where photographs are, in DOTA form; rendered scenes need none.
    """
    if not (folder / "made.json").exists():
        parts = DATASETS[name](folder / "images", size, data)
        for part, (labels, _) in parts.items():
            labels.save(folder / f"{part}.parquet")
        ids = [image_id for _, found in parts.values() for image_id in found]
        with atomic_write(folder / "made.json") as file:
            json.dump({"name": name, "size": size, "images": ids}, file)
    made = _made(folder)
    if (made["name"], made["size"]) != (name, size):
        raise ValueError(f"expected {name} at {size} px in {folder}, got {made['name']} at {made['size']} px")
    labels = {part: al.RotatedInstances.load(folder / f"{part}.parquet") for part in PARTS}
    files = al.images.find(folder / "images")
    return {part: (one, {i: files[i] for i in one.image_ids}) for part, one in labels.items()}


def prepare(name: str, folder: Path, size: int, data: Path | None = None) -> Sandbox:
    """:func:`copies`, with what the backbone sees in them. Killed, the same call goes on."""
    parts = copies(name, folder, size, data)
    order, features = _made(folder)["images"], folder / "features.npy"
    if not features.exists():
        files = {image_id: file for _, found in parts.values() for image_id, file in found.items()}
        _see(features, {image_id: files[image_id] for image_id in order}, size)
    return Sandbox(
        size,
        parts,
        np.load(features),
        {image_id: row for row, image_id in enumerate(order)},
        {i: tuple(one.image_sizes[0].tolist()) for found, _ in parts.values() for i, one in found},
    )


def _made(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "made.json").read_text(encoding="utf-8"))


# The datasets.


def scenes(folder: Path, size: int, data: Path | None, unique: int = 280, again: int = 120) -> Parts:
    """Rendered scenes: five long-tailed classes, crowded and empty ones, and 30 scenes seen four times over.

    The doubles are windows a few pixels apart on one scene, darker or brighter and noisy, like frames of a flight.
    """
    pool, val, test = (
        synthetic.write_dataset(folder / part, n, size, seed, prefix=part)
        for part, n, seed in (("pool", unique, 100), ("val", 200, 101), ("test", 240, 102))
    )
    rng = np.random.default_rng(103)
    copies = []
    (folder / "again").mkdir(parents=True, exist_ok=True)
    for k in range(again):
        margin = 16
        picture, boxes, labels = synthetic.render(size + margin, np.random.default_rng([104, k // 4]))
        x, y = rng.integers(0, margin + 1, 2)
        seen = picture[y : y + size, x : x + size] * rng.uniform(0.85, 1.15) + rng.normal(0, 4, (size, size, 3))
        boxes[:, :2] -= [x, y]
        inside = ((boxes[:, :2] >= 0) & (boxes[:, :2] < size)).all(axis=1)
        image_id = f"again/{k // 4:02d}_{k % 4}"
        cv2.imwrite(str(folder / f"{image_id}.png"), np.clip(np.rint(seen), 0, 255).astype(np.uint8)[..., ::-1])
        n = int(inside.sum())
        copies.append(
            al.RotatedInstances(
                [image_id],
                [0, n],
                boxes[inside],
                labels[inside],
                classes=synthetic.CLASSES,
                image_sizes=[[size, size]],
            )
        )
    files = al.images.find(folder)

    def named(labels: al.RotatedInstances, part: str) -> al.RotatedInstances:
        return al.RotatedInstances(
            [f"{part}/images/{i}" for i in labels.image_ids],
            labels.offsets,
            labels.boxes,
            labels.labels,
            classes=labels.classes,
            image_sizes=np.full((len(labels), 2), size),
        )

    found = {
        "pool": al.RotatedInstances.concat([named(pool, "pool"), *copies]),
        "val": named(val, "val"),
        "test": named(test, "test"),
    }
    return {part: (labels, {i: files[i] for i in labels.image_ids}) for part, labels in found.items()}


def photographs(folder: Path, size: int, data: Path | None, val_every: int = 5) -> Parts:
    """Aerial photographs in DOTA form with splits/: its test images are the test, each fifth of the rest is val."""
    if data is None:
        raise ValueError("expected the folder of the photographs, with images/, labelTxt/ and splits/: give --data")
    labels, files = al.dota.read(data / "labelTxt"), al.images.find(data / "images")
    train, test = ((data / "splits" / f"{part}.txt").read_text().split() for part in ("train", "test"))
    order = np.random.default_rng(0).permutation(sorted(train)).tolist()
    ids = {"pool": sorted(order[len(order) // val_every :]), "val": sorted(order[: len(order) // val_every])}
    ids["test"] = sorted(test)
    return {part: _copied(labels.subset(some), files, folder, size) for part, some in ids.items()}


DATASETS: dict[str, Callable[[Path, int, Path | None], Parts]] = {
    "scenes": scenes,
    "vhr10": photographs,
    "boxes": photographs,
}


def _copied(
    labels: al.RotatedInstances, files: Mapping[str, Path], folder: Path, size: int
) -> tuple[al.RotatedInstances, dict[str, Path]]:
    """Copies whose longer side has `size` pixels, and the labels in their pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    scales, sizes, made = [], [], {}
    for image_id in labels.image_ids:
        picture = cv2.imread(str(files[image_id]))
        scale = size / max(picture.shape[:2])
        small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        made[image_id] = folder / f"{image_id}.png"
        cv2.imwrite(str(made[image_id]), small)
        scales.append(scale)
        sizes.append(small.shape[1::-1])
    boxes = labels.boxes.copy()
    boxes[:, :4] *= np.array(scales, np.float32)[labels.image_index, None]
    return labels.replace(boxes=boxes, image_sizes=np.array(sizes)), made


def _see(path: Path, files: Mapping[str, Path], size: int) -> None:
    """The backbone's output of every picture in every view."""
    import torch  # only the first time: what is computed needs none
    from lite0 import EfficientNetLite0

    backbone = EfficientNetLite0(frozen_blocks=7).eval()
    width = sum(channels * (size // stride) ** 2 for channels, stride in zip(CHANNELS, STRIDES, strict=True))
    scratch, noted = path.with_suffix(".part.npy"), path.with_suffix(".part.txt")
    done = int(noted.read_text()) if noted.exists() else 0
    shape = (len(files), len(VIEWS), width)
    table = np.lib.format.open_memmap(scratch, "r+" if done else "w+", np.float16, shape)
    for row, file in enumerate(tqdm(files.values(), desc="backbone", unit="image", initial=done)):
        if row < done:
            continue
        picture = cv2.imread(str(file))[..., ::-1]
        canvas = np.full((len(VIEWS), size, size, 3), GREY, np.float32)
        for k, view in enumerate(VIEWS):
            seen = view.pixels(picture)
            canvas[k, : seen.shape[0], : seen.shape[1]] = seen
        with torch.no_grad():
            levels = backbone(torch.from_numpy((canvas - 127) / 128).permute(0, 3, 1, 2))
        table[row] = torch.cat([level.flatten(1) for level in levels], 1).half().numpy()
        if row % 50 == 49:
            table.flush()
            noted.write_text(str(row + 1))
    table.flush()
    del table
    os.replace(scratch, path)
    noted.unlink(missing_ok=True)
