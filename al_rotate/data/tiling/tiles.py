"""Scenes larger than a detector's input: cut into overlapping tiles, and what was found on them put together again.

A tile is a window of the scene in the scene's own pixels, filled up with grey where the scene ends before it does, so
that the detector's test pipeline brings all tiles to its size alike. Tiles are named as MMRotate's ``img_split`` names
them, ``SCENE__SIZE__X___Y``: the window's side and its left upper corner. Nothing else is needed to come back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Tile", "Tiling", "window"]

_GREY = 114  # as MMDetection pads
_NAME = re.compile(r"(?P<scene>.+)__(?P<side>\d+)__(?P<x>\d+)___(?P<y>\d+)")


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
