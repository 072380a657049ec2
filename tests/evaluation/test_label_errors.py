"""Doubts about labels: by hand, and on labels that were corrupted on purpose."""

import numpy as np
import pandas as pd
import pytest
from helpers.built import CLASSES, pool

from al_rotate.data.instances import RotatedInstances
from al_rotate.evaluation import label_errors
from al_rotate.evaluation.label_errors import KINDS, OLD_KINDS, find_label_errors, rank_images

AT = (50, 50, 40, 10, 0)  # a shift by s along it leaves (40 - s) / (40 + s)
FAR = (50, 250, 40, 10, 0)


def labels(images, **columns):
    return pool({i: [(k, 1.0, box) for k, box in boxes] for i, boxes in images.items()}, **columns).replace(scores=None)


def shifted(pixels):
    return (50 + pixels, *AT[1:])


def doubts(detections, truth, **options):
    table = find_label_errors(pool(detections), labels(truth), **options)
    return [(row.kind, pytest.approx(row.suspicion, abs=1e-6), row.label, row.detection) for row in table.itertuples()]


def test_no_doubt():
    assert doubts({"a": [(0, 0.9, AT)], "b": []}, {"a": [(0, AT)], "b": []}) == []


def test_overlooked():
    """A detection by itself is in doubt, one that has a label nearby is not."""
    table = find_label_errors(pool({"a": [(0, 0.9, AT), (1, 0.75, FAR)]}), labels({"a": [(0, AT)]}))
    row = table.iloc[0]
    assert len(table) == 1
    assert (row["kind"], row["label"], row["detection"], row["was"], row["found"]) == ("overlooked", -1, 1, "", "plane")
    assert row["suspicion"] == row["probability"] == 0.75
    assert (row["cx"], row["cy"]) == (50, 250)
    assert doubts({"a": [(0, 0.9, shifted(30))]}, {"a": [(0, AT)]})[0][0] == "badly_located"  # IoU 1/7


def test_swapped():
    """Less what a detection of the label's own class says."""
    assert doubts({"a": [(1, 0.75, AT)]}, {"a": [(0, AT)]}) == [("swapped", 0.75, 0, 0)]
    both = {"a": [(1, 0.75, AT), (0, 0.5, shifted(4))]}
    assert doubts(both, {"a": [(0, AT)]}) == [("swapped", 0.25, 0, 0)]
    assert doubts({"a": [(1, 0.5, AT), (0, 0.75, shifted(4))]}, {"a": [(0, AT)]}) == []
    # Below the threshold they are not at the same place: one more object, perhaps, and no doubt about this one.
    assert doubts({"a": [(1, 0.75, shifted(30))]}, {"a": [(0, AT)]}) == []


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_faint_box_of_the_labels_class_hides_nothing(order):
    """As NMS by class leaves them: one box twice, 0.875 plane and 0.125 ship; whichever comes first."""
    twice = [(0, 0.125, AT), (1, 0.875, AT)]
    assert doubts({"a": [twice[k] for k in order]}, {"a": [(0, AT)]}) == [("swapped", 0.75, 0, order.index(1))]


def test_badly_located():
    """Shifted by 20 of 40: IoU 20 / 60, so that 0.75 becomes 0.5; not where another detection confirms the label."""
    assert doubts({"a": [(0, 0.75, shifted(20))]}, {"a": [(0, AT)]}) == [("badly_located", 0.5, 0, 0)]
    assert doubts({"a": [(0, 0.75, shifted(20)), (0, 0.1, AT)]}, {"a": [(0, AT)]}) == []


