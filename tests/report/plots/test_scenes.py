import numpy as np
import pytest
from matplotlib.figure import Figure

from al_rotate.data import RotatedInstances
from al_rotate.data.tiling import Tile, Tiling
from al_rotate.report import plots

SCENE = np.full((300, 500, 3), 90, np.uint8)
TILES = Tiling(200, 50).tiles("harbour", 500, 300)


def test_tiles_are_where_they_were_cut():
    ax = plots.show_tiles(SCENE, TILES, [TILES[2].id, TILES[0]], ax=Figure().subplots(), title="harbour")
    drawn = [(*patch.get_xy(), patch.get_width(), patch.get_height()) for patch in ax.patches]
    assert drawn[: len(TILES)] == [(tile.x, tile.y, 200, 200) for tile in TILES]
    marked = [(TILES[k].x, TILES[k].y, 200, 200) for k in (2, 2, 0, 0)]  # each on a dark twin
    assert drawn[len(TILES) :] == marked
    places = [(text.get_text(), text.get_position()) for text in ax.texts]
    assert places == [("1", (TILES[2].x + 100, TILES[2].y + 100)), ("2", (100, 100))]
    assert (ax.get_xlim(), ax.get_ylim()) == ((0, 500), (300, 0))


def test_large_scenes_are_drawn_smaller_in_the_same_place():
    scene = np.zeros((2500, 5000, 3), np.uint8)
    boxes = RotatedInstances(["s"], [0, 2], [[4000, 1000, 80, 40, 0.4]] * 2, [0, 0], [0.9, 0.1])
    ax = plots.show_tiles(scene, [], detections=boxes, ax=Figure().subplots())
    assert max(ax.images[0].get_array().shape[:2]) <= 2000
    assert ax.images[0].get_extent() == [0, 5000, 2500, 0]
    (segment,) = ax.collections[-1].get_segments()
    assert segment[:4].mean(axis=0).tolist() == pytest.approx([4000, 1000])


def test_tiles_of_other_scenes_are_refused():
    with pytest.raises(ValueError, match="tiles of harbour, quay"):
        plots.show_tiles(SCENE, TILES, [Tile("quay", 200, 0, 0)])
    with pytest.raises(ValueError, match="SCENE__SIZE__X___Y"):
        plots.show_tiles(SCENE, ["scene"])
