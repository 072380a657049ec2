"""Tiles and what is found on them, against layouts worked out by hand."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from al_rotate import RotatedInstances
from al_rotate.data import images, tiling
from al_rotate.data.tiling.tiles import Tile, Tiling
from al_rotate.sampling.measures.coverage import scene_of

SIZES = {"a": (300, 200)}
ACROSS = Tiling(200, 100)  # of a 300 x 200 scene: two tiles, at x 0 and 100


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


class TestTiles:
    def test_the_last_ends_where_the_scene_does(self):
        found = Tiling(1024, 200).tiles("P1", 2500, 1000)
        assert [(t.x, t.y, t.side) for t in found] == [(0, 0, 1024), (824, 0, 1024), (1476, 0, 1024)]
        assert found[1].id == "P1__1024__824___0"
        assert scene_of(found[1].id) == "P1"

    def test_scales_are_windows_of_other_sizes(self):
        found = Tiling(100, 20, (1.0, 0.5)).tiles("s", 180, 100)
        assert [(t.side, t.x, t.y) for t in found] == [(100, 0, 0), (100, 80, 0), (200, 0, 0)]

    @settings(deadline=None, max_examples=60)
    @given(st.integers(1, 700), st.integers(1, 700), st.integers(2, 300), st.data())
    def test_every_pixel_is_seen_and_neighbours_share_the_overlap(self, width, height, size, data):
        overlap = data.draw(st.integers(0, size - 1).filter(lambda o: size - o > 3 or size < 20))
        found = Tiling(size, overlap).tiles("s", width, height)
        seen = np.zeros((height, width), bool)
        for tile in found:
            seen[tile.y : tile.y + size, tile.x : tile.x + size] = True
            assert tile.x + size <= max(width, size)
            assert tile.y + size <= max(height, size)
        assert seen.all()
        columns = sorted({tile.x for tile in found})
        assert all(b - a <= size - overlap for a, b in pairwise(columns))
        assert len({tile.id for tile in found}) == len(found)

    def test_names_come_back(self):
        tile = Tile("folder/P1__old", 1024, 5, 70)
        assert Tile.of(tile.id) == tile
        for other in ("P1", "P1__1024__5", "__1__2___3"):
            with pytest.raises(ValueError, match="expected a tile's name, SCENE__SIZE__X___Y, got"):
                Tile.of(other)

    @pytest.mark.parametrize(
        "arguments", [(100, 100), (100, -1), (100, 20, ()), (100, 20, (0.0,)), (100, 20, (1.0, 1.0))]
    )
    def test_what_cannot_be_cut_is_refused(self, arguments: tuple):
        with pytest.raises(ValueError, match="expected"):
            Tiling(*arguments)

    def test_pixels_are_the_scenes_and_grey_beyond(self):
        scene = np.random.default_rng(0).integers(0, 255, (50, 70, 3), np.uint8)
        inside = tiling.window(scene, Tile("s", 30, 40, 20))
        np.testing.assert_array_equal(inside, scene[20:50, 40:70])
        beyond = tiling.window(scene, Tile("s", 64, 10, 0))
        np.testing.assert_array_equal(beyond[:50, :60], scene[:, 10:])
        assert (beyond[50:] == 114).all()
        assert (beyond[:, 60:] == 114).all()


class TestMerge:
    left, right = ACROSS.tiles("a", 300, 200)

    def test_an_object_on_the_seam_counts_once(self):
        box = [150, 100, 40, 20, 0.3]
        found = tiling.merge(
            on_tiles((self.left, box, 0, 0.6), (self.right, box, 0, 0.8), (self.left, [30, 30, 20, 10, 0], 0, 0.9)),
            SIZES,
        )
        assert found.image_ids.tolist() == ["a"]
        np.testing.assert_allclose(found.boxes, [[30, 30, 20, 10, 0], box], atol=1e-4)
        np.testing.assert_allclose(found.scores, [0.9, 0.8])
        np.testing.assert_allclose(found.class_scores, [[0.9, 0], [0.8, 0]])
        assert found.image_sizes.tolist() == [[300, 200]]
        assert found.image_features.tolist() == [[50, 1]]  # the mean of x 0 and 100

    def test_other_classes_do_not_suppress(self):
        box = [150, 100, 40, 20, 0.3]
        found = tiling.merge(on_tiles((self.left, box, 0, 0.6), (self.right, box, 1, 0.8)), SIZES)
        assert found.labels.tolist() == [1, 0]

    def test_a_piece_yields_to_the_whole(self):
        """The right tile sees 40 of the ship's 160 pixels: an overlap of 0.25, and a higher score."""
        whole, piece = [60, 100, 160, 30, 0], [120, 100, 40, 30, 0]
        found = tiling.merge(on_tiles((self.left, whole, 0, 0.6), (self.right, piece, 0, 0.9)), SIZES, 0.5)
        np.testing.assert_allclose(found.boxes, [whole], atol=1e-4)
        # Within one tile, both are what the detector wanted to say.
        found = tiling.merge(on_tiles((self.left, whole, 0, 0.6), (self.left, piece, 0, 0.9)), SIZES, 0.5)
        assert len(found.boxes) == 2

    def test_nor_at_the_scenes_own_edge_is_a_box_cut(self):
        """Both end at x = 0, where the scene does: neither stands behind."""
        found = tiling.merge(
            on_tiles((self.left, [20, 100, 40, 30, 0], 0, 0.9), (self.left, [30, 100, 60, 30, 0], 0, 0.6)), SIZES
        )
        np.testing.assert_allclose(found.boxes, [[20, 100, 40, 30, 0]], atol=1e-4)

    def test_scenes_do_not_mix_and_order_does_not_matter(self):
        sizes = {"a": (300, 200), "b": (300, 200)}
        box = [150, 100, 40, 20, 0.3]
        tiles = [*ACROSS.tiles("a", 300, 200), *ACROSS.tiles("b", 300, 200)]
        scores = [0.6, 0.8, 0.5, 0.7]
        rows = [(tile, box, 0, score) for tile, score in zip(tiles, scores, strict=True)]
        found = tiling.merge(on_tiles(*rows), sizes)
        assert found.image_ids.tolist() == ["a", "b"]
        np.testing.assert_allclose(found.scores, [0.8, 0.7])
        assert tiling.merge(on_tiles(*rows[2:], *rows[:2]), sizes).subset(["a", "b"]) == found

    def test_a_scene_with_a_skipped_tile_is_skipped(self):
        detections = on_tiles((self.left, [30, 30, 20, 10, 0], 0, 0.9), skipped={self.right.id: "broken"})
        found = tiling.merge(detections, SIZES)
        assert (len(found), found.skipped) == (0, {"a": "broken"})

    def test_no_boxes(self):
        empty = RotatedInstances.empty([self.left.id, self.right.id], ["ship"])
        found = tiling.merge(empty, SIZES)
        assert (found.image_ids.tolist(), found.n_boxes, found.classes) == (["a"], 0, ("ship",))

    def test_what_does_not_fit_is_refused(self):
        detections = on_tiles((self.left, [30, 30, 20, 10, 0], 0, 0.9))
        with pytest.raises(ValueError, match="expected the size of every scene, got none of 'a'"):
            tiling.merge(detections, {})
        with pytest.raises(ValueError, match="expected detections with scores"):
            tiling.merge(detections.replace(scores=None), SIZES)
        with pytest.raises(ValueError, match=r"threshold in \(0, 1\]"):
            tiling.merge(detections, SIZES, 0)


