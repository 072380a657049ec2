"""Rendered scenes: the boxes are exact, the classes have a long tail, and everything follows from the seed."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from shapely import Polygon
from shapely.geometry import box as shapely_box

from al_rotate import boxes
from al_rotate.data import images, synthetic
from al_rotate.data.formats import dota
from al_rotate.data.synthetic.canvas import Canvas, Rectangle
from al_rotate.data.synthetic.sprites import CLASSES, KINDS

Scenes = list[tuple[NDArray, NDArray, NDArray]]
OBJECTS = [kind for kind, (_, _, name) in KINDS.items() if name]


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return [synthetic.render(256, np.random.default_rng([0, i])) for i in range(200)]


def polygons(rows: NDArray) -> list[Polygon]:
    return [Polygon(corners) for corners in boxes.to_corners(rows.astype(np.float64))]


def test_shapes_and_types(scenes: Scenes) -> None:
    for image, rows, labels in scenes:
        assert image.shape == (256, 256, 3)
        assert image.dtype == np.uint8
        assert rows.shape == (len(labels), 5)
        assert (rows.dtype, labels.dtype) == (np.float32, np.int32)


def test_same_seed_same_scene(scenes: Scenes) -> None:
    for i in (0, 7):
        again = synthetic.render(256, np.random.default_rng([0, i]))
        assert all(np.array_equal(a, b) for a, b in zip(scenes[i], again, strict=True))
    assert not np.array_equal(scenes[0][0], scenes[1][0])


def test_boxes_are_canonical(scenes: Scenes) -> None:
    rows = np.concatenate([rows for _, rows, _ in scenes])
    assert (rows[:, 2] >= rows[:, 3]).all()
    assert (rows[:, 4] >= -np.pi / 2).all()
    assert (rows[:, 4] < np.pi / 2).all()
    assert np.array_equal(boxes.canonical(rows), rows)
    assert rows[:, 3].min() >= 4.5  # small detectors on a CPU must see them
    assert rows[:, 2].max() <= 115


def test_at_least_half_of_each_box_is_inside_and_some_reach_out(scenes: Scenes) -> None:
    frame = shapely_box(0, 0, 256, 256)
    inside = [p.intersection(frame).area / p.area for _, rows, _ in scenes for p in polygons(rows)]
    assert min(inside) >= 0.5
    assert min(inside) < 0.7


def test_objects_do_not_overlap(scenes: Scenes) -> None:
    for _, rows, _ in scenes:
        outlines = polygons(rows)
        for a, b in combinations(outlines, 2):
            assert not a.intersects(b)


def test_classes_have_a_long_tail(scenes: Scenes) -> None:
    counts = np.bincount(np.concatenate([labels for _, _, labels in scenes]), minlength=len(CLASSES))
    assert (np.diff(counts) < 0).all()
    assert counts[0] >= 8 * counts[-1]
    assert counts[-1] >= 15


def test_numbers_of_objects(scenes: Scenes) -> None:
    numbers = np.array([len(labels) for _, _, labels in scenes])
    assert 0.03 <= (numbers == 0).mean() <= 0.15
    assert 6 <= numbers.mean() <= 11
    assert 30 <= numbers.max() <= 40


def test_each_class_takes_all_directions(scenes: Scenes) -> None:
    for label, name in enumerate(CLASSES):
        theta = np.concatenate([rows[labels == label, 4] for _, rows, labels in scenes])
        if name == "tank":
            assert not theta.any()
        else:
            assert np.histogram(theta, 4, (-np.pi / 2, np.pi / 2))[0].min() > 0


@pytest.mark.parametrize("kind", OBJECTS)
def test_box_is_tight_around_the_drawn_object(kind: str) -> None:
    # The oracle is the image: the pixels in which a flat scene with the object differs from the same scene without.
    gaps = []
    for seed in range(12):
        pictures, rows = [], []
        for present in (False, True):
            canvas = Canvas(160, np.random.default_rng(seed), max_objects=1)
            canvas.fill(-160, 160, -160, 160, (255, 0, 255))
            canvas.shadow_length = 0.0
            if present:
                length = None if seed % 2 else 90.0
                assert canvas.put(kind, 2.3 * seed, -1.7 * seed, turn=0.9 * seed, length=length)
            canvas.rng = np.random.default_rng(100 + seed)  # the same texture and light in both
            pictures.append(canvas.render().astype(int))
            rows += canvas.boxes
        (row,) = boxes.canonical(np.array(rows))
        y, x = np.nonzero(np.abs(pictures[1] - pictures[0]).sum(axis=2) > 120)  # pixels about half covered
        dx, dy = x + 0.5 - row[0], y + 0.5 - row[1]
        c, s = np.cos(row[4]), np.sin(row[4])
        along, across = c * dx + s * dy, c * dy - s * dx
        ends = (along.max(), -along.min(), across.max(), -across.min())
        gaps.append(np.array(ends) - np.repeat(row[2:4], 2) / 2)
    # The outermost middle of a pixel lies up to a pixel within the side; the lens blurs by as much at most.
    assert np.min(gaps) > -1.5
    assert np.max(gaps) < 1.1
    assert np.abs(np.mean(gaps, axis=0) + 0.1).max() < 0.6


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_painted_outside_the_outline(kind: str) -> None:
    # It would be added to the ground instead of hiding it.
    canvas = Canvas(256, np.random.default_rng(1), max_objects=1)
    assert canvas.put(kind, 0, 0, turn=0.7, length=150.0)
    assert (canvas.layer("objects").max(axis=0) > canvas.layer("cover")[0] + 64).sum() == 0


def test_separation_of_rectangles_agrees_with_shapely() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.uniform(0, 40, (2, 400))
    w, h, theta = rng.uniform(2, 30, 400), rng.uniform(2, 30, 400), rng.uniform(-4, 4, 400)
    rows = np.column_stack([x, y, w, h, theta])
    rectangles = [Rectangle(a, b, c, d, np.cos(t), np.sin(t)) for a, b, c, d, t in rows.tolist()]
    outlines = polygons(rows)
    separate = [rectangles[i].is_separate(rectangles[i + 1], 0.0) for i in range(399)]
    assert separate == [not outlines[i].intersects(outlines[i + 1]) for i in range(399)]
    assert 50 < sum(separate) < 350


def test_a_taken_place_is_refused() -> None:
    canvas = Canvas(128, np.random.default_rng(0), max_objects=5)
    assert canvas.put("yacht", 0, 0)
    assert not canvas.put("yacht", 5, 0)
    assert not canvas.put("house", 0, 5)
    assert canvas.put("yacht", 0, 45)
    assert len(canvas.boxes) == 2


def test_larger_scenes_hold_more_objects_of_the_same_size() -> None:
    small = [synthetic.render(192, np.random.default_rng([3, i])) for i in range(12)]
    large = [synthetic.render(576, np.random.default_rng([3, i])) for i in range(12)]
    numbers = [sum(len(labels) for *_, labels in scenes) for scenes in (small, large)]
    assert numbers[1] > 3 * numbers[0]
    lengths = [np.concatenate([rows[labels == 0, 2] for _, rows, labels in scenes]) for scenes in (small, large)]
    assert np.median(lengths[1]) == pytest.approx(np.median(lengths[0]), rel=0.25)


def test_odd_sizes_render_and_tiny_ones_are_refused() -> None:
    assert synthetic.render(201, 4)[0].shape == (201, 201, 3)
    for seed in (172, 319, 423):  # harbours whose shore leaves no room for ships at sea
        assert synthetic.render(64, seed)[0].shape == (64, 64, 3)
    with pytest.raises(ValueError, match="expected size >= 64 pixels, got 32"):
        synthetic.render(32, 0)


def test_write_dataset_comes_back(tmp_path: Path) -> None:
    labels = synthetic.write_dataset(tmp_path, 6, size=192, seed=11)
    assert labels.image_ids.tolist() == [f"scene_{i:04d}" for i in range(6)]
    assert labels.classes == CLASSES
    assert labels.image_sizes is not None
    assert labels.image_sizes.tolist() == [[192, 192]] * 6

    files = images.find(tmp_path / "images")
    assert list(files) == labels.image_ids.tolist()
    for i, (image_id, file) in enumerate(files.items()):
        image, rows, classes = synthetic.render(192, np.random.default_rng([11, i]))
        assert np.array_equal(labels[image_id].boxes, rows)
        assert np.array_equal(labels[image_id].labels, classes)
        assert np.abs(images.read(file).astype(int) - image).mean() < 3  # JPEG

    read = dota.read(tmp_path / "labelTxt", classes=CLASSES)
    assert np.array_equal(read.offsets, labels.offsets)
    assert np.array_equal(read.labels, labels.labels)
    corners = [np.sort(boxes.to_corners(part.boxes).reshape(-1, 4, 2), axis=1) for part in (read, labels)]
    assert np.allclose(*corners, atol=1e-3)


def test_more_scenes_leave_the_first_ones_as_they_were(tmp_path: Path) -> None:
    small = synthetic.write_dataset(tmp_path / "small", 2, size=128, seed=1, prefix="train")
    large = synthetic.write_dataset(tmp_path / "large", 4, size=128, seed=1, prefix="train")
    assert small == large.subset(small.image_ids)
    for name in ("images/train_0001.jpg", "labelTxt/train_0001.txt"):
        assert (tmp_path / "small" / name).read_bytes() == (tmp_path / "large" / name).read_bytes()
    other = synthetic.write_dataset(tmp_path / "other", 2, size=128, seed=2)
    assert not np.array_equal(other.boxes, small.boxes)


def test_no_scenes(tmp_path: Path) -> None:
    labels = synthetic.write_dataset(tmp_path, 0)
    assert (len(labels), labels.n_boxes) == (0, 0)
