"""TODO data.tiling.cut."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ... import boxes
from ...storage import files as _files
from .. import images
from ..instances import RotatedInstances
from .tiles import Tile, Tiling, window


def cut(
    scenes: str | Path | Iterable[str | Path] | Mapping[str, str | Path], out: str | Path, tiling: Tiling | None = None
) -> dict[str, Path]:
    """Write every tile as an image of its own, so that tiles can be ranked, labelled and trained on.

    Args:
        scenes: a folder, files, or a mapping scene id -> file.
        out: folder for ``TILE.png``; a tile that is there already is not written again.
        tiling: by default 1024 pixels with 200 of overlap.

    Returns:
        tile id -> file.

    Raises:
        UnreadableImage: for a scene that cannot be decoded.
    """
    tiling, folder = tiling or Tiling(), Path(out)
    written: dict[str, Path] = {}
    with images.allow_large_images():
        for scene_id, file in images.resolve(scenes).items():
            files = {
                tile: _files.path_for_image(folder, tile.id, ".png")
                for tile in tiling.tiles(scene_id, *images.size(file))
            }
            if not all(path.is_file() for path in files.values()):
                pixels = images.read(file)
                for tile, path in files.items():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    scratch = _files.temporary_sibling(path)
                    Image.fromarray(window(pixels, tile)).save(scratch, "png")
                    scratch.replace(path)
            written |= {tile.id: path for tile, path in files.items()}
    return written


def cut_labels(
    labels: RotatedInstances,
    sizes: Mapping[str, tuple[int, int]],
    tiling: Tiling | None = None,
    visible: float = 0.7,
) -> RotatedInstances:
    """The labels of scenes on their tiles.

    Args:
        labels: of scenes.
        sizes: width and height in pixels of each scene.
        tiling: that the tiles were cut by.
        visible: a box belongs to every tile that shows at least this share of its area, and stays whole there, as in
            MMRotate's ``img_split``; and to the tile that shows most of it, so that none is lost.

    Returns:
        Labels on all tiles, those without a box too, in the order of the scenes and their tiles.

    Raises:
        ValueError: for a scene without a size.
    """
    tiling = tiling or Tiling()
    ids: list[str] = []
    parts: list[tuple[NDArray[np.intp], NDArray]] = []
    for position, (scene_id, one) in enumerate(labels):
        if scene_id not in sizes:
            raise ValueError(f"expected the size of every scene, got none of {scene_id!r}")
        tiles = tiling.tiles(scene_id, *sizes[scene_id])
        frame = np.array([(t.x + t.side / 2, t.y + t.side / 2, t.side, t.side, 0.0) for t in tiles])
        overlap = boxes.iou(one.boxes, frame)
        areas = boxes.area(one.boxes.astype(np.float64))[:, None]
        shown = overlap * (areas + frame[:, 2] * frame[:, 3]) / (1 + overlap) / np.maximum(areas, 1e-12)
        best = np.eye(len(tiles), dtype=bool)[shown.argmax(axis=1)] & (shown > 0)
        for k, tile in enumerate(tiles):
            rows = np.flatnonzero((shown[:, k] >= visible) | best[:, k])
            moved = one.boxes[rows] - np.array([tile.x, tile.y, 0, 0, 0], np.float32)
            ids.append(tile.id)
            parts.append((labels.offsets[position] + rows, moved))
    rows = np.concatenate([np.zeros(0, np.int64), *(part for part, _ in parts)])
    return RotatedInstances(
        ids,
        np.cumsum([0, *(len(part) for part, _ in parts)]),
        np.concatenate([np.zeros((0, 5), np.float32), *(moved for _, moved in parts)]),
        labels.labels[rows],
        classes=labels.classes,
        difficult=None if labels.difficult is None else labels.difficult[rows],
        image_sizes=np.array([(side, side) for side in (Tile.of(i).side for i in ids)]).reshape(-1, 2),
    )
