"""Scenes larger than a detector's input: cut into overlapping tiles, and what was found on them put together again.

A tile is a window of the scene in the scene's own pixels, filled up with grey where the scene ends before it does, so
that the detector's test pipeline brings all tiles to its size alike. Tiles are named as MMRotate's ``img_split`` names
them, ``SCENE__SIZE__X___Y``: the window's side and its left upper corner. Nothing else is needed to come back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from . import _files, boxes, images
from ._sources import Shared, Source, size_of
from .instances import COLUMNS, RotatedInstances
from .nms import greedy

__all__ = ["Tile", "Tiling", "cut", "cut_labels", "merge"]

_GREY = 114  # as MMDetection pads
_NAME = re.compile(r"(?P<scene>.+)__(?P<side>\d+)__(?P<x>\d+)___(?P<y>\d+)")
_AT_EDGE = 8  # pixels: a box that ends so near the edge of its tile may go on beyond it
_HALF = 0.5


class Tile(NamedTuple):
    """A square window of a scene: its side and its left upper corner, in the scene's pixels."""

    scene: str
    side: int
    x: int
    y: int

    @property
    def id(self) -> str:
        return f"{self.scene}__{self.side}__{self.x}___{self.y}"

    @classmethod
    def of(cls, image_id: str) -> Tile:
        """The tile of that name.

        Raises:
            ValueError: for an image that is not named as a tile.
        """
        match = _NAME.fullmatch(image_id)
        if match is None:
            raise ValueError(f"expected a tile's name, SCENE__SIZE__X___Y, got {image_id!r}")
        return cls(match["scene"], *(int(match[part]) for part in ("side", "x", "y")))


@dataclass(frozen=True)
class Tiling:
    """How scenes are cut.

    Args:
        size: side of a tile in pixels of the scaled scene: what the detector was trained on.
        overlap: pixels that neighbours share; an object up to this size is whole in one of them.
        scales: of the scene. 0.5 cuts windows of twice the size, which the detector's pipeline shrinks to its own.

    Raises:
        ValueError: for an overlap that is not smaller than the size, or a scale that is not positive.
    """

    size: int = 1024
    overlap: int = 200
    scales: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < self.size:
            raise ValueError(f"expected 0 <= overlap < size, got overlap {self.overlap} and size {self.size}")
        if not self.scales or len({*self.scales}) < len(self.scales) or not all(0 < s < np.inf for s in self.scales):
            raise ValueError(f"expected distinct positive scales, got {self.scales}")

    def tiles(self, scene: str, width: int, height: int) -> list[Tile]:
        """The tiles of a scene, scale by scale, row by row; the last of a row or column ends where the scene does."""
        found = []
        for scale in self.scales:
            side = max(1, round(self.size / scale))
            step = max(1, side - round(self.overlap / scale))
            starts = [[*range(0, max(0, length - side), step), max(0, length - side)] for length in (width, height)]
            found += [Tile(scene, side, x, y) for y in dict.fromkeys(starts[1]) for x in dict.fromkeys(starts[0])]
        return list(dict.fromkeys(found))


def window(scene: NDArray[np.uint8], tile: Tile) -> NDArray[np.uint8]:
    """The pixels of a tile, (side, side, 3): those of the scene (H, W, 3), grey beyond it."""
    part = scene[tile.y : tile.y + tile.side, tile.x : tile.x + tile.side]
    if part.shape[:2] == (tile.side, tile.side):
        return part
    whole = np.full((tile.side, tile.side, 3), _GREY, np.uint8)
    whole[: part.shape[0], : part.shape[1]] = part
    return whole


class Scene:
    """A scene that is decoded once, when the first of its tiles is looked at, and forgotten after the last."""

    def __init__(self, scene_id: str, source: Source, size: tuple[int, int], tiles: Sequence[Tile]) -> None:
        self.id, self.size, self.tiles = scene_id, size, tiles
        self._pixels = Shared((scene_id, source), len(tiles))

    def sources(self) -> Iterator[tuple[str, Source]]:
        """Tile id and how to get its pixels, which is to be called once each."""
        for tile in self.tiles:
            yield tile.id, partial(self._look, tile)

    def _look(self, tile: Tile) -> NDArray[np.uint8]:
        return window(self._pixels(), tile)


Sized = tuple[str, Source, tuple[int, int]]  # id, pixels, width and height


def sizes(pairs: Iterable[tuple[str, Source]]) -> Iterator[Sized]:
    """Scenes with their sizes, from the header alone where it is a file; 0 of one that cannot be read."""
    for scene_id, source in pairs:
        try:
            yield scene_id, source, size_of(source)
        except images.UnreadableImage:
            yield scene_id, source, (0, 0)  # it gets a tile all the same, which then says why


def grouped(scenes: Iterable[Sized], tiling: Tiling, most: int = 64) -> list[list[Scene]]:
    """Neighbouring scenes together as long as they have few tiles: what a shard holds, and so what a kill can cost."""
    groups: list[list[Scene]] = []
    room = 0
    for scene_id, source, size in scenes:
        scene = Scene(scene_id, source, size, tiling.tiles(scene_id, *size))
        if not groups or len(scene.tiles) > room:
            groups.append([])
            room = most
        groups[-1].append(scene)
        room -= len(scene.tiles)
    return groups


