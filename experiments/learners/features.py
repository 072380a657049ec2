"""The output of a frozen backbone for every image of a dataset in several views, computed once.

The backbone of the sandbox detector is not trained, so that its output depends on the pixels alone. With it on disk, a
training or a prediction costs no more than a neck and a head. It is mapped into memory, not loaded: processes share it,
and it may be larger than memory.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from al_rotate.data.views import DIHEDRAL, View

from .datasets import Parts, read_manifest, small_copies
from .pools.tile_pool import TilePool

VIEWS = (View(), *DIHEDRAL)
FLIPS = tuple(view for view in VIEWS if view.quarters % 2 == 0)  # as MMRotate's own configs flip
MIRRORED = (View(), View(flip=True))  # of tiles, of which there are thousands
GREY = 114  # beyond the image's edge, as MMDetection pads
CHANNELS, STRIDES = (40, 112, 320), (8, 16, 32)  # of EfficientNet-Lite0
_AT_ONCE = 32  # views in a batch of the backbone

Backbone = Callable[[Any], Iterable[Any]]  # (N, 3, size, size) -> the levels of STRIDES


@dataclass(frozen=True)
class Sandbox:
    """A dataset with the backbone's features.

    Attributes:
        size: pixels, both sides of what the detector sees.
        parts: labels and files, of pool, val and test or of all images.
        features: (R, F) half precision: one row per image and view; the levels of strides 8, 16 and 32, flattened and
            concatenated.
        row: image id -> the row of its first view; the others follow.
        sizes: image id -> width and height, in pixels of what the detector sees.
        views: the views of an image, in the order of its rows. Images that are never trained on may have only the
            first.
        scale: image id -> how many pixels the detector sees for one of the image; 1 where it is not said.
    """

    size: int
    parts: Parts
    features: NDArray[np.float16]
    row: Mapping[str, int]
    sizes: Mapping[str, tuple[int, int]]
    views: tuple[View, ...] = VIEWS
    scale: Mapping[str, float] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        classes = self.parts["pool"][0].classes
        assert classes is not None
        return classes

    def of(self, image_id: str, view: View) -> NDArray[np.float16]:
        """The features of an image in a view, (F,)."""
        return self.features[self.row[image_id] + self.views.index(view)]


def prepare_sandbox(name: str, folder: Path, size: int, data: Path | None = None) -> Sandbox:
    """Make a dataset (see :func:`experiments.learners.datasets.small_copies`) and its features, ``features.npy``.

    After a kill the same call resumes.
    """
    parts = small_copies(name, folder, size, data)
    files = {image_id: file for _, part in parts.values() for image_id, file in part.items()}
    order = read_manifest(folder)["images"]
    if not (folder / "features.npy").exists():
        write_features(folder / "features.npy", {i: files[i] for i in order}, dict.fromkeys(order, VIEWS), size)
    features = np.load(folder / "features.npy", mmap_mode="r")
    return Sandbox(
        size,
        parts,
        features.reshape(-1, features.shape[-1]),
        {image_id: row * len(VIEWS) for row, image_id in enumerate(order)},
        {i: tuple(image.image_sizes[0].tolist()) for labels, _ in parts.values() for i, image in labels},
    )


def prepare_tiles(pool: TilePool, folder: Path, backbone: Backbone | None = None) -> Sandbox:
    """Make the features of a pool of tiles, ``features.npy``: of those to train on mirrored, too.

    After a kill the same call resumes.
    """
    size, trained_on = pool.recipe.input, {*pool.tiles_of(pool.train)}
    views = {i: MIRRORED if i in trained_on else MIRRORED[:1] for i in pool.labels.image_ids.tolist()}
    if not (folder / "features.npy").exists():
        write_features(folder / "features.npy", {i: pool.files[i] for i in views}, views, size, backbone)
    ends = np.cumsum([0, *map(len, views.values())])
    sides = np.asarray(pool.labels.image_sizes)[:, 0]
    return Sandbox(
        size,
        {"pool": (pool.labels, pool.files)},
        np.load(folder / "features.npy", mmap_mode="r"),
        dict(zip(views, ends.tolist(), strict=False)),
        dict.fromkeys(views, (size, size)),
        MIRRORED,
        dict(zip(views, (size / sides).tolist(), strict=True)),
    )


def write_features(
    path: Path,
    files: Mapping[str, Path],
    views: Mapping[str, tuple[View, ...]],
    size: int,
    backbone: Backbone | None = None,
) -> None:
    """Run a backbone on every image in its views; images are resized until their longer side has `size` pixels.

    Args:
        path: of the rows, image by image and view by view.
        files: image id -> file.
        views: image id -> views, in which (width, height) stays within the square.
        size: pixels, both sides of what the backbone sees.
        backbone: None: EfficientNet-Lite0 with ImageNet weights.
    """
    import torch  # only the first time: later calls read the features

    if backbone is None:
        from .lite0 import EfficientNetLite0

        backbone = EfficientNetLite0(frozen_blocks=7).eval()
    width = sum(channels * math.prod((size // stride,) * 2) for channels, stride in zip(CHANNELS, STRIDES, strict=True))
    scratch, progress = path.with_suffix(".part.npy"), path.with_suffix(".part.txt")
    done = int(progress.read_text()) if progress.exists() else 0
    n_rows = sum(len(views[image_id]) for image_id in files)
    features = np.lib.format.open_memmap(scratch, "r+" if done else "w+", np.float16, (n_rows, width))
    row = done
    with tqdm(total=n_rows, initial=done, desc="backbone", unit="view") as bar:
        canvases = _canvases(files, views, size, done)
        while batch := list(itertools.islice(canvases, _AT_ONCE)):
            with torch.no_grad():
                levels = backbone(torch.from_numpy((np.stack(batch) - 127) / 128).permute(0, 3, 1, 2))
            features[row : row + len(batch)] = torch.cat([level.flatten(1) for level in levels], 1).half().numpy()
            row += len(batch)
            bar.update(len(batch))
            if row // _AT_ONCE % 16 == 15:
                features.flush()
                progress.write_text(str(row))
    features.flush()
    del features
    os.replace(scratch, path)
    progress.unlink(missing_ok=True)


def _canvases(
    files: Mapping[str, Path], views: Mapping[str, tuple[View, ...]], size: int, done: int
) -> Iterator[NDArray[np.float32]]:
    """What the detector sees of each image in each view, (size, size, 3); the first `done` are left out."""
    row = 0
    for image_id, file in files.items():
        if row + len(views[image_id]) <= done:
            row += len(views[image_id])
            continue
        pixels = np.asarray(cv2.imread(str(file)))[..., ::-1]
        if (longer := max(pixels.shape[:2])) != size:
            width, height = (max(1, round(side * size / longer)) for side in pixels.shape[1::-1])
            how = cv2.INTER_AREA if longer > size else cv2.INTER_LINEAR
            pixels = np.asarray(cv2.resize(pixels, (width, height), interpolation=how))
        for view in views[image_id]:
            if row >= done:
                canvas = np.full((size, size, 3), GREY, np.float32)
                turned = view.pixels(pixels)
                canvas[: turned.shape[0], : turned.shape[1]] = turned
                yield canvas
            row += 1
