"""Rotated boxes against shapely, OpenCV, MMRotate and numbers worked out by hand."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import shapely
from helpers.shapes import apart, overlap, polygons
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

angles = st.one_of(st.floats(-10, 10), st.sampled_from([k * PI / 4 for k in range(-9, 10)]))
centres = st.floats(-200, 20_000)
sides = st.one_of(st.floats(1, 2000), st.floats(1e-3, 1), st.sampled_from([0.0, 1e-3, 8.0, 512.0]))


@st.composite
def rows(draw: st.DrawFn, sides: st.SearchStrategy[float] = sides) -> NDArray[np.float64]:
    """(n, 5) boxes of any angle: squares, slivers, flat ones, partly off the image."""
    n = draw(st.integers(1, 6))
    out = []
    for _ in range(n):
        w = draw(sides)
        out.append([draw(centres), draw(centres), w, w if draw(st.booleans()) else draw(sides), draw(angles)])
    return np.array(out)


# Corners.


def test_corners_by_hand() -> None:
    # 3-4-5: the side of 10 points to (8, 6), the side of 5 to (-3, 4).
    corners = boxes.to_corners([[2.5, 5, 10, 5, math.atan2(3, 4)]])
    np.testing.assert_allclose(corners, [[[0, 0], [8, 6], [5, 10], [-3, 4]]], atol=1e-12)
    np.testing.assert_allclose(boxes.from_corners(corners), [[2.5, 5, 10, 5, math.atan2(3, 4)]], atol=1e-12)


@thorough
@given(rows())
def test_corners_are_shapelys(rotated: NDArray) -> None:
    ring = np.stack([shapely.get_coordinates(polygon)[:4] for polygon in polygons(rotated)])
    corners = boxes.to_corners(rotated)
    distances = np.linalg.norm(ring[:, :, None] - corners[:, None], axis=-1)
    assert distances.min(axis=1).max() < 1e-8
    assert distances.min(axis=2).max() < 1e-8


@thorough
@given(rows(), st.integers(0, 3), st.booleans(), st.booleans())
def test_corners_round_trip_from_any_first_corner_either_way_round(
    rotated: NDArray, first: int, reverse: bool, flat: bool
) -> None:
    corners = np.roll(boxes.to_corners(rotated), first, axis=1)
    corners = corners[:, ::-1] if reverse else corners
    back = boxes.from_corners(corners.reshape(-1, 8) if flat else corners)
    assert apart(rotated, back).max() < 1e-6
    np.testing.assert_array_equal(back, boxes.canonical(back))
    np.testing.assert_allclose(back[:, 2], rotated[:, 2:4].max(axis=1), atol=1e-6)
    np.testing.assert_allclose(back[:, 3], rotated[:, 2:4].min(axis=1), atol=1e-6)


@thorough
@given(rows(st.floats(4, 2000)))
def test_corners_round_trip_in_float32(rotated: NDArray) -> None:
    rotated = rotated.astype(np.float32)
    back = boxes.from_corners(boxes.to_corners(rotated))
    assert back.dtype == np.float32
    assert apart(rotated, back).max() < 0.02  # float32 corners at 20,000 px are 0.002 px apart


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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("version", VERSIONS)
@brief
@given(rotated=rows())
def test_canonical_is_the_same_rectangle_in_range_and_stays(
    version: boxes.Version, dtype: type, rotated: NDArray
) -> None:
    rotated = rotated.astype(dtype)
    got = boxes.canonical(rotated, version)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got[:, :2], rotated[:, :2])
    np.testing.assert_array_equal(np.sort(got[:, 2:4]), np.sort(rotated[:, 2:4]))
    assert apart(rotated, got).max() < (1e-9 if dtype is np.float64 else 1e-3)
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
        assert apart(rotated, got).max() < (1e-12 if dtype is np.float64 else 1e-5)
        np.testing.assert_array_equal(got, boxes.canonical(got, version))


@pytest.mark.parametrize("source", VERSIONS)
@pytest.mark.parametrize("target", VERSIONS)
@brief
@given(rotated=rows())
def test_any_version_turns_into_any_other(source: boxes.Version, target: boxes.Version, rotated: NDArray) -> None:
    through = boxes.canonical(boxes.canonical(rotated, source), target)
    assert apart(rotated, through).max() < 1e-9


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
        assert apart(got[None], expected[None])[0] < 1e-9
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
        assert apart(got, box[None])[0] < 0.01


# Area, hull, IoU.


def test_area_and_hull_by_hand() -> None:
    rotated = [[10, 20, 8, 4, 0], [10, 20, 8, 4, PI / 2], [0, 0, 2, 2, PI / 4], [3, 4, 5, 0, 0]]
    np.testing.assert_allclose(boxes.area(rotated), [32, 32, 4, 0])
    r = math.sqrt(2)
    hulls = [[6, 18, 14, 22], [8, 16, 12, 24], [-r, -r, r, r], [0.5, 4, 5.5, 4]]
    np.testing.assert_allclose(boxes.to_hbb(rotated), hulls, atol=1e-12)


@thorough
@given(rows())
def test_area_and_hull_are_shapelys(rotated: NDArray) -> None:
    made = polygons(rotated)
    np.testing.assert_allclose(boxes.area(rotated), shapely.area(made), rtol=1e-7, atol=1e-5)
    np.testing.assert_allclose(boxes.to_hbb(rotated), shapely.bounds(made), atol=1e-8)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([5, 5, 10, 10, 0], [5, 5, 10, 10, 0], 1),
        ([5, 5, 10, 10, 0], [10, 5, 10, 10, 0], 1 / 3),
        ([5, 5, 10, 4, 0], [5, 5, 4, 10, PI / 2], 1),
        ([5, 5, 10, 2, 0], [5, 5, 10, 2, PI / 2], 4 / 36),  # a cross
        ([0, 0, 2, 2, 0], [0, 0, 2, 2, PI / 4], (8 * math.sqrt(2) - 8) / (16 - 8 * math.sqrt(2))),  # an octagon
        ([0, 0, 100, 100, 0.4], [3, 4, 10, 10, 1], 0.01),  # inside
        ([0, 0, 10, 10, 0], [10, 0, 10, 10, 0], 0),  # a shared edge
        ([0, 0, 10, 10, 0], [10, 10, 10, 10, 0], 0),  # a shared corner
        ([0, 0, 10, 10, 0], [20_000, 0, 10, 10, 0], 0),
        ([20_000, 20_000, 10, 10, 0], [20_005, 20_000, 10, 10, 0], 1 / 3),
        ([0, 0, 100, 1e-3, 0.3], [0, 0, 100, 1e-3, 0.3], 1),
        ([0, 0, 100, 1e-3, 0], [0, 0, 50, 1e-3, 0], 0.5),
        ([0, 0, 100, 1e-3, 0], [0, 0, 100, 1e-3, PI / 2], 1e-6 / (0.2 - 1e-6)),
        ([0, 0, 10, 0, 0], [0, 0, 10, 0, 0], 0),  # no area
        ([0, 0, 0, 0, 0], [0, 0, 10, 10, 0], 0),
    ],
)
def test_iou_by_hand(a: list[float], b: list[float], expected: float) -> None:
    for first, second in ((a, b), (b, a)):
        assert boxes.iou([first], [second], paired=True)[0] == pytest.approx(expected, abs=1e-9)
        assert boxes.iou([first], [second])[0, 0] == pytest.approx(expected, abs=1e-9)


@thorough
@given(rows(st.floats(1e-3, 2000)), st.data())
def test_iou_is_shapelys(a: NDArray, data: st.DataObject) -> None:
    """Pairs that meet: each box against one near it."""
    n = len(a)
    near = st.one_of(st.floats(-1, 1), st.sampled_from([0.0, 0.5, 1.0]))
    shift = data.draw(hnp.arrays(np.float64, (n, 2), elements=near))
    scale = data.draw(hnp.arrays(np.float64, (n, 2), elements=st.one_of(st.floats(0.1, 4), st.just(1.0))))
    turn = data.draw(hnp.arrays(np.float64, n, elements=st.one_of(angles, st.floats(-1e-6, 1e-6))))
    b = a.copy()
    b[:, :2] += shift * a[:, 2:4]
    b[:, 2:4] *= scale
    b[:, 4] += turn
    got = boxes.iou(a, b, paired=True)
    np.testing.assert_allclose(got, overlap(a, b), rtol=0, atol=1e-6)
    np.testing.assert_allclose(boxes.iou(b, a, paired=True), got, rtol=0, atol=1e-6)
    np.testing.assert_allclose(boxes.iou(a, b).diagonal(), got, rtol=0, atol=1e-6)


@thorough
@given(rows(st.floats(1e-3, 2000)), rows(st.floats(1e-3, 2000)))
def test_iou_matrix_is_the_pairs_and_symmetric(a: NDArray, b: NDArray) -> None:
    matrix = boxes.iou(a, b)
    assert matrix.shape == (len(a), len(b))
    assert matrix.dtype == np.float64
    i, j = (index.ravel() for index in np.indices(matrix.shape))
    paired = boxes.iou(a[i], b[j], paired=True)
    near = np.zeros(matrix.shape, bool)
    near[boxes.near_pairs(a, b)] = True
    np.testing.assert_array_equal(matrix[near], paired[near.ravel()])
    assert (matrix[~near] == 0).all()
    np.testing.assert_allclose(paired, overlap(a[i], b[j]), rtol=0, atol=1e-6)
    np.testing.assert_allclose(boxes.iou(b, a).T, matrix, rtol=0, atol=1e-6)
    # One angle convention or another: the same boxes.
    np.testing.assert_allclose(boxes.iou(boxes.canonical(a), boxes.canonical(b, "oc")), matrix, rtol=0, atol=1e-6)


def test_iou_of_a_scene_in_parts_is_that_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    a, b = (rng.uniform([0, 0, 5, 5, -2], [200, 200, 60, 30, 2], (n, 5)) for n in (90, 70))
    whole = boxes.iou(a, b)
    i, j = (index.ravel() for index in np.indices(whole.shape))
    np.testing.assert_allclose(whole.ravel(), overlap(a[i], b[j]), rtol=0, atol=1e-6)
    monkeypatch.setattr(sys.modules["al_rotate.boxes.iou"], "_PAIRS_AT_ONCE", 13)
    np.testing.assert_array_equal(boxes.iou(a, b), whole)
    rows_, columns = boxes.near_pairs(a, b)
    order = np.lexsort((columns, rows_))
    np.testing.assert_array_equal(order, np.arange(len(order)))


# Shapes, dtypes, refusals.


def test_empty_input_gives_empty_output() -> None:
    assert boxes.to_corners([]).shape == (0, 4, 2)
    assert boxes.from_corners([]).shape == (0, 5)
    assert boxes.canonical(np.zeros((0, 5), np.float32)).shape == (0, 5)
    assert boxes.area([]).shape == (0,)
    assert boxes.to_hbb([]).shape == (0, 4)
    assert boxes.iou([], [[1, 2, 3, 4, 0]]).shape == (0, 1)
    assert boxes.iou([[1, 2, 3, 4, 0]], []).shape == (1, 0)
    assert boxes.iou([], [], paired=True).shape == (0,)


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
    boxes.iou(rotated, rotated)
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
    with pytest.raises(ValueError, match="expected as many boxes in a as in b when paired, got 1 and 2"):
        boxes.iou([[1, 2, 3, 4, 0]], [[1, 2, 3, 4, 0]] * 2, paired=True)


# MMRotate and mmcv.


def scene(seed: int, n: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return rng.uniform([0, 0, 4, 4, -6], [300, 300, 90, 40, 6], (n, 5)).astype(np.float32)


@pytest.mark.mm
@pytest.mark.parametrize("version", VERSIONS)
def test_canonical_is_mmrotates(version: boxes.Version) -> None:
    torch = pytest.importorskip("torch")
    structures = pytest.importorskip("mmrotate.structures.bbox")
    rotated = scene(5, 2000)
    theirs = structures.RotatedBoxes(torch.from_numpy(rotated.copy())).regularize_boxes(version).numpy()
    np.testing.assert_allclose(boxes.canonical(rotated, version), theirs, rtol=0, atol=2e-6)


@pytest.mark.mm
def test_corners_are_mmrotates() -> None:
    torch = pytest.importorskip("torch")
    structures = pytest.importorskip("mmrotate.structures.bbox")
    rotated = scene(6, 500)
    theirs = structures.RotatedBoxes.rbox2corner(torch.from_numpy(rotated)).numpy()
    distances = np.linalg.norm(boxes.to_corners(rotated)[:, :, None] - theirs[:, None], axis=-1)
    assert distances.min(axis=2).max() < 1e-3


@pytest.mark.mm
def test_iou_is_mmcvs() -> None:
    torch = pytest.importorskip("torch")
    ops = pytest.importorskip("mmcv.ops")
    a, b = scene(7, 150), scene(8, 120)
    theirs = ops.box_iou_rotated(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    np.testing.assert_allclose(boxes.iou(a, b), theirs, rtol=0, atol=1e-4)
