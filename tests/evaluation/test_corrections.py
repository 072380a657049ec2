import numpy as np
import pytest
import shapely

from al_rotate import boxes as rboxes
from al_rotate.data.instances import RotatedInstances
from al_rotate.evaluation.corrections import COLUMNS, COUNTS, compare, counts, left_alone, partners, read_table, summary
from al_rotate.evaluation.tolerance import Tolerance

CLASSES = ("ship", "plane")
SHIP, PLANE = 0, 1
A = [10, 10, 10, 4, 0]
FAR = [80, 80, 10, 4, 0.5]
QUARTER = np.pi / 2


def shifted(dx):
    """A moved along its long side: IoU (10 - dx) / (10 + dx)."""
    return [10 + dx, 10, 10, 4, 0]


def put(objects, image_id="a", **more):
    """One image with (box, class) objects."""
    boxes, labels = rboxes.canonical([b for b, _ in objects]), [c for _, c in objects]
    return RotatedInstances([image_id], [0, len(objects)], boxes, labels, classes=CLASSES, **more)


def numbers(table):
    """kept, added, moved, relabelled, deleted of one image."""
    return tuple(counts(table, ["a"])[[f"n_{name}" for name in COUNTS]].loc[0])


@pytest.mark.parametrize(
    ("predicted", "true", "expected"),
    [
        ([], [], (0, 0, 0, 0, 0)),
        ([(A, SHIP)], [(A, SHIP)], (1, 0, 0, 0, 0)),
        ([], [(A, SHIP), (FAR, SHIP)], (0, 2, 0, 0, 0)),
        ([(A, SHIP), (FAR, SHIP)], [], (0, 0, 0, 0, 2)),
        ([(A, PLANE)], [(A, SHIP)], (0, 0, 0, 1, 0)),
        # Off by a pixel (IoU 9 / 11): left; more: moved; IoU 1/2 at dx = 10/3: still the same object; below not.
        ([(shifted(1), SHIP)], [(A, SHIP)], (1, 0, 0, 0, 0)),
        ([(shifted(1.1), SHIP)], [(A, SHIP)], (0, 0, 1, 0, 0)),
        ([(shifted(3.3), PLANE)], [(A, SHIP)], (0, 0, 1, 1, 0)),
        ([(shifted(3.4), SHIP)], [(A, SHIP)], (0, 1, 0, 0, 1)),
        # One true box takes one prediction, the nearer one.
        ([(shifted(0.6), SHIP), (A, SHIP)], [(A, SHIP)], (1, 0, 0, 0, 1)),
        # Equal IoU: the one of the right class, although it comes later.
        ([(A, PLANE), (A, SHIP)], [(A, SHIP)], (1, 0, 0, 0, 1)),
        ([(A, SHIP)], [(A, PLANE), (A, SHIP)], (1, 1, 0, 0, 0)),
        # Nearer of a wrong class comes before farther of the right one.
        ([(A, PLANE), (shifted(1), SHIP)], [(A, SHIP)], (0, 0, 0, 1, 1)),
        # Greedy: shifted(2.8) with shifted(4) first (IoU 0.79), which leaves shifted(1.3) to A (0.77).
        ([(shifted(1.3), SHIP), (shifted(2.8), SHIP)], [(A, SHIP), (shifted(4), SHIP)], (0, 0, 2, 0, 0)),
        # The same rectangle written with another angle.
        ([([10, 10, 4, 10, QUARTER], SHIP)], [(A, SHIP)], (1, 0, 0, 0, 0)),
        # A turn by t moves the corners of a square of side 10 by 10 sqrt(2) sin(t / 2): a pixel at t = 0.1415.
        ([([0, 0, 10, 10, 0.141], SHIP)], [([0, 0, 10, 10, 0], SHIP)], (1, 0, 0, 0, 0)),
        ([([0, 0, 10, 10, 0.142], SHIP)], [([0, 0, 10, 10, 0], SHIP)], (0, 0, 1, 0, 0)),
        ([([0, 0, 10, 10, 0.1 - QUARTER], SHIP)], [([0, 0, 10, 10, 0], SHIP)], (1, 0, 0, 0, 0)),
    ],
)
def test_what_overlap_tells(predicted, true, expected):
    table = compare(put(predicted), put(true))
    assert numbers(table) == expected
    assert {*table["matched_by"].dropna()} <= {"overlap"}


