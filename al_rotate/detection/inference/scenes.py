"""Detect in scenes larger than the network's input: tile by tile, merged on the scene, few scenes per shard."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from ...data import RotatedInstances
from ...data.images import UnreadableImage, allow_large_images
from ...data.sources import Shared, Source, file_of, size_of
from ...data.tiling import Tile, Tiling, merge, window
from .pipeline import InferencePipeline, Shard, iterate_shards, progress_bar
from .processes import Process, this_process
from .shards import Shards

TILES_PER_SHARD = 64  # of several scenes; a scene with more tiles is a shard of its own


class Scene:
    """A scene that is decoded once, for the first of its tiles, and dropped after the last.

    Args:
        scene_id: becomes the image id.
        source: its file or pixels.
        size: width and height in pixels; 0 where the file cannot be read.
        tiles: how it is cut.
    """

    def __init__(self, scene_id: str, source: Source, size: tuple[int, int], tiles: Sequence[Tile]) -> None:
        self.id, self.file, self.size, self.tiles = scene_id, file_of(source), size, tiles
        self._pixels = Shared((scene_id, source), len(tiles))

    def tile_pairs(self) -> Iterator[tuple[str, Source]]:
        """Yield the id of each tile and a function for its pixels, to be called exactly once."""
        for tile in self.tiles:
            yield tile.id, partial(self._window, tile)

    def _window(self, tile: Tile) -> NDArray[np.uint8]:
        return window(self._pixels(), tile)


def group_scenes(pairs: Iterable[tuple[str, Source]], tiling: Tiling) -> list[list[Scene]]:
    """Cut scenes, and group neighbours with few tiles: a group becomes a shard, which is what a kill can cost."""
    groups: list[list[Scene]] = []
    room = 0
    with allow_large_images():
        for scene_id, source in pairs:
            try:
                size = size_of(source)
            except UnreadableImage:
                size = (0, 0)  # it gets a tile all the same, which then reports the reason
            scene = Scene(scene_id, source, size, tiling.tiles(scene_id, *size))
            if not groups or len(scene.tiles) > room:
                groups.append([])
                room = TILES_PER_SHARD
            groups[-1].append(scene)
            room -= len(scene.tiles)
    return groups


def iterate_scenes(
    groups: Sequence[list[Scene]],
    make_pipeline: Callable[[int, tqdm], InferencePipeline],
    iou_threshold: float,
    shards: Shards | None,
    progress: bool,
) -> Iterator[Shard]:
    """Detect in every group of scenes, as :func:`.pipeline.iterate_shards` does in groups of images.

    Args:
        groups: of :func:`group_scenes`.
        make_pipeline: called with the number of tiles and the progress bar, once a shard has to be computed.
        iou_threshold: of :func:`al_rotate.data.tiling.merge`.
        shards: where finished shards are read and new ones written; None keeps none.
        progress: show a bar of tiles.
    """
    process = this_process() if shards else Process()
    n_tiles = sum(map(_count_tiles, groups))
    with allow_large_images(), progress_bar(n_tiles, "tile", progress, process) as bar:
        pipeline = cache(lambda: make_pipeline(n_tiles, bar))

        def detect(group: list[Scene]) -> RotatedInstances:
            pairs = [pair for scene in group for pair in scene.tile_pairs()]
            return merge(pipeline()(pairs), {scene.id: scene.size for scene in group}, iou_threshold)

        yield from iterate_shards(
            groups,
            lambda group: [(scene.id, scene.file) for scene in group],
            detect,
            shards,
            process,
            lambda group: bar.update(_count_tiles(group)),
        )


def _count_tiles(group: list[Scene]) -> int:
    return sum(len(scene.tiles) for scene in group)
