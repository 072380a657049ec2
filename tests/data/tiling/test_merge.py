"""Detections on tiles merged on their scenes, against layouts worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from al_rotate.data import RotatedInstances
from al_rotate.data.tiling import Tile, Tiling, merge

SIZES = {"a": (300, 200)}
ACROSS = Tiling(200, 100)
LEFT, RIGHT = ACROSS.tiles("a", 300, 200)  # at x 0 and 100


def on_tiles(*rows: tuple[Tile, list[float], int, float], skipped: dict[str, str] | None = None) -> RotatedInstances:
    """Detections from (tile, box in the scene, label, score)."""
    tiles = list(dict.fromkeys(tile for tile, *_ in rows))
    ordered = [row for tile in tiles for row in rows if row[0] == tile]
    counts = [sum(row[0] == tile for row in rows) for tile in tiles]
    moved = [np.array(box, float) - [tile.x, tile.y, 0, 0, 0] for tile, box, _, _ in ordered]
    return RotatedInstances(
        [tile.id for tile in tiles],
        np.cumsum([0, *counts]),
        np.array(moved).reshape(-1, 5),
        [label for _, _, label, _ in ordered],
        [score for *_, score in ordered],
        class_scores=[[score, 0] if label == 0 else [0, score] for *_, label, score in ordered],
        image_features=[[tile.x, 1] for tile in tiles],
        classes=["ship", "plane"],
        skipped=skipped,
    )


def test_an_object_on_the_seam_counts_once():
    box = [150, 100, 40, 20, 0.3]
    merged = merge(
        on_tiles((LEFT, box, 0, 0.6), (RIGHT, box, 0, 0.8), (LEFT, [30, 30, 20, 10, 0], 0, 0.9)),
        SIZES,
    )
    assert merged.image_ids.tolist() == ["a"]
    np.testing.assert_allclose(merged.boxes, [[30, 30, 20, 10, 0], box], atol=1e-4)
    np.testing.assert_allclose(merged.scores, [0.9, 0.8])
    np.testing.assert_allclose(merged.class_scores, [[0.9, 0], [0.8, 0]])
    assert merged.image_sizes.tolist() == [[300, 200]]
    assert merged.image_features.tolist() == [[50, 1]]  # the mean of x 0 and 100


def test_other_classes_do_not_suppress():
    box = [150, 100, 40, 20, 0.3]
    merged = merge(on_tiles((LEFT, box, 0, 0.6), (RIGHT, box, 1, 0.8)), SIZES)
    assert merged.labels.tolist() == [1, 0]


def test_a_piece_yields_to_the_whole():
    """The right tile sees 40 of the ship's 160 pixels: an overlap of 0.25, and a higher score."""
    whole, piece = [60, 100, 160, 30, 0], [120, 100, 40, 30, 0]
    merged = merge(on_tiles((LEFT, whole, 0, 0.6), (RIGHT, piece, 0, 0.9)), SIZES, 0.5)
    np.testing.assert_allclose(merged.boxes, [whole], atol=1e-4)
    # Within one tile the detector meant both.
    merged = merge(on_tiles((LEFT, whole, 0, 0.6), (LEFT, piece, 0, 0.9)), SIZES, 0.5)
    assert len(merged.boxes) == 2


def test_a_box_at_the_scenes_own_edge_is_not_cut():
    """Both end at x = 0, where the scene does: neither ranks lower for it."""
    merged = merge(on_tiles((LEFT, [20, 100, 40, 30, 0], 0, 0.9), (LEFT, [30, 100, 60, 30, 0], 0, 0.6)), SIZES)
    np.testing.assert_allclose(merged.boxes, [[20, 100, 40, 30, 0]], atol=1e-4)


def test_scenes_do_not_mix_and_order_does_not_matter():
    sizes = {"a": (300, 200), "b": (300, 200)}
    box = [150, 100, 40, 20, 0.3]
    tiles = [*ACROSS.tiles("a", 300, 200), *ACROSS.tiles("b", 300, 200)]
    scores = [0.6, 0.8, 0.5, 0.7]
    rows = [(tile, box, 0, score) for tile, score in zip(tiles, scores, strict=True)]
    merged = merge(on_tiles(*rows), sizes)
    assert merged.image_ids.tolist() == ["a", "b"]
    np.testing.assert_allclose(merged.scores, [0.8, 0.7])
    assert merge(on_tiles(*rows[2:], *rows[:2]), sizes).subset(["a", "b"]) == merged


def test_a_scene_with_a_skipped_tile_is_skipped():
    detections = on_tiles((LEFT, [30, 30, 20, 10, 0], 0, 0.9), skipped={RIGHT.id: "broken"})
    merged = merge(detections, SIZES)
    assert (len(merged), merged.skipped) == (0, {"a": "broken"})


def test_no_boxes():
    empty = RotatedInstances.empty([LEFT.id, RIGHT.id], ["ship"])
    merged = merge(empty, SIZES)
    assert (merged.image_ids.tolist(), merged.n_boxes, merged.classes) == (["a"], 0, ("ship",))


def test_boxes_in_the_padding_are_no_detections():
    """The scene is 120 x 90 pixels, in the corner of a tile of 200."""
    (tile,) = ACROSS.tiles("s", 120, 90)
    inside, across = [30, 30, 20, 10, 0], [115, 85, 20, 20, 0]
    outside = ([140, 30, 20, 10, 0], [30, 120, 20, 10, 0.2], [190, 190, 10, 10, 0])
    detections = on_tiles(*((tile, box, 0, 0.9 - 0.1 * k) for k, box in enumerate([inside, across, *outside])))
    np.testing.assert_allclose(merge(detections, {"s": (120, 90)}).boxes, [inside, across], atol=1e-4)


def test_what_does_not_fit_is_refused():
    detections = on_tiles((LEFT, [30, 30, 20, 10, 0], 0, 0.9))
    with pytest.raises(ValueError, match="expected the size of every scene, got none of 'a'"):
        merge(detections, {})
    with pytest.raises(ValueError, match="expected detections with scores"):
        merge(detections.replace(scores=None), SIZES)
    with pytest.raises(ValueError, match=r"tiles of scenes of these sizes, got a__200__100___0 of \(90, 200\) pixels"):
        merge(on_tiles((RIGHT, [130, 30, 20, 10, 0], 0, 0.9)), {"a": (90, 200)})
    with pytest.raises(ValueError, match=r"threshold in \(0, 1\]"):
        merge(detections, SIZES, 0)