def test_the_least_iou_of_before_is_still_taken():
    with pytest.warns(DeprecationWarning, match="use tolerance=, good_enough= will go in 0.3"):
        table = compare(put([(shifted(0.6), SHIP)]), put([(A, SHIP)]), good_enough=0.9)  # 9.4 / 10.6 = 0.887
    assert numbers(table) == (0, 0, 1, 0, 0)


def test_what_is_left_alone_stays_as_it_was_predicted():
    """A ship off by a pixel, called a plane; one off by two; one that nobody predicted; and another tolerance."""
    predicted = put([(shifted(1), PLANE), ([40, 42, 10, 4, 0], SHIP)])
    labels = put([(FAR, SHIP), ([40, 40, 10, 4, 0], SHIP), (A, SHIP)])
    left = left_alone(predicted, labels, same_object=0.2)
    assert left.labels.tolist() == labels.labels.tolist()
    np.testing.assert_allclose(left.boxes, [FAR, [40, 40, 10, 4, 0], shifted(1)], atol=1e-6)
    strict = Tolerance(pixels=0.9)
    assert left_alone(predicted, labels, tolerance=strict) == labels
    assert numbers(compare(predicted, labels, tolerance=strict)) == (0, 2, 1, 1, 1)


def test_one_row_a_box_with_everything_in_it():
    predicted = put([(A, SHIP), (FAR, PLANE), ([40, 40, 20, 10, 0], PLANE)], scores=[0.5, 0.75, 0.25])
    # Moved by (3, 4), twice as long and wide, turned by 0.25; and the same object, by its id.
    true = put([(FAR, PLANE), ([43, 44, 40, 20, 0.25], SHIP), ([5, 90, 6, 3, 0], SHIP)])
    table = compare(predicted, true, ["p0", "p1", "p2"], ["p1", "p2", None])
    assert list(table.columns) == list(COLUMNS)
    assert table["image_id"].tolist() == ["a"] * 4
    assert table["what"].tolist() == ["deleted", "kept", "changed", "added"]
    assert table["moved"].tolist() == table["relabelled"].tolist() == [False, False, True, False]
    assert table["predicted_class"].tolist() == ["ship", "plane", "plane", None]
    assert table["corrected_class"].tolist() == [None, "plane", "ship", "ship"]
    assert table["matched_by"].tolist() == [None, "id", "id", None]
    np.testing.assert_equal(table["score"].tolist(), [0.5, 0.75, 0.25, np.nan])
    shapes = [shapely.Polygon(c) for c in rboxes.to_corners([[40, 40, 20, 10, 0], [43, 44, 40, 20, 0.25]])]
    iou = shapes[0].intersection(shapes[1]).area / shapes[0].union(shapes[1]).area
    measures = table[["iou", "centre_shift", "size_ratio", "angle_error"]].to_numpy()
    np.testing.assert_allclose(measures[1], [1, 0, 1, 0], atol=1e-9)
    np.testing.assert_allclose(measures[2], [iou, 5, 2, np.degrees(0.25)], atol=1e-5)
    assert np.isnan(measures[[0, 3]]).all()


def test_an_id_is_the_same_object_wherever_it_went():
    predicted, ids = put([(A, SHIP), (FAR, SHIP)]), ["p", "q"]
    far = put([(FAR, SHIP)])
    by_id = compare(predicted, far, ids, ["p"])
    assert by_id["what"].tolist() == ["changed", "deleted"]
    assert by_id["iou"].tolist()[0] == 0
    assert by_id["centre_shift"].tolist()[0] == pytest.approx(np.hypot(70, 70))
    # A new region in the place of a deleted one is what overlap says it is.
    by_overlap = compare(predicted, far, ids, ["new"])
    assert by_overlap["what"].tolist() == ["deleted", "kept"]
    assert by_overlap["matched_by"].tolist() == [None, "overlap"]
    # What an id has taken, overlap does not get.
    both = compare(predicted, put([(FAR, SHIP), (FAR, SHIP)]), ids, ["p", None])
    assert both[["what", "matched_by"]].values.tolist() == [["changed", "id"], ["kept", "overlap"]]


