"""Label Studio's rectangles: values computed by hand, and against Label Studio's SDK and Shapely."""

import numpy as np
import pytest
import shapely
from label_studio_sdk.converter.utils import convert_annotation_to_yolo_obb, convert_yolo_obb_to_annotation
from shapely.affinity import rotate

from al_rotate import boxes as rboxes
from al_rotate.bridge.conversion.geometry import from_label_studio, to_importable, to_label_studio

QUARTER = np.pi / 2
UPRIGHT = [30, 60, 80, 20, -QUARTER]  # 80 high, 20 wide

# On 400 x 200 pixels: box, value. Rotated by a quarter turn, w runs down from the corner and h to its left.
BOTH_WAYS = [
    ([80, 30, 80, 20, 0], [10, 10, 20, 10, 0]),
    ([30, 60, 80, 20, -QUARTER], [5, 50, 20, 10, 270]),
    ([80, 30, 80, 20, np.pi / 6], [12.58974596, 0.66987298, 20, 10, 30]),  # 80 - 34.641 + 5, 30 - 20 - 8.66025
    ([80, 30, 80, 20, -np.pi / 6], [10.08974596, 20.66987298, 20, 10, 330]),  # 80 - 34.641 - 5, 30 + 20 - 8.66025
    ([400, 0, 50, 50, 0], [93.75, -12.5, 12.5, 25, 0]),
    ([-900, 700, 80, 20, 0], [-235, 345, 20, 10, 0]),
    ([200, 100, 1000, 0, 0], [-75, 50, 250, 0, 0]),
]


@pytest.mark.parametrize(("box", "value"), BOTH_WAYS)
def test_values_both_ways(box, value):
    np.testing.assert_allclose(to_label_studio([box], 400, 200), [value], rtol=0, atol=1e-8)
    np.testing.assert_allclose(from_label_studio([value], 400, 200), [box], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("value", "box"),
    [
        ([10, 10, 20, 10, 90], UPRIGHT),
        ([10, 10, 20, 10, 90 - 360], UPRIGHT),
        ([10, 10, 20, 10, 90 + 720], UPRIGHT),
        ([10, 10, 20, 10, 180], [0, 10, 80, 20, 0]),
        ([10, 10, 20, 10, -90], [50, -20, 80, 20, -QUARTER]),
        ([10, 10, 20, -10, 0], [80, 10, 80, 20, 0]),
        ([30, 20, -20, -10, 0], [80, 30, 80, 20, 0]),
        ([10, 10, 20, -10, 90], [50, 60, 80, 20, -QUARTER]),
        ([2.5, 10, 5, 40, 0], [20, 60, 80, 20, -QUARTER]),  # the longer side is h: w >= h in our boxes
        ([2.5, 10, 5, 40, 60], [-19.64101615, 48.66025404, 80, 20, -np.pi / 6]),  # 10 + 5 - 34.641, 20 + 8.66025 + 20
        ([10, 10, 5, 10, 0], [50, 30, 20, 20, 0]),
        ([10, 10, 5, 10, 90], [30, 30, 20, 20, -QUARTER]),
    ],
)
def test_other_values(value, box):
    np.testing.assert_allclose(from_label_studio([value], 400, 200), [box], rtol=0, atol=1e-6)


def test_a_long_box_in_a_narrow_image_is_wider_than_it():
    (value,) = to_label_studio([[40, 250, 300, 20, QUARTER]], 100, 1000)
    np.testing.assert_allclose(value, [50, 10, 300, 2, 90], atol=1e-9)
    (box,) = from_label_studio([value], 100, 1000)
    np.testing.assert_allclose(box, [40, 250, 300, 20, -QUARTER], atol=1e-9)
    assert shapely.box(0, 0, 100, 1000).contains(shapely.polygons(rboxes.to_corners([box]))[0])