def test_spurious_by_bayes():
    """Of 20 ships 19 are overlapped, of 10 planes 5: shares shrunk by ten labels at 24 / 30."""
    truth = {f"i{k:02d}": [(0, AT)] * (k < 20) + [(1, FAR)] * (k < 10) for k in range(20)}
    detections = {f"i{k:02d}": [(0, 0.9, AT)] * (k != 3) + [(1, 0.9, FAR)] * (k < 5) for k in range(20)}
    table = find_label_errors(pool(detections), labels(truth))
    assert (table["kind"] == "spurious").all()
    ship, plane = (19 + 8) / 30, (5 + 8) / 20
    expected = [0.02 / (0.02 + 0.98 * (1 - rate)) for rate in (ship, plane)]
    assert table["suspicion"].tolist() == pytest.approx([expected[0], *[expected[1]] * 5])
    assert table["image_id"].tolist() == ["i03", *(f"i{k:02d}" for k in range(5, 10))]
    more = find_label_errors(pool(detections), labels(truth), invented=0.5)
    assert more["suspicion"][0] == pytest.approx(0.5 / (0.5 + 0.5 * (1 - ship)))
    marked = labels(truth, difficult=np.ones(30, int))
    assert find_label_errors(pool(detections), marked)["suspicion"][0] == pytest.approx(expected[0] / 2)


def test_probabilities_take_the_place_of_scores():
    detections, truth = pool({"a": [(0, 0.9, AT), (1, 0.2, FAR)]}), labels({"a": []})
    assert find_label_errors(detections, truth, [0.25, 0.75])["suspicion"].tolist() == [0.75, 0.25]
    assert find_label_errors(detections, truth)["suspicion"].tolist() == pytest.approx([0.9, 0.2])


def test_order_of_images_does_not_matter():
    detections = pool({"a": [(0, 0.5, AT)], "b": [(1, 0.5, FAR)], "c": [(0, 0.5, FAR)]})
    truth = labels({"a": [], "b": [(1, AT)], "c": []})
    table = find_label_errors(detections, truth)
    assert find_label_errors(detections.subset("cab"), truth.subset("bca")).equals(table)
    assert table["image_id"].tolist()[:3] == ["a", "b", "c"]


def test_images_by_the_gravest_of_each_kind():
    """a: 1 - (1 - 0.5)(1 - 0.25); the second overlooked one counts for nothing, the faint one is not told."""
    detections = {
        "a": [(0, 0.5, AT), (0, 0.4, FAR), (0, 0.04, (150, 150, 40, 10, 0)), (0, 0.375, (250, 50, 40, 10, 0))]
    }
    truth = {"a": [(0, (270, 50, 40, 10, 0))], "b": [], "c": []}
    table = find_label_errors(pool(detections | {"b": [(1, 0.75, AT)], "c": []}), labels(truth))
    images = rank_images(table, ["c", "b", "a"])
    assert images["image_id"].tolist() == ["b", "a", "c"]
    assert images["rank"].tolist() == [1, 2, 3]
    assert images["score"].tolist() == pytest.approx([0.75, 1 - 0.5 * 0.75, 0])
    assert images[["n_overlooked", "n_badly_located"]].to_numpy().tolist() == [[1, 0], [2, 1], [0, 0]]
    assert images["why"].tolist() == [
        "plane at (50, 50) has no label (0.75).",
        "ship at (50, 50) has no label (0.50); ship at (50, 250) has no label (0.40); "
        "ship at (270, 50) seems to lie elsewhere (IoU 0.33) (0.25).",
        "No label of this image is in doubt.",
    ]
    assert rank_images(table.iloc[:0], []).empty


def test_an_older_table_says_the_same(tmp_path):
    detections = {"a": [(0, 0.5, AT), (1, 0.75, FAR)], "b": [(1, 0.75, AT)], "c": [(0, 0.75, shifted(20))], "d": []}
    truth = {"a": [(0, FAR)], "b": [], "c": [(0, AT)], "d": [(0, AT)]}
    table = find_label_errors(pool(detections), labels(truth))
    assert {*table["kind"]} == {*KINDS}
    old = {new: old for old, new in OLD_KINDS.items()}
    table.assign(kind=table["kind"].replace(old)).to_csv(tmp_path / "old.csv", index=False)
    older = pd.read_csv(tmp_path / "old.csv")
    assert {*older["kind"]} == {"missed", "class", "place", "spurious"}
    assert rank_images(older, "abcd").equals(rank_images(table, "abcd"))


