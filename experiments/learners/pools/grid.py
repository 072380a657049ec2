"""Tiles that fill a photograph evenly: no padding, and little that two tiles show."""

from __future__ import annotations

from math import ceil

from al_rotate.data.tiling.tiles import Tile, Tiling


class Grid(Tiling):
    """Square tiles of about `size` pixels, as many in each direction as fit best.

    :class:`~al_rotate.data.tiling.tiles.Tiling` has tiles of exactly one size; on photographs of 500 x 333 pixels its
    last rows would repeat half of the others, and each object there would be paid for twice.
    """

    def tiles(self, scene: str, width: int, height: int) -> list[Tile]:
        """List the tiles by row and column; the sides are those of the direction in which they are longer."""
        numbers = [max(1, round(length / self.size)) for length in (width, height)]
        side = max(ceil(length / n) for length, n in zip((width, height), numbers, strict=True))
        starts = [
            [round(k * max(0, length - side) / max(1, n - 1)) for k in range(n)]
            for length, n in zip((width, height), numbers, strict=True)
        ]
        return [Tile(scene, side, x, y) for y in starts[1] for x in starts[0]]
