"""Scenes and their labels cut into tiles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...boxes import area, iou
from ...storage.files import path_for_image
from ...storage.user_warnings import warn_user
from .. import images
from ..instances import RotatedInstances
from .record import Record
from .tiles import Tile, Tiling, window


def cut(
    scenes: str | Path | Iterable[str | Path] | Mapping[str, str | Path],
    out: str | Path,
    tiling: Tiling | None = None,
    *,
    bands: int | Sequence[int] | None = None,
    stretch: Sequence[float] | None = None,
) -> dict[str, Path]:
    """Write every tile as an image of its own, so that tiles can be ranked, labelled and trained on.

    The folder records in ``tiles.json`` how its tiles were cut, and from what. A scene whose tiles are there is not cut
    again, so a run that was interrupted resumes. The tiles of a scene that has changed since are replaced. Tiles of a
    georeferenced scene say where they lie in an ``.aux.xml`` beside them, as GIS read it; that needs rasterio.

    Args:
        scenes: a folder, files, or a mapping scene id -> file.
        out: folder for ``TILE.png``.
        tiling: by default 1024 pixels with an overlap of 200.
        bands, stretch: as for :func:`al_rotate.images.read`; percentiles are the whole scene's.

    Returns:
        tile id -> file. Scenes that cannot be decoded are left out, with a warning.

    Raises:
        UnreadableImage: when none can be decoded; for one that needs `bands` or `stretch`.
        ValueError: for a folder with tiles of another tiling, or of a scene that had another size: two sets of tiles,
            and of their labels, would be mixed.
    """
    tiling, folder, copier = tiling or Tiling(), Path(out), images.Copier()
    files = images.resolve(scenes)
    unreadable: dict[str, str] = {}
    with images.allow_large_images():
        tiles: dict[str, list[Tile]] = {}
        for scene_id, file in files.items():
            try:
                tiles[scene_id] = tiling.tiles(scene_id, *images.size(file))
            except images.UnreadableImage as error:
                unreadable[scene_id] = str(error)
        record = Record(folder, tiling, bands, stretch, tiles)
        paths: dict[str, Path] = {}
        for scene_id in tiles:
            file, of_scene = files[scene_id], {t.id: path_for_image(folder, t.id, ".png") for t in tiles[scene_id]}
            if not record.is_cut(scene_id, file) or not all(path.is_file() for path in of_scene.values()):
                try:
                    pixels = images.read(file, bands=bands, stretch=stretch)
                except images.UndecidedImage:  # for want of bands or a stretch
                    raise
                except images.UnreadableImage as error:  # its header is whole
                    unreadable[scene_id] = str(error)
                    continue
                where = copier.find(file)
                for tile in tiles[scene_id]:
                    copier.write(where and where.of_window(tile.x, tile.y), of_scene[tile.id])
                    images.write_png(window(pixels, tile), of_scene[tile.id])
                record.add(scene_id, file)
            paths |= of_scene
    images.tell_unreadable(unreadable, len(files))
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
            ``img_split``. Unlike there it also goes to the tile that shows most of it, so that no label is lost. A box
            without an area goes to the tiles that show its centre. A box outside its scene is on no tile; a warning
            names the first.

    Returns:
        Labels on all tiles, including those without a box, in the order of the scenes and their tiles.

    Raises:
        ValueError: for a scene without a size, or `visible` outside (0, 1].
    """
    tiling = tiling or Tiling()
    if not 0 < visible <= 1:
        raise ValueError(f"expected visible in (0, 1], got {visible}")
    ids: list[str] = []
    rows_of_tile: list[NDArray[np.intp]] = []
    boxes_of_tile: list[NDArray[np.float32]] = []
    outside: list[str] = []
    for start, (scene_id, scene) in zip(labels.offsets[:-1], labels, strict=True):
        if min(sizes.get(scene_id, (0, 0))) < 1:
            raise ValueError(f"expected the size of every scene, got {sizes.get(scene_id, 'none')} of {scene_id!r}")
        tiles = tiling.tiles(scene_id, *sizes[scene_id])
        frames = np.array([(t.x + t.side / 2, t.y + t.side / 2, t.side, t.side, 0.0) for t in tiles])
        overlap = iou(scene.boxes, frames)
        areas = area(scene.boxes.astype(np.float64))[:, None]
        # With intersection I, IoU = I / (A + B - I), so I = IoU (A + B) / (1 + IoU).
        shown = overlap * (areas + frames[:, 2] * frames[:, 3]) / (1 + overlap) / np.maximum(areas, 1e-12)
        offsets = np.abs(scene.boxes[:, None, :2] - frames[:, :2])
        shown = np.where(areas > 0, shown, (offsets <= frames[:, 2:4] / 2).all(axis=2))
        outside += [f"{box} in {scene_id!r}" for box in scene.boxes[~(shown > 0).any(axis=1)].tolist()]
        best = np.eye(len(tiles), dtype=bool)[shown.argmax(axis=1)] & (shown > 0)
        for k, tile in enumerate(tiles):
            rows = np.flatnonzero((shown[:, k] >= visible) | best[:, k])
            ids.append(tile.id)
            rows_of_tile.append(start + rows)
            boxes_of_tile.append(scene.boxes[rows] - np.array([tile.x, tile.y, 0, 0, 0], np.float32))
    if outside:
        warn_user(f"{len(outside)} boxes are outside their scenes and on none of the tiles, the first is {outside[0]}")
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