@pytest.mark.parametrize(
    ("box", "moved"),
    [
        ([10, 10, 10, 4, 0], False),
        ([10.0099, 10, 10, 4, 0], False),
        ([10.0101, 10, 10, 4, 0], True),  # IoU 0.998
        ([10, 10, 10, 4, 0.0018], False),  # corners 5.385 px from the centre go 0.0097
        ([10, 10, 10, 4, 0.0019], True),  # and 0.0102
        ([10, 10, 10, 4, np.pi], False),
        ([10, 10, 4, 10, QUARTER], False),
    ],
)
def test_moved_by_more_than_rounding(box, moved):
    assert compare(put([(A, SHIP)]), put([(box, SHIP)]), ["p"], ["p"])["moved"].tolist() == [moved]
    square, turned = [10, 10, 8, 8, 0.3], [10, 10, 8, 8, 0.3 - QUARTER]
    assert compare(put([(square, SHIP)]), put([(turned, SHIP)]), ["p"], ["p"])["what"].tolist() == ["kept"]


@pytest.mark.parametrize(
    ("predicted", "corrected", "error"),
    [
        ([20, 10, 0], [20, 10, 0.5], np.degrees(0.5)),
        ([20, 10, -1.5], [20, 10, 1.5], np.degrees(np.pi - 3)),  # past the end of le90
        ([20, 10, 0], [20, 10, QUARTER], 90),
        ([10, 10, 0], [10, 10, 1.5], 90 - np.degrees(1.5)),
        # A quarter turn of sides 20 and 19 costs IoU 19 / 21 = 0.905: none to speak of; 20 and 18.9: 0.896.
        ([20, 19, 0], [20, 19, 1.5], 90 - np.degrees(1.5)),
        ([20, 18.9, 0], [20, 18.9, 1.5], np.degrees(1.5)),
        # The corrected box is the one that knows its shape.
        ([20, 10, 0], [20, 20, 1.5], 90 - np.degrees(1.5)),
        ([20, 20, 0], [20, 10, 1.5], np.degrees(1.5)),
    ],
)
def test_angle_errors_have_the_boxs_own_period(predicted, corrected, error):
    before, after = ([([50, 50, *sides], SHIP)] for sides in (predicted, corrected))
    got = compare(put(before), put(after), ["p"], ["p"])["angle_error"]
    assert got.tolist() == pytest.approx([error], abs=1e-4)


def test_many_images_in_the_order_of_the_labels():
    predicted = RotatedInstances(["z", "b", "a"], [0, 1, 3, 3], [A, A, FAR], [SHIP, SHIP, PLANE], classes=CLASSES)
    labels = RotatedInstances(
        ["a", "b", "c", "d"], [0, 1, 2, 3, 3], [A, FAR, FAR], [SHIP, PLANE, SHIP], classes=CLASSES
    )
    table = compare(predicted, labels, [None, "x", "y"], ["x", "x", None])  # an id is one in its own image
    assert table[["image_id", "what"]].values.tolist() == [
        ["a", "added"],
        ["b", "changed"],
        ["b", "deleted"],
        ["c", "added"],
    ]
    assert counts(table, ["d", "b"]).values.tolist() == [["d", 0, 0, 0, 0, 0], ["b", 0, 0, 1, 1, 1]]
    assert counts(table)["image_id"].tolist() == ["a", "b", "c"]


def test_nothing_to_compare():
    table = compare(RotatedInstances.empty(), RotatedInstances.empty(["a"]))
    assert list(table.columns) == list(COLUMNS)
    assert len(table) == len(counts(table)) == len(summary(table)) == 0
    assert counts(table, ["a"]).values.tolist() == [["a", 0, 0, 0, 0, 0]]


def test_every_box_is_told_of_once():
    """Of random scenes: the rows are all boxes, no box is in two, and the measures are those of shapely's polygons."""
    rng = np.random.default_rng(5)
    sides = []
    for _ in range(2):
        per_image = rng.integers(0, 12, 30)
        total = per_image.sum()
        boxes = np.column_stack(
            [rng.uniform(0, 40, (total, 2)), rng.uniform(3, 30, (total, 2)), rng.uniform(-2, 2, total)]
        )
        ids = [f"i{k}" for k in range(30)]
        offsets = np.cumsum([0, *per_image])
        sides.append(
            RotatedInstances(ids, offsets, rboxes.canonical(boxes), rng.integers(0, 2, total), classes=CLASSES)
        )
    predicted, labels = sides
    table = compare(predicted, labels, same_object=0.3)
    assert (table["what"] != "added").sum() == predicted.n_boxes
    assert (table["what"] != "deleted").sum() == labels.n_boxes
    pairs = table[table["matched_by"].notna()]
    assert len(pairs) > 20
    assert (pairs["iou"] >= 0.3).all()
    for image_id, rows in pairs.groupby("image_id"):
        a, b = (shapely.polygons(rboxes.to_corners(part[image_id].boxes.astype(float))) for part in sides)
        overlap = shapely.area(shapely.intersection(a[:, None], b)) / shapely.area(shapely.union(a[:, None], b))
        # Taken greedily, the best pair of an image is in its table.
        assert rows["iou"].max() == pytest.approx(overlap.max(), abs=1e-6)
        assert all(np.isclose(overlap, value, atol=1e-6).any() for value in rows["iou"])


