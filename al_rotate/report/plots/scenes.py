"""Scenes with the tiles that they were cut into."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from ...boxes.drawing import colour
from ...data import SHOWN_SCORE, RotatedInstances
from ...data.tiling import Tile
from .boxes import outline, show_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIDE = 2000  # pixels of a scene that are drawn


def show_tiles(
    scene: NDArray[np.uint8],
    tiles: Iterable[Tile | str],
    selected: Iterable[Tile | str] = (),
    detections: RotatedInstances | None = None,
    ax: Axes | None = None,
    title: str | None = None,
    least_score: float = SHOWN_SCORE,
) -> Axes:
    """Draw a scene with its tiles: all of them thin, the selected ones bright and numbered in their order.

    Args:
        scene: (H, W, 3) uint8 RGB. Drawn smaller if it is large.
        tiles: of this scene, or their image ids.
        selected: those to mark, best first.
        detections: on the scene, in its pixels.
        ax: where to draw; new Axes if None.
        title: above the scene.
        least_score: detections below it are left out.

    Raises:
        ValueError: for an id that is not a tile's, or tiles of several scenes.
    """
    all_tiles, marked = ([Tile.of(t) if isinstance(t, str) else t for t in part] for part in (tiles, selected))
    if len(names := {tile.scene for tile in (*all_tiles, *marked)}) > 1:
        raise ValueError(f"expected tiles of one scene, got tiles of {', '.join(sorted(names))}")
    height, width = scene.shape[:2]
    step = max(1, -(-max(height, width) // _SIDE))
    ax = show_image(scene[::step, ::step], ax, title)
    ax.images[0].set_extent((0, width, height, 0))
    ax.set(xlim=(0, width), ylim=(height, 0))
    if detections is not None:
        shown = detections if detections.scores is None else detections.where(detections.scores >= least_score)
        outline(ax, shown.boxes, [colour(int(label)) for label in shown.labels], width=0.8)
    for tile in all_tiles:
        ax.add_patch(Rectangle((tile.x, tile.y), tile.side, tile.side, fill=False, ec="white", lw=0.5, alpha=0.6))
    for number, tile in enumerate(marked, 1):
        for line, edge in ((3.0, "black"), (1.8, "#ffb000")):
            ax.add_patch(Rectangle((tile.x, tile.y), tile.side, tile.side, fill=False, ec=edge, lw=line))
        box = {"facecolor": "#ffb000", "edgecolor": "black", "lw": 0.5, "pad": 1.5}
        at = tile.x + tile.side / 2, tile.y + tile.side / 2
        ax.text(*at, str(number), fontsize=7, color="black", ha="center", va="center", bbox=box, clip_on=True)
    return ax
