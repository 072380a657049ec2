"""Scenes and their labels cut into tiles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...boxes import area, iou
from ...storage.files import path_for_image, temporary_sibling
from .. import images
from ..instances import RotatedInstances
from .tiles import Tile, Tiling, window


def cut(
    scenes: str | Path | Iterable[str | Path] | Mapping[str, str | Path], out: str | Path, tiling: Tiling | None = None
) -> dict[str, Path]:
    """Write every tile as an image of its own, so that tiles can be ranked, labelled and trained on.

    Args:
        scenes: a folder, files, or a mapping scene id -> file.
        out: folder for ``TILE.png``. A scene whose tiles all exist is not cut again, so a run that was interrupted
            resumes.
        tiling: by default 1024 pixels with an overlap of 200.

    Returns:
        tile id -> file.

    Raises:
        UnreadableImage: for a scene that cannot be decoded.
    """
    tiling, folder = tiling or Tiling(), Path(out)
    paths: dict[str, Path] = {}
    with images.allow_large_images():
        for scene_id, file in images.resolve(scenes).items():
            tiles = tiling.tiles(scene_id, *images.size(file))
            of_scene = {tile.id: path_for_image(folder, tile.id, ".png") for tile in tiles}
            if not all(path.is_file() for path in of_scene.values()):
                pixels = images.read(file)
                for tile in tiles:
                    _write_png(window(pixels, tile), of_scene[tile.id])
            paths |= of_scene
    return paths


def cut_labels(
    labels: RotatedInstances,
    sizes: Mapping[str, tuple[int, int]],
    tiling: Tiling | None = None,
    visible: float = 0.7,
) -> RotatedInstances:
    """Distribute the labels of scenes to their tiles.

    Args:
        labels: of scenes.
        sizes: scene id -> width and height in pixels.
        tiling: of the tiles; by default as :func:`cut`.
        visible: a box goes to every tile that shows at least this share of its area, uncropped, as in MMRotate's
            ``img_split``. Unlike there it also goes to the tile that shows most of it, so that no label is lost.

    Returns:
        Labels on all tiles, including those without a box, in the order of the scenes and their tiles.

    Raises:
        ValueError: for a scene without a size.
    """
    tiling = tiling or Tiling()
    ids: list[str] = []
    rows_of_tile: list[NDArray[np.intp]] = []
    boxes_of_tile: list[NDArray[np.float32]] = []
    for start, (scene_id, scene) in zip(labels.offsets[:-1], labels, strict=True):
        if scene_id not in sizes:
            raise ValueError(f"expected the size of every scene, got none of {scene_id!r}")
        tiles = tiling.tiles(scene_id, *sizes[scene_id])
        frames = np.array([(t.x + t.side / 2, t.y + t.side / 2, t.side, t.side, 0.0) for t in tiles])
        overlap = iou(scene.boxes, frames)
        areas = area(scene.boxes.astype(np.float64))[:, None]
        # With intersection I, IoU = I / (A + B - I), so I = IoU (A + B) / (1 + IoU).
        shown = overlap * (areas + frames[:, 2] * frames[:, 3]) / (1 + overlap) / np.maximum(areas, 1e-12)
        best = np.eye(len(tiles), dtype=bool)[shown.argmax(axis=1)] & (shown > 0)
        for k, tile in enumerate(tiles):
            rows = np.flatnonzero((shown[:, k] >= visible) | best[:, k])
            ids.append(tile.id)
            rows_of_tile.append(start + rows)
            boxes_of_tile.append(scene.boxes[rows] - np.array([tile.x, tile.y, 0, 0, 0], np.float32))
    rows = np.concatenate([np.zeros(0, np.int64), *rows_of_tile])
    return RotatedInstances(
        ids,
        np.cumsum([0, *map(len, rows_of_tile)]),
        np.concatenate([np.zeros((0, 5), np.float32), *boxes_of_tile]),
        labels.labels[rows],
        classes=labels.classes,
        difficult=None if labels.difficult is None else labels.difficult[rows],
        image_sizes=np.repeat([Tile.of(tile_id).side for tile_id in ids], 2).reshape(-1, 2).astype(np.int64),
    )


def _write_png(pixels: NDArray[np.uint8], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = temporary_sibling(path)
    Image.fromarray(pixels).save(scratch, "png")
    scratch.replace(path)
