"""Tiles: overlapping square windows of a scene.

A tile has the scene's own pixels, padded with grey beyond the scene's end, so that the detector's test pipeline scales
all tiles alike. Tiles are named as by MMRotate's ``img_split``, ``SCENE__SIZE__X___Y``: the window's side and its upper
left corner. The name is all that is needed to map boxes back to the scene.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Tile", "Tiling", "window"]

_GREY = 114  # MMDetection's padding
_NUMBER = "(0|[1-9][0-9]{0,8})"  # as Python writes it, so that a name of a tile is the only one
_NAME = re.compile(rf"(.+)__(?!0_){_NUMBER}__{_NUMBER}___{_NUMBER}")
_LARGEST = 1 << 16  # pixels of a side


class Tile(NamedTuple):
    """A square window of a scene: its side and its upper left corner, in the scene's pixels."""

    scene: str
    side: int
    x: int
    y: int

    @property
    def id(self) -> str:
        """The tile's image id, ``SCENE__SIZE__X___Y``."""
        return f"{self.scene}__{self.side}__{self.x}___{self.y}"

    @classmethod
    def of(cls, image_id: str) -> Tile:
        """Parse a tile's image id.

        Raises:
            ValueError: for an id that is not a tile's.
        """
        match = _NAME.fullmatch(image_id)
        if match is None:
            raise ValueError(f"expected a tile's name, SCENE__SIZE__X___Y, got {image_id!r}")
        return cls(match[1], *map(int, match.groups()[1:]))


@dataclass(frozen=True)
class Tiling:
    """How scenes are cut.

    Args:
        size: side of a tile in pixels of the scaled scene, usually the detector's input size in training.
        overlap: pixels that neighbours share; an object up to this size is complete in one of them.
        scales: of the scene. 0.5 cuts windows of twice the size, which the detector's pipeline shrinks to its input.

    Raises:
        ValueError: for an overlap that is not smaller than the size, or a scale that is not positive; for tiles of more
            than 65536 pixels a side.
    """

    size: int = 1024
    overlap: int = 200
    scales: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if not all(isinstance(value, int | np.integer) for value in (self.size, self.overlap)):
            raise ValueError(f"expected whole numbers of pixels, got size {self.size!r} and overlap {self.overlap!r}")
        if not 0 <= self.overlap < self.size:
            raise ValueError(f"expected 0 <= overlap < size, got overlap {self.overlap} and size {self.size}")
        if not isinstance(self.scales, Sequence) or isinstance(self.scales, str):
            raise ValueError(f"expected a sequence of scales, like (1.0, 0.5), got {self.scales!r}")
        if not self.scales or len({*self.scales}) < len(self.scales) or not all(0 < s < np.inf for s in self.scales):
            raise ValueError(f"expected distinct positive scales, got {self.scales}")
        if self.size / min(self.scales) > _LARGEST:
            raise ValueError(f"expected tiles of up to {_LARGEST} pixels a side, got {self.size} / {min(self.scales)}")

    def tiles(self, scene: str, width: int, height: int) -> list[Tile]:
        """List the tiles of a scene by scale, row and column; the last tile of a row or column ends with the scene."""
        tiles = []
        for scale in self.scales:
            side = max(1, round(self.size / scale))
            step = max(1, side - round(self.overlap / scale))
            starts = [[*range(0, max(0, length - side), step), max(0, length - side)] for length in (width, height)]
            tiles += [Tile(scene, side, x, y) for y in dict.fromkeys(starts[1]) for x in dict.fromkeys(starts[0])]
        return list(dict.fromkeys(tiles))


def window(scene: NDArray[np.uint8], tile: Tile) -> NDArray[np.uint8]:
    """Return the pixels of a tile, (side, side, 3), of a scene (H, W, 3); grey beyond the scene."""
    inside = scene[tile.y : tile.y + tile.side, tile.x : tile.x + tile.side]
    if inside.shape[:2] == (tile.side, tile.side):
        return inside
    padded = np.full((tile.side, tile.side, 3), _GREY, np.uint8)
    padded[: inside.shape[0], : inside.shape[1]] = inside
    return padded
