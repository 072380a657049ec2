"""TODO detection.inference.scenes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ...data import images
from ...data.sources import Shared, Source, size_of
from ...data.tiling.tiles import Tile, Tiling, window


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