def test_errors_of_one_suspicion_keep_their_order():
    """Swapped, overlooked, badly located; the kinds' names do not matter."""
    detections = {
        "a": [(0, 0.75, (150, 50, 40, 10, 0)), (1, 0.75, FAR), (2, 0.75, AT), (1, 0.75, (250, 50, 40, 10, 0))]
    }
    truth = {"a": [(0, FAR), (2, (250, 50, 40, 10, 0))]}
    assert find_label_errors(pool(detections), labels(truth))["kind"].tolist() == ["swapped"] * 2 + ["overlooked"] * 2


@pytest.mark.parametrize(("old", "new"), [("suspicions", find_label_errors), ("by_image", rank_images)])
def test_old_names_warn(old, new):
    with pytest.warns(DeprecationWarning, match=rf"use {new.__name__}, {old} will go in 0\.3") as caught:
        assert getattr(label_errors, old) is new
    assert caught[0].filename == __file__
    with pytest.raises(AttributeError, match="has no attribute 'doubts'"):
        _ = label_errors.doubts


def test_corrupted_labels_come_first():
    """Of 200 images with three objects 10 had a label dropped, renamed, moved or invented."""
    rng = np.random.default_rng(0)
    objects = {
        f"i{k:03d}": [
            (int(rng.integers(3)), (60 + 150 * j, 60, 40, 20, float(rng.uniform(-1.5, 1.5)))) for j in range(3)
        ]
        for k in range(200)
    }
    detections = {
        i: [(k, float(rng.uniform(0.6, 0.95)), (x + rng.normal(0, 1), y, w, h, t)) for k, (x, y, w, h, t) in boxes]
        for i, boxes in objects.items()
    }
    wrong = {f"i{k:03d}" for k in range(0, 200, 20)}
    for n, i in enumerate(sorted(wrong)):
        label, (x, y, w, h, t) = objects[i][0]
        rest = objects[i][1:]
        new = [
            rest,
            [((label + 1) % 3, (x, y, w, h, t)), *rest],
            [(label, (x + 18, y + 8, w, h, t)), *rest],
            [*objects[i], (label, (300, 300, 40, 20, 0))],
        ]
        objects[i] = new[n % 4]
    truth = labels(objects)
    images = rank_images(find_label_errors(pool(detections), truth), truth.image_ids)
    assert {*images["image_id"][:10]} == wrong
    assert images["score"][9] > images["score"][10] + 0.1


def test_refusals():
    detections, truth = pool({"a": [(0, 0.5, AT)]}), labels({"a": []})
    with pytest.raises(ValueError, match=r"expected detections on the labelled images, got 1 in one only, e\.g\. 'b'"):
        find_label_errors(detections, labels({"a": [], "b": []}))
    with pytest.raises(ValueError, match="expected detections with scores, got"):
        find_label_errors(detections.replace(scores=None), truth)
    for bad in ([0.5, 0.5], [np.nan], [1.5]):
        with pytest.raises(ValueError, match=r"expected a probability in .* for each of 1 detections"):
            find_label_errors(detections, truth, bad)
    with pytest.raises(ValueError, match="expected detections of the classes"):
        find_label_errors(detections.replace(classes=CLASSES[::-1]), truth)
    for limits in ({"invented": 2}, {"same": np.nan}, {"near": 0.6}, {"near": 0}):
        with pytest.raises(ValueError, match="expected 0 < near <= same <= 1 and invented in"):
            find_label_errors(detections, truth, **limits)
    with pytest.raises(ValueError, match="expected labels, which have no scores, got"):
        find_label_errors(detections, detections)
    with pytest.raises(ValueError, match="expected labels of the 3 classes"):
        find_label_errors(detections.replace(classes=None, labels=[7]), truth)
    with pytest.raises(ValueError, match="expected distinct images, got 2 of which 1 differ"):
        rank_images(find_label_errors(detections, truth), ["a", "a"])
    with pytest.raises(ValueError, match="expected doubts about these 1 images, got one about 'a'"):
        rank_images(find_label_errors(detections, truth), ["z"])
    assert find_label_errors(RotatedInstances.empty(["a"]), truth).empty