def merge(
    detections: RotatedInstances, sizes: Mapping[str, tuple[int, int]], iou_threshold: float = 0.1
) -> RotatedInstances:
    """What was detected on tiles, on their scenes, each object once.

    Boxes move to the scene; then the best of each class suppress the others that they overlap. Where a tile ends inside
    the scene it may have cut an object: a box at such an edge stands behind at half its score, and goes as well when
    half of it lies in a better one, so that a piece never outlives the whole that a neighbour saw.

    Args:
        detections: on tiles named as :class:`Tile` names them, in any order.
        sizes: width and height in pixels of each scene.
        iou_threshold: the rotated IoU from which a worse box of the same class goes.

    Returns:
        Detections on the scenes, in the order in which their first tiles came, boxes by descending score. A scene's
        ``image_features`` are the mean of its tiles'. A scene of which a tile was skipped is skipped.

    Raises:
        ValueError: for ids that are no tiles', scenes without a size, labels, or an IoU threshold outside (0, 1].
    """
    if detections.scores is None and detections.n_boxes:
        raise ValueError("expected detections with scores, got labels")
    if not 0 < iou_threshold <= 1:
        raise ValueError(f"expected an IoU threshold in (0, 1], got {iou_threshold}")
    tiles = [Tile.of(image_id) for image_id in detections.image_ids]
    skipped = {Tile.of(image_id).scene: why for image_id, why in detections.skipped.items()}
    scenes = [name for name in dict.fromkeys(tile.scene for tile in tiles) if name not in skipped]
    if missing := [name for name in scenes if name not in sizes]:
        raise ValueError(f"expected the size of every scene, got none of {missing[0]!r}")
    number = {name: k for k, name in enumerate(scenes)}
    scene_of_tile = np.array([number.get(tile.scene, -1) for tile in tiles], np.int64)

    at = detections.image_index
    corner = np.array([(tile.x, tile.y, tile.side) for tile in tiles], np.float64).reshape(-1, 3)[at]
    extent = np.array([sizes.get(tile.scene, (0, 0)) for tile in tiles], np.float64).reshape(-1, 2)[at]
    moved = detections.boxes.astype(np.float64)
    moved[:, :2] += corner[:, :2]
    scores = np.zeros(0, np.float32) if detections.scores is None else detections.scores
    cut = _at_inner_edge(moved, corner, extent)

    rows = _kept(moved, scores, detections.labels, scene_of_tile[at], at, cut, iou_threshold)
    scene = scene_of_tile[at][rows]
    rows, scene = rows[scene >= 0], scene[scene >= 0]
    order = np.lexsort((rows, -scores[rows], scene))
    rows, counts = rows[order], np.bincount(scene, minlength=len(scenes))
    columns = {
        name: getattr(detections, name)[rows]
        for name, (_, per, _) in COLUMNS.items()
        if per == "box" and getattr(detections, name) is not None
    }
    columns["boxes"] = boxes.canonical(moved[rows].astype(np.float32))
    if detections.image_features is not None:
        inside = scene_of_tile >= 0
        sums = np.zeros((len(scenes), detections.image_features.shape[1]))
        np.add.at(sums, scene_of_tile[inside], detections.image_features[inside])
        columns["image_features"] = sums / np.bincount(scene_of_tile[inside], minlength=len(scenes))[:, None]
    return RotatedInstances(
        scenes,
        np.concatenate([[0], np.cumsum(counts)]),
        classes=detections.classes,
        image_sizes=np.array([sizes[name] for name in scenes]).reshape(-1, 2),
        skipped=skipped,
        **columns,
    )


def _at_inner_edge(moved: NDArray, corner: NDArray, extent: NDArray) -> NDArray[np.bool_]:
    """Which boxes reach an edge of their tile beyond which the scene goes on."""
    hull = boxes.to_hbb(moved)
    low, high = corner[:, :2], corner[:, :2] + corner[:, 2:3]
    return (((hull[:, :2] < low + _AT_EDGE) & (low > 0)) | ((hull[:, 2:] > high - _AT_EDGE) & (high < extent))).any(
        axis=1
    )


def _kept(
    box: NDArray, scores: NDArray, labels: NDArray, scene: NDArray, tile: NDArray, cut: NDArray, threshold: float
) -> NDArray[np.intp]:
    order = np.argsort(-scores.astype(np.float64) * np.where(cut, _HALF, 1.0), kind="stable")
    box, labels, scene, tile, cut = (values[order] for values in (box, labels, scene, tile, cut))
    # Scenes and classes side by side, so that the sweep for neighbours never compares across them.
    group = np.unique(np.column_stack([scene, labels]), axis=0, return_inverse=True)[1].reshape(-1)
    hull = boxes.to_hbb(box)
    apart = box.copy()
    apart[:, 0] += group * (np.ptp(hull[:, [0, 2]]) + 1.0 if len(hull) else 0.0)
    area = boxes.area(box)
    rows, columns = boxes.near_pairs(apart)
    near = group[rows] == group[columns]

    def suppresses(i: NDArray[np.intp], j: NDArray[np.intp]) -> NDArray[np.bool_]:
        overlap = boxes.iou(box[i], box[j], paired=True)
        common = overlap * (area[i] + area[j]) / (1 + overlap)
        piece = cut[j] & (tile[i] != tile[j]) & (common >= _HALF * area[j])
        return (overlap >= threshold) | piece

    return order[greedy(len(box), rows[near], columns[near], suppresses)]


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
    with images.scenes_allowed():
        for scene_id, file in images.resolve(scenes).items():
            files = {tile: _files.under(folder, tile.id, ".png") for tile in tiling.tiles(scene_id, *images.size(file))}
            if not all(path.is_file() for path in files.values()):
                pixels = images.read(file)
                for tile, path in files.items():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    scratch = _files.beside(path)
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
