"""The output of a frozen backbone for every image of a dataset in its eight views, computed once.

The backbone of the sandbox detector is not trained, so that its output depends on the pixels alone. With it on disk, a
training or a prediction costs no more than a neck and a head.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from al_rotate.data.views import DIHEDRAL, View

from .datasets import Parts, read_manifest, small_copies

VIEWS = (View(), *DIHEDRAL)
GREY = 114  # beyond the image's edge, as MMDetection pads
CHANNELS, STRIDES = (40, 112, 320), (8, 16, 32)  # of EfficientNet-Lite0


@dataclass(frozen=True)
class Sandbox:
    """A dataset with the backbone's features.

    Attributes:
        size: pixels, both sides of what the detector sees.
        parts: labels and files of pool, val and test.
        features: (M, 8, F) half precision: one row per image of all parts, one column for each of VIEWS; the levels of
            strides 8, 16 and 32, flattened and concatenated.
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


def prepare_sandbox(name: str, folder: Path, size: int, data: Path | None = None) -> Sandbox:
    """Make a dataset (see :func:`experiments.learners.datasets.small_copies`) and its features, ``features.npy``.

    After a kill the same call resumes.
    """
    parts = small_copies(name, folder, size, data)
    order, features = read_manifest(folder)["images"], folder / "features.npy"
    if not features.exists():
        files = {image_id: file for _, part in parts.values() for image_id, file in part.items()}
        _write_features(features, {image_id: files[image_id] for image_id in order}, size)
    return Sandbox(
        size,
        parts,
        np.load(features),
        {image_id: row for row, image_id in enumerate(order)},
        {i: tuple(image.image_sizes[0].tolist()) for labels, _ in parts.values() for i, image in labels},
    )


def _write_features(path: Path, files: Mapping[str, Path], size: int) -> None:
    """Run the backbone on every image in every view."""
    import torch  # only the first time: later calls load the features

    from .lite0 import EfficientNetLite0

    backbone = EfficientNetLite0(frozen_blocks=7).eval()
    width = sum(channels * (size // stride) ** 2 for channels, stride in zip(CHANNELS, STRIDES, strict=True))
    scratch, progress = path.with_suffix(".part.npy"), path.with_suffix(".part.txt")
    done = int(progress.read_text()) if progress.exists() else 0
    shape = (len(files), len(VIEWS), width)
    features = np.lib.format.open_memmap(scratch, "r+" if done else "w+", np.float16, shape)
    for row, file in enumerate(tqdm(files.values(), desc="backbone", unit="image", initial=done)):
        if row < done:
            continue
        pixels = cv2.imread(str(file))[..., ::-1]
        canvas = np.full((len(VIEWS), size, size, 3), GREY, np.float32)
        for k, view in enumerate(VIEWS):
            turned = view.pixels(pixels)
            canvas[k, : turned.shape[0], : turned.shape[1]] = turned
        with torch.no_grad():
            levels = backbone(torch.from_numpy((canvas - 127) / 128).permute(0, 3, 1, 2))
        features[row] = torch.cat([level.flatten(1) for level in levels], 1).half().numpy()
        if row % 50 == 49:
            features.flush()
            progress.write_text(str(row + 1))
    features.flush()
    del features
    os.replace(scratch, path)
    progress.unlink(missing_ok=True)