def random_boxes(seed, n=2000):
    """Boxes of any angle and proportions, also outside the image, each with the size of its own image."""
    rng = np.random.default_rng(seed)
    size = rng.integers(1, 6000, (n, 2))
    centre = rng.uniform(-0.5, 1.5, (n, 2)) * size
    sides = np.exp(rng.uniform(np.log(0.5), np.log(5000), (n, 2)))
    sides[: n // 10, 1] = sides[: n // 10, 0]  # squares
    return np.column_stack([centre, sides, rng.uniform(-20, 20, n)]), *size.T


def assert_same_rectangles(boxes, corners, tolerance=1e-6):
    """Compare corner by corner; a rectangle may begin at any of its corners, in either direction."""
    orders = [np.roll(order, turn) for order in (range(4), range(3, -1, -1)) for turn in range(4)]
    distances = [np.abs(rboxes.to_corners(boxes)[:, order] - corners).max((1, 2)) for order in orders]
    assert np.min(distances, axis=0).max() < tolerance


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_round_trip(seed):
    boxes, width, height = random_boxes(seed)
    values = to_label_studio(boxes, width, height)
    assert ((values[:, 4] >= 0) & (values[:, 4] < 360)).all()
    back = from_label_studio(values, width, height)
    assert_same_rectangles(back, rboxes.to_corners(boxes))
    np.testing.assert_array_equal(back, rboxes.canonical(back))
    again = to_label_studio(back, width, height)
    assert_same_rectangles(from_label_studio(again, width, height), rboxes.to_corners(boxes))


def test_canonical_boxes_survive_a_round_trip():
    boxes, width, height = random_boxes(4)
    boxes = rboxes.canonical(boxes[len(boxes) // 10 :])  # two angles of a square mean the same
    width, height = width[-len(boxes) :], height[-len(boxes) :]
    back = from_label_studio(to_label_studio(boxes, width, height), width, height)
    np.testing.assert_allclose(back, boxes, rtol=0, atol=1e-6)


@pytest.mark.parametrize("seed", [6, 7])
def test_values_that_the_import_takes(seed):
    """The same rectangles, from a corner in the image's upper left part where there is one, else as they were."""
    boxes, width, height = random_boxes(seed)
    values, own = to_importable(boxes, width, height), to_label_studio(boxes, width, height)
    assert_same_rectangles(from_label_studio(values, width, height), rboxes.to_corners(boxes))
    size = np.column_stack([width, height])
    corners = 100 * rboxes.to_corners(boxes) / size[:, None]
    sides = np.stack([100 * boxes[:, 2:4] / size, 100 * boxes[:, 3:1:-1] / size], axis=1)[:, [0, 1, 0, 1]]
    can = (np.concatenate([corners, sides], axis=2) <= 100).all(axis=2).any(axis=1)
    fits, fitted = (values[:, :4] <= 100).all(axis=1), (own[:, :4] <= 100).all(axis=1)
    np.testing.assert_array_equal(fits, can)
    np.testing.assert_array_equal(values[fitted | ~can], own[fitted | ~can])
    assert (can & ~fitted).sum() > 100  # some were restated


def test_full_turns_change_nothing():
    boxes, width, height = random_boxes(5)
    values = to_label_studio(boxes, width, height)
    for turns in (-3, -1, 1, 100):
        turned = np.add(values, [0, 0, 0, 0, 360 * turns])
        assert_same_rectangles(from_label_studio(turned, width, height), rboxes.to_corners(boxes))


def random_values(seed, n=500):
    """Values as people, pages and other programs write them."""
    rng = np.random.default_rng(seed)
    low, high = [-20, -20, 0.5, 0.5, -800], [110, 110, 150, 150, 800]
    return rng.uniform(low, high, (n, 5)), *rng.integers(50, 3000, (2, n))


def test_corners_as_the_sdk_has_them():
    values, width, height = random_values(6)
    theirs = [
        convert_annotation_to_yolo_obb(
            dict(zip(("x", "y", "width", "height", "rotation"), value, strict=True))
            | {"original_width": w, "original_height": h},
            normalize=False,
        )
        for value, w, h in zip(values, width, height, strict=True)
    ]
    assert_same_rectangles(from_label_studio(values, width, height), theirs)


def test_values_as_the_sdk_makes_them():
    boxes, width, height = random_boxes(7, 500)
    theirs = [
        convert_yolo_obb_to_annotation(corners.ravel(), w, h)
        for corners, w, h in zip(rboxes.to_corners(boxes), width, height, strict=True)
    ]
    theirs = np.array([[value[key] for key in ("x", "y", "width", "height", "rotation")] for value in theirs])
    values = to_label_studio(boxes, width, height)
    np.testing.assert_allclose(values[:, :4], theirs[:, :4], rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(np.cos(np.radians(values[:, 4] - theirs[:, 4])), 1, atol=1e-9)


def drawn(value, width, height):
    """Draw a value as a page does: a rectangle from its corner, of either sign, rotated about that corner in pixels."""
    x, y, w, h = value[:4] * [width, height, width, height] / 100
    return rotate(shapely.box(x, y, x + w, y + h), value[4], origin=(x, y))


def test_shapes_as_shapely_draws_them():
    values, width, height = random_values(8)
    values[:, 2:4] *= np.random.default_rng(8).choice([-1, 1], (len(values), 2))
    theirs = np.array([drawn(*arguments) for arguments in zip(values, width, height, strict=True)])
    boxes = from_label_studio(values, width, height)
    ours = shapely.polygons(rboxes.to_corners(boxes))
    np.testing.assert_allclose(boxes[:, 2] * boxes[:, 3], shapely.area(theirs), rtol=1e-9)
    assert shapely.hausdorff_distance(ours, theirs).max() < 1e-6
    image = shapely.box(0, 0, width, height)
    inside = [shapely.area(shapely.intersection(shapes, image)) for shapes in (ours, theirs)]
    np.testing.assert_allclose(*inside, rtol=1e-6, atol=1e-3)
    assert 0 < np.count_nonzero(inside[0] < shapely.area(ours) - 1) < len(ours)


def test_overlaps_as_shapely_has_them():
    values, *_ = random_values(9, 60)
    shapes = np.array([drawn(value, 300, 900) for value in values])
    boxes = from_label_studio(values, 300, 900)
    a, b = shapes[:, None], shapes[None]
    expected = shapely.area(shapely.intersection(a, b)) / shapely.area(shapely.union(a, b))
    assert np.count_nonzero((expected > 0.1) & (expected < 0.9)) > 100
    np.testing.assert_allclose(rboxes.iou(boxes, boxes), expected, atol=1e-9)


def test_an_angle_just_below_zero():
    assert to_label_studio([[50, 50, 20, 10, -1e-20]], 100, 100)[0, 4] == 0


@pytest.mark.parametrize("convert", [to_label_studio, from_label_studio])
def test_each_box_may_have_its_image(convert):
    rows = np.array([[50, 20, 40, 10, 0.5]] * 3)
    together = convert(rows, [400, 300, 200], [200, 300, 90])
    separately = [convert(rows[:1], *size)[0] for size in ((400, 200), (300, 300), (200, 90))]
    np.testing.assert_array_equal(together, separately)
    assert convert([], 400, 200).shape == convert(np.zeros((0, 5)), [], []).shape == (0, 5)
    assert together.dtype == convert(rows.astype(np.float32), 400, 200).dtype == np.float64


@pytest.mark.parametrize("convert", [to_label_studio, from_label_studio])
@pytest.mark.parametrize(
    ("rows", "size", "message"),
    [
        ([[1, 2, 3, 4]], (9, 9), r"expected (boxes|values) of shape \(N, 5\), got \(1, 4\)"),
        ([1, 2, 3, 4, 5], (9, 9), r"of shape \(N, 5\), got \(5,\)"),
        ([[1, 2, 3, 4, 5], [1, np.nan, 3, 4, 5]], (9, 9), r"expected finite .*, got \[1\.0, nan, .*\] in row 1"),
        ([[1, 2, np.inf, 4, 5]], (9, 9), r"expected finite .* in row 0"),
        *(([[1, 2, 3, 4, 5]], size, r"expected images of at least 1 x 1 pixels, got")
          for size in ((0, 9), (9, -1), (np.nan, 9), (9, np.inf))),
    ],
)  # fmt: skip
def test_refusals(convert, rows, size, message):
    with pytest.raises(ValueError, match=message):
        convert(rows, *size)