def test_summary_by_class_and_by_round():
    predicted = put([(A, SHIP), (FAR, SHIP), ([40, 10, 10, 4, 0], PLANE), ([60, 10, 10, 4, 0], SHIP)])
    true = put([(shifted(1), SHIP), (FAR, PLANE), ([40, 13, 10, 4, 0], PLANE), ([10, 90, 10, 4, 0], PLANE)])
    table = compare(predicted, true, list("abcd"), ["a", "b", "c", None]).assign(round=[0, 0, 1, 1, 1])
    by_class = summary(table)
    assert by_class.index.tolist() == ["plane", "ship"]
    assert by_class.columns.tolist()[:7] == ["predicted", *COUNTS, "kept_share"]
    assert by_class.loc["ship"].tolist()[:6] == [3, 0, 0, 1, 1, 1]
    assert by_class.loc["plane"].tolist()[:6] == [1, 0, 1, 1, 0, 0]
    assert by_class["kept_share"].tolist() == [0, 0]
    assert by_class.loc["ship", ["iou", "centre_shift"]].tolist() == pytest.approx([9 / 11, 1])  # of the moved one
    assert by_class.loc["plane", ["iou", "centre_shift", "size_ratio"]].tolist() == pytest.approx([1 / 7, 3, 1])
    by_round = summary(table, "round")
    assert by_round.index.tolist() == [0, 1]
    assert by_round["predicted"].tolist() == [2, 2]
    assert by_round["centre_shift"].tolist() == pytest.approx([1, 3])
    only_added = summary(table[table["what"] == "added"])
    assert only_added.index.tolist() == ["plane"]
    assert only_added[["kept_share", "iou"]].isna().all(axis=None)


def test_tables_come_back_from_csv(tmp_path):
    names = ("NA", "7")
    predicted = put([(A, SHIP), (FAR, SHIP)], "007", scores=[0.5, 0.25]).replace(classes=names)
    table = compare(predicted, put([(shifted(1), PLANE), ([5, 90, 6, 3, 0], PLANE)], "007").replace(classes=names))
    table.to_csv(tmp_path / "table.csv", index=False)
    again = read_table(tmp_path / "table.csv")
    assert again.to_dict("list").keys() == table.to_dict("list").keys()
    for name in COLUMNS:
        np.testing.assert_equal(again[name].tolist(), table[name].tolist())
    assert again["predicted_class"].tolist() == ["NA", "NA", None]
    compare(RotatedInstances.empty(), RotatedInstances.empty()).to_csv(tmp_path / "empty.csv", index=False)
    assert len(read_table(tmp_path / "empty.csv")) == 0


def test_refusals():
    labels = put([(A, SHIP), (A, SHIP)])
    with pytest.raises(ValueError, match=r"labels' classes \('ship', 'plane'\), got \('plane', 'ship'\)"):
        compare(labels.replace(classes=("plane", "ship")), labels)
    with pytest.raises(ValueError, match="expected label_ids of 2 boxes, one each, got 1"):
        compare(labels, labels, label_ids=["p"])
    with pytest.raises(ValueError, match="distinct predicted_ids within an image, got one twice for image 'a'"):
        compare(labels, labels, ["p", "p"])


def test_partners_are_the_pairs_of_the_table():
    predicted = put([(A, SHIP), (FAR, PLANE), ([50, 50, 10, 4, 0], SHIP)], scores=[0.9, 0.8, 0.7])
    labels = put([(FAR, SHIP), ([30, 80, 10, 4, 0], SHIP), (shifted(1), SHIP)])
    assert partners(predicted, labels).tolist() == [2, 0, -1]
    assert compare(predicted, labels)["what"].tolist() == ["kept", "changed", "deleted", "added"]
    assert partners(put([]), labels).tolist() == []
