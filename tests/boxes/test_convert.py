"""Corners, canonical forms, areas and hulls against shapely, OpenCV, MMRotate and numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from helpers.shapes import centres, corner_distance, crowd, polygons, rotated_boxes
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from al_rotate import boxes

thorough = settings(deadline=None, max_examples=150)
brief = settings(deadline=None, max_examples=30)  # for those that run for each of several parameters

PI = math.pi
RANGES = {"le90": (-PI / 2, PI / 2), "le135": (-PI / 4, 3 * PI / 4), "oc": (-PI / 2, 0.0)}
VERSIONS = tuple(RANGES)


# Corners.


def test_corners_by_hand() -> None:
    # 3-4-5: the side of 10 points to (8, 6), the side of 5 to (-3, 4).
    corners = boxes.to_corners([[2.5, 5, 10, 5, math.atan2(3, 4)]])
    np.testing.assert_allclose(corners, [[[0, 0], [8, 6], [5, 10], [-3, 4]]], atol=1e-12)
    np.testing.assert_allclose(boxes.from_corners(corners), [[2.5, 5, 10, 5, math.atan2(3, 4)]], atol=1e-12)


@thorough
@given(rotated_boxes())
def test_corners_are_shapelys(rotated: NDArray) -> None:
    ring = np.stack([shapely.get_coordinates(polygon)[:4] for polygon in polygons(rotated)])
    corners = boxes.to_corners(rotated)
    distances = np.linalg.norm(ring[:, :, None] - corners[:, None], axis=-1)
    assert distances.min(axis=1).max() < 1e-8
    assert distances.min(axis=2).max() < 1e-8


@thorough
@given(rotated_boxes(), st.integers(0, 3), st.booleans(), st.booleans())
def test_corners_round_trip_from_any_first_corner_either_way_round(
    rotated: NDArray, first: int, reverse: bool, flat: bool
) -> None:
    corners = np.roll(boxes.to_corners(rotated), first, axis=1)
    corners = corners[:, ::-1] if reverse else corners
    back = boxes.from_corners(corners.reshape(-1, 8) if flat else corners)
    assert corner_distance(rotated, back).max() < 1e-6
    np.testing.assert_array_equal(back, boxes.canonical(back))
    np.testing.assert_allclose(back[:, 2], rotated[:, 2:4].max(axis=1), atol=1e-6)
    np.testing.assert_allclose(back[:, 3], rotated[:, 2:4].min(axis=1), atol=1e-6)


@thorough
@given(rotated_boxes(st.floats(4, 2000)))
def test_corners_round_trip_in_float32(rotated: NDArray) -> None:
    rotated = rotated.astype(np.float32)
    back = boxes.from_corners(boxes.to_corners(rotated))
    assert back.dtype == np.float32
    assert corner_distance(rotated, back).max() < 0.02  # float32 corners at 20,000 px are 0.002 px apart


points = hnp.arrays(np.float64, (4, 2), elements=st.floats(-1000, 1000, width=16))


@thorough
@given(points, st.tuples(centres, centres))
def test_any_quadrilateral_gives_shapelys_least_rectangle(quad: NDArray, offset: tuple[float, float]) -> None:
    (box,) = boxes.from_corners((quad + offset)[None])
    size = np.ptp(quad, axis=0).max()
    least = shapely.area(shapely.oriented_envelope(shapely.MultiPoint(quad)))
    assert box[2] * box[3] == pytest.approx(least, abs=1e-7 * size**2 + 1e-9)
    around = polygons(box[None])[0].buffer(1e-7 * size + 1e-7)
    assert all(around.covers(shapely.Point(point)) for point in quad + offset)


def test_quadrilaterals_by_hand() -> None:
    quads = [
        [[0, 0], [10, 0], [10, 4], [3, 4]],  # a right trapezium
        [[0, 0], [10, 4], [10, 0], [0, 4]],  # corners in a zigzag
        [[0, 0], [6, 8], [3, 4], [0, 0]],  # all on one line
        [[5, 6], [5, 6], [5, 6], [5, 6]],  # all the same
    ]
    expected = [[5, 2, 10, 4, 0], [5, 2, 10, 4, 0], [3, 4, 10, 0, math.atan2(4, 3)], [5, 6, 0, 0, 0]]
    np.testing.assert_allclose(boxes.from_corners(quads), expected, atol=1e-12)


# Canonical forms.


@pytest.mark.parametrize(
    ("version", "given_box", "expected"),
    [
        ("le90", [1, 2, 4, 2, 0.3], [1, 2, 4, 2, 0.3]),
        ("le90", [1, 2, 2, 4, 0.3], [1, 2, 4, 2, 0.3 - PI / 2]),
        ("le90", [1, 2, 4, 2, PI / 2], [1, 2, 4, 2, -PI / 2]),
        ("le90", [1, 2, 4, 2, -PI / 2], [1, 2, 4, 2, -PI / 2]),
        ("le90", [1, 2, 2, 4, 0], [1, 2, 4, 2, -PI / 2]),
        ("le90", [1, 2, 4, 2, PI], [1, 2, 4, 2, 0]),
        ("le90", [1, 2, 3, 3, 1.5], [1, 2, 3, 3, 1.5]),
        ("le135", [1, 2, 4, 2, -0.8], [1, 2, 4, 2, PI - 0.8]),
        ("le135", [1, 2, 2, 4, 0], [1, 2, 4, 2, PI / 2]),
        ("le135", [1, 2, 4, 2, 3 * PI / 4], [1, 2, 4, 2, -PI / 4]),
        ("oc", [1, 2, 4, 2, 0], [1, 2, 2, 4, -PI / 2]),
        ("oc", [1, 2, 4, 2, PI / 2], [1, 2, 4, 2, -PI / 2]),
        ("oc", [1, 2, 2, 4, 0.3], [1, 2, 4, 2, 0.3 - PI / 2]),
        ("oc", [1, 2, 2, 4, -0.3], [1, 2, 2, 4, -0.3]),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_canonical_by_hand(version: boxes.Version, given_box: list[float], expected: list[float], dtype: type) -> None:
    got = boxes.canonical(np.array([given_box], dtype), version)
    np.testing.assert_allclose(got, [expected], rtol=0, atol=1e-12 if dtype is np.float64 else 2e-7)
    np.testing.assert_array_equal(got, boxes.canonical(got, version))


def test_the_table_of_the_module_docstring() -> None:
    steep, gentle = [[0, 0, 4, 2, -PI / 3]], [[0, 0, 4, 2, PI / 6]]
    for version, expected in (("le90", [4, 2, -PI / 3]), ("le135", [4, 2, 2 * PI / 3]), ("oc", [4, 2, -PI / 3])):
        np.testing.assert_allclose(boxes.canonical(steep, version)[0, 2:], expected)
    for version, expected in (("le90", [4, 2, PI / 6]), ("le135", [4, 2, PI / 6]), ("oc", [2, 4, -PI / 3])):
        np.testing.assert_allclose(boxes.canonical(gentle, version)[0, 2:], expected)
    # y points down: the side a of the steep one runs from the lower left (y > 0) to the upper right.
    left, right = boxes.to_corners(steep)[0, :2]
    assert left[0] < right[0]
    assert left[1] > right[1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("version", VERSIONS)
@brief
@given(rotated=rotated_boxes())
def test_canonical_is_the_same_rectangle_in_range_and_stays(
    version: boxes.Version, dtype: type, rotated: NDArray
) -> None:
    rotated = rotated.astype(dtype)
    got = boxes.canonical(rotated, version)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got[:, :2], rotated[:, :2])
    np.testing.assert_array_equal(np.sort(got[:, 2:4]), np.sort(rotated[:, 2:4]))
    assert corner_distance(rotated, got).max() < (1e-9 if dtype is np.float64 else 1e-3)
    low, high = (dtype(limit) for limit in RANGES[version])
    assert (got[:, 4] >= low).all()
    assert (got[:, 4] < high).all()
    if version != "oc":
        assert (got[:, 2] >= got[:, 3]).all()
    np.testing.assert_array_equal(got, boxes.canonical(got, version))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_canonical_next_to_the_ends_of_each_range(version: boxes.Version, dtype: type) -> None:
    ends = [dtype(k * PI / 4) for k in range(-8, 9)]
    near = [e for end in ends for e in (np.nextafter(end, dtype(-9)), end, np.nextafter(end, dtype(9)))]
    near += [dtype(tiny) for tiny in (-1e-30, 1e-30, -1e-8, 1e-8)]
    for w, h in ((4, 2), (2, 4), (3, 3)):
        rotated = np.array([[10, 20, w, h, angle] for angle in near], dtype)
        got = boxes.canonical(rotated, version)
        low, high = (dtype(limit) for limit in RANGES[version])
        assert ((got[:, 4] >= low) & (got[:, 4] < high)).all()
        assert corner_distance(rotated, got).max() < (1e-12 if dtype is np.float64 else 1e-5)
        np.testing.assert_array_equal(got, boxes.canonical(got, version))


@pytest.mark.parametrize("source", VERSIONS)
@pytest.mark.parametrize("target", VERSIONS)
@brief
@given(rotated=rotated_boxes())
def test_any_version_turns_into_any_other(source: boxes.Version, target: boxes.Version, rotated: NDArray) -> None:
    through = boxes.canonical(boxes.canonical(rotated, source), target)
    assert corner_distance(rotated, through).max() < 1e-9


@thorough
@given(st.floats(1, 90), st.tuples(centres, centres), st.floats(1, 500), st.floats(1, 500))
def test_both_ranges_of_min_area_rect_give_one_box(
    degrees: float, centre: tuple[float, float], w: float, h: float
) -> None:
    """OpenCV up to 4.12 returns an angle in (0, 90], later ones in [-90, 0)."""
    older = np.array([*centre, w, h, math.radians(degrees)])
    newer = np.array([*centre, h, w, math.radians(degrees - 90)])
    expected = np.array(
        [*centre, w, h, math.radians(degrees)] if w > h else [*centre, h, w, math.radians(degrees - 90)]
    )
    if degrees == 90 and w > h:
        expected[4] = -PI / 2
    for rectangle in (older, newer):
        got = boxes.canonical(rectangle[None])[0]
        assert corner_distance(got[None], expected[None])[0] < 1e-9
        if abs(w - h) > 1e-9 and degrees < 89.999:
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-9)


def test_a_level_box_in_both_ranges_of_min_area_rect() -> None:
    for w, h, degrees in ((4, 8, 90), (4, 8, -90), (8, 4, 0)):
        np.testing.assert_array_equal(boxes.canonical([[1, 2, w, h, math.radians(degrees)]]), [[1, 2, 8, 4, 0]])


def test_boxes_come_back_from_opencv() -> None:
    """Whichever range the installed OpenCV has."""
    cv2 = pytest.importorskip("cv2")
    rotated = boxes.canonical(np.random.default_rng(4).uniform([0, 0, 20, 5, -2], [999, 999, 99, 15, 2], (200, 5)))
    for box, corners in zip(rotated, boxes.to_corners(rotated).astype(np.float32), strict=True):
        (cx, cy), (w, h), degrees = cv2.minAreaRect(corners)
        got = boxes.canonical([[cx, cy, w, h, math.radians(degrees)]])
        assert corner_distance(got, box[None])[0] < 0.01


# Areas and hulls.


def test_area_and_hull_by_hand() -> None:
    rotated = [[10, 20, 8, 4, 0], [10, 20, 8, 4, PI / 2], [0, 0, 2, 2, PI / 4], [3, 4, 5, 0, 0]]
    np.testing.assert_allclose(boxes.area(rotated), [32, 32, 4, 0])
    r = math.sqrt(2)
    hulls = [[6, 18, 14, 22], [8, 16, 12, 24], [-r, -r, r, r], [0.5, 4, 5.5, 4]]
    np.testing.assert_allclose(boxes.to_hbb(rotated), hulls, atol=1e-12)


@thorough
@given(rotated_boxes())
def test_area_and_hull_are_shapelys(rotated: NDArray) -> None:
    made = polygons(rotated)
    np.testing.assert_allclose(boxes.area(rotated), shapely.area(made), rtol=1e-7, atol=1e-5)
    np.testing.assert_allclose(boxes.to_hbb(rotated), shapely.bounds(made), atol=1e-8)


# Shapes, dtypes, refusals.


def test_empty_input_gives_empty_output() -> None:
    assert boxes.to_corners([]).shape == (0, 4, 2)
    assert boxes.from_corners([]).shape == (0, 5)
    assert boxes.canonical(np.zeros((0, 5), np.float32)).shape == (0, 5)
    assert boxes.area([]).shape == (0,)
    assert boxes.to_hbb([]).shape == (0, 4)


@pytest.mark.parametrize(("given_dtype", "expected"), [("f4", "f4"), ("f8", "f8"), ("i4", "f8"), ("f2", "f2")])
def test_dtype_is_kept(given_dtype: str, expected: str) -> None:
    rotated = np.array([[10, 20, 8, 4, 1]], given_dtype)
    for function in (boxes.to_corners, boxes.canonical, boxes.area, boxes.to_hbb):
        assert function(rotated).dtype == expected
    assert boxes.from_corners(np.array([[0, 0, 8, 0, 8, 4, 0, 4]], given_dtype)).dtype == expected


def test_input_is_left_alone() -> None:
    rotated = np.array([[10, 20, 4, 8, 9.0]])
    before = rotated.copy()
    for function in (boxes.to_corners, boxes.canonical, boxes.area, boxes.to_hbb):
        function(rotated)
    np.testing.assert_array_equal(rotated, before)


def test_refusals_say_what_was_expected_and_what_came() -> None:
    with pytest.raises(ValueError, match=r"expected boxes of shape \(N, 5\) as cx, cy, w, h, theta, got \(1, 4\)"):
        boxes.to_corners([[1, 2, 3, 4]])
    with pytest.raises(ValueError, match=r"expected boxes of shape \(N, 5\) .* got \(5,\)"):
        boxes.canonical([1, 2, 3, 4, 5])
    with pytest.raises(ValueError, match=r"expected corners of shape \(N, 4, 2\) or \(N, 8\), got \(1, 3, 2\)"):
        boxes.from_corners(np.zeros((1, 3, 2)))
    with pytest.raises(ValueError, match=r"expected finite corners, got .*nan.* in row 1"):
        boxes.from_corners([[0, 0, 1, 0, 1, 1, 0, 1], [0, 0, 1, 0, 1, 1, 0, np.nan]])
    with pytest.raises(ValueError, match=r"expected finite boxes, got .*inf.* in row 0"):
        boxes.canonical([[0, np.inf, 1, 1, 0]])
    with pytest.raises(ValueError, match=r"expected sides w, h >= 0, got \[-3.0, 4.0\] in row 1"):
        boxes.canonical([[1, 2, 3, 4, 0], [1, 2, -3, 4, 0]])
    with pytest.raises(ValueError, match="expected version to be one of le90, le135, oc, got 'le180'"):
        boxes.canonical([[1, 2, 3, 4, 0]], "le180")  # type: ignore[arg-type]


# MMRotate.


@pytest.mark.mm
@pytest.mark.parametrize("version", VERSIONS)
def test_canonical_is_mmrotates(version: boxes.Version) -> None:
    torch = pytest.importorskip("torch")
    structures = pytest.importorskip("mmrotate.structures.bbox")
    rotated = crowd(5, 2000)
    theirs = structures.RotatedBoxes(torch.from_numpy(rotated.copy())).regularize_boxes(version).numpy()
    np.testing.assert_allclose(boxes.canonical(rotated, version), theirs, rtol=0, atol=2e-6)


@pytest.mark.mm
def test_corners_are_mmrotates() -> None:
    torch = pytest.importorskip("torch")
    structures = pytest.importorskip("mmrotate.structures.bbox")
    rotated = crowd(6, 500)
    theirs = structures.RotatedBoxes.rbox2corner(torch.from_numpy(rotated)).numpy()
    distances = np.linalg.norm(boxes.to_corners(rotated)[:, :, None] - theirs[:, None], axis=-1)
    assert distances.min(axis=2).max() < 1e-3