class TestCut:
    def test_tiles_as_files(self, tmp_path: Path):
        scene = np.random.default_rng(1).integers(0, 255, (200, 300, 3), np.uint8)
        (tmp_path / "scenes" / "sub").mkdir(parents=True)
        Image.fromarray(scene).save(tmp_path / "scenes" / "sub" / "a.png")
        files = tiling.cut(tmp_path / "scenes", tmp_path / "tiles", ACROSS)
        assert list(files) == ["sub/a__200__0___0", "sub/a__200__100___0"]
        assert images.find(tmp_path / "tiles") == files
        np.testing.assert_array_equal(images.read(files["sub/a__200__100___0"]), scene[:, 100:])
        before = [file.stat().st_mtime_ns for file in files.values()]
        files["sub/a__200__0___0"].unlink()
        assert tiling.cut(tmp_path / "scenes", tmp_path / "tiles", ACROSS) == files
        assert files["sub/a__200__0___0"].stat().st_mtime_ns > before[0]

    def test_labels_go_to_the_tiles_that_show_them(self):
        rows = [
            [50, 100, 40, 20, 0],  # the left tile alone
            [150, 100, 40, 20, 0.4],  # both
            [205, 100, 30, 20, 0],  # the left tile ends at 200 and shows a third
            [150, 50, 300, 20, 0],  # neither shows 70 %; both show two thirds
        ]
        labels = RotatedInstances(["a"], [0, 4], rows, [0, 1, 0, 1], classes=["ship", "plane"], difficult=[0, 1, 0, 0])
        found = tiling.cut_labels(labels, SIZES, ACROSS)
        assert found.image_ids.tolist() == ["a__200__0___0", "a__200__100___0"]
        np.testing.assert_allclose(found["a__200__0___0"].boxes, [rows[0], rows[1], rows[3]], atol=1e-5)
        np.testing.assert_allclose(found["a__200__100___0"].boxes, np.array([rows[1], rows[2]]) - [100, 0, 0, 0, 0])
        assert found["a__200__100___0"].labels.tolist() == [1, 0]
        assert found["a__200__100___0"].difficult.tolist() == [1, 0]
        assert found.image_sizes.tolist() == [[200, 200]] * 2

    def test_what_is_labelled_is_labelled_on_a_tile(self):
        rng = np.random.default_rng(4)
        box = rng.uniform([0, 0, 20, 5, -1.5], [300, 200, 250, 20, 1.5], (40, 5))
        labels = RotatedInstances(["a"], [0, 40], box, np.zeros(40, int), classes=["ship"])
        found = tiling.cut_labels(labels, SIZES, ACROSS)
        back = np.concatenate([one.boxes + np.float32([Tile.of(i).x, Tile.of(i).y, 0, 0, 0]) for i, one in found])
        assert {tuple(row) for row in np.round(labels.boxes, 3)} == {tuple(row) for row in np.round(back, 3)}
        with pytest.raises(ValueError, match="expected the size of every scene"):
            tiling.cut_labels(labels, {}, ACROSS)
