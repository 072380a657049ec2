from multiprocessing.pool import ThreadPool
from types import SimpleNamespace

import numpy as np
import pytest

from al_rotate.boxes.convert import canonical
from al_rotate.data.instances import RotatedInstances
from al_rotate.evaluation.mean_ap import COCO_THRESHOLDS, average_precision, best_overlaps, evaluate

A, B, C, FAR = [10, 10, 10, 10, 0], [40, 10, 10, 10, 0], [70, 10, 10, 10, 0], [10, 90, 10, 10, 0]
NEAR_B = [42, 10, 10, 10, 0]  # rotated IoU with B: 80 / 120


def instances(images, classes=("ship", "plane"), **columns):
    """image id -> rows (box, label) or (box, label, score)."""
    rows = [row for boxes in images.values() for row in boxes]
    scores = [row[2] for row in rows] if any(len(row) == 3 for row in rows) else None
    offsets = np.cumsum([0, *map(len, images.values())])
    boxes, labels = [row[0] for row in rows], [row[1] for row in rows]
    return RotatedInstances(list(images), offsets, boxes, labels, scores, classes=classes, **columns)


LABELS = instances({"x": [(A, 0), (B, 0), (C, 0)]})
# In descending order of score: a hit, a second one on the same label, a hit at IoU 2/3, a miss.
FOUND = instances({"x": [(FAR, 0, 0.6), (A, 0, 0.9), (NEAR_B, 0, 0.7), (A, 0, 0.8)]})


# By hand: recall 1/3 1/3 2/3 2/3, precision 1 1/2 2/3 1/2.
@pytest.mark.parametrize(
    ("threshold", "mode", "ap", "recall"),
    [
        (0.5, "11points", (4 * 1 + 3 * 2 / 3) / 11, 2 / 3),
        (0.5, "area", 1 / 3 + 1 / 3 * 2 / 3, 2 / 3),
        (0.75, "11points", 4 / 11, 1 / 3),
        (0.75, "area", 1 / 3, 1 / 3),
        ((0.5, 0.75), "11points", (6 / 11 + 4 / 11) / 2, 1 / 2),
        ([0.5, 0.5, 0.75], "area", (5 / 9 + 5 / 9 + 1 / 3) / 3, 5 / 9),
        (1.0, "area", 1 / 3, 1 / 3),
    ],
)
def test_three_labels_by_hand(threshold, mode, ap, recall):
    result = evaluate(FOUND, LABELS, threshold, mode)
    assert result.mean_ap == pytest.approx(ap, abs=1e-12)
    ship = result.per_class.iloc[0]
    assert (ship["class"], ship["labels"], ship["detections"]) == ("ship", 3, 4)
    assert (ship["ap"], ship["recall"]) == (pytest.approx(ap, abs=1e-12), pytest.approx(recall))


def test_coco_thresholds():
    assert np.allclose(COCO_THRESHOLDS, np.arange(0.5, 1, 0.05))
    result = evaluate(FOUND, LABELS, COCO_THRESHOLDS)
    assert result.thresholds == COCO_THRESHOLDS
    # B is found at 0.5, 0.55, 0.6 and 0.65; A at all ten.
    assert result.mean_ap == pytest.approx((4 * 6 / 11 + 6 * 4 / 11) / 10)


def test_the_order_of_precision_at_a_recall_of_three_tenths():
    # 0.1 * 3 is more than 3 / 10 in floating point, and MMRotate's recall points are such products.
    hits = np.array([True, True, True])
    assert average_precision(hits, 10) == pytest.approx(3 / 11)
    assert average_precision(hits, 10, "area") == pytest.approx(0.3)
    assert average_precision(np.zeros(0, bool), 4) == average_precision(np.zeros(0, bool), 4, "area") == 0
    # Precision 0, 1/2, 2/3, 3/4: at every recall up to 3/3 the best that is still to come counts, 3/4.
    late = np.array([False, True, True, True])
    assert average_precision(late, 3) == average_precision(late, 3, "area") == pytest.approx(0.75)


def test_a_box_of_the_wrong_class_is_a_miss_and_hides_nothing():
    labels = instances({"x": [(A, 0), (B, 1)]})
    detections = instances({"x": [(A, 1, 0.9), (A, 0, 0.5), (B, 1, 0.4)]})
    per_class = evaluate(detections, labels).per_class.set_index("class")
    assert per_class.loc["ship", "ap"] == 1
    assert per_class.loc["plane", "ap"] == pytest.approx(1 / 2)
    overlap, row = best_overlaps(detections, labels)
    assert overlap.tolist() == pytest.approx([0, 1, 1])
    assert row.tolist() == [-1, 0, 1]


def test_a_detection_does_not_fall_back_on_its_second_label():
    # Both detections overlap A most; the second also reaches the label next to it (8/12), and is still a miss.
    labels = instances({"x": [(A, 0), ([13, 10, 10, 10, 0], 0)]})
    detections = instances({"x": [(A, 0, 0.9), ([11, 10, 10, 10, 0], 0, 0.8)]})
    assert evaluate(detections, labels, eval_mode="area").mean_ap == 1 / 2


def test_rotation_counts():
    labels = instances({"x": [([50, 50, 40, 4, 0], 0)]})
    for angle, hit in ((0.02, 1), (np.pi / 2, 0)):  # crossed bars share 16 of 304 pixels
        assert evaluate(instances({"x": [([50, 50, 40, 4, angle], 0, 1)]}), labels).mean_ap == hit


def test_equal_scores_keep_their_order():
    labels = instances({"x": [(A, 0)], "y": [(B, 0)]})
    hit_first = instances({"x": [(A, 0, 0.5)], "y": [(FAR, 0, 0.5)]})
    miss_first = instances({"x": [(FAR, 0, 0.5)], "y": [(B, 0, 0.5)]})
    assert evaluate(hit_first, labels, eval_mode="area").mean_ap == 1 / 2
    assert evaluate(miss_first, labels, eval_mode="area").mean_ap == 1 / 4


def test_images_without_a_label_count_and_images_unasked_for_do_not():
    labels = instances({"x": [(A, 0)], "empty": []})
    only_hit = {"x": [(A, 0, 0.5)]}
    assert evaluate(instances({**only_hit, "empty": [], "other": [(A, 0, 0.9)]}), labels).mean_ap == 1
    assert evaluate(instances({"empty": [(A, 0, 0.9)], **only_hit}), labels).mean_ap == pytest.approx(1 / 2)


def test_the_table_and_the_figures_of_classes():
    classes = ("ship", "plane", "court")
    labels = instances({"x": [(A, 0), (B, 1)]}, classes)
    detections = instances({"x": [(A, 0, 0.9), (C, 2, 0.9), (C, 2, 0.8)]}, classes)
    result = evaluate(detections, labels)
    assert result.per_class["class"].tolist() == ["ship", "plane", "court"]
    assert result.per_class["labels"].tolist() == [1, 1, 0]
    assert result.per_class["detections"].tolist() == [1, 0, 2]
    assert result.per_class["ap"].tolist()[:2] == result.per_class["recall"].tolist()[:2] == [1, 0]
    assert result.per_class[["ap", "recall"]].iloc[2].isna().all()  # nobody knows: there is nothing to find
    assert result.metrics() == {"mAP": 0.5, "AP/ship": 1, "AP/plane": 0}


def test_nothing_found_nothing_labelled():
    labels = instances({"x": [(A, 0)]})
    assert evaluate(RotatedInstances.empty(["x"], labels.classes), labels).metrics() == {"mAP": 0, "AP/ship": 0}
    nothing = evaluate(instances({"x": [(A, 0, 0.9)]}), RotatedInstances.empty(["x"], labels.classes))
    assert nothing.metrics() == {"mAP": 0}
    assert nothing.per_class["detections"].tolist() == [1, 0]


def test_labels_marked_difficult_count():
    hard = instances({"x": [(A, 0), (B, 0)]}, difficult=[0, 1])
    assert evaluate(instances({"x": [(A, 0, 0.9)]}), hard, eval_mode="area").mean_ap == 1 / 2


def test_without_class_names_classes_are_numbered():
    labels, detections = LABELS.replace(classes=None), FOUND.replace(classes=None)
    assert evaluate(detections, labels).per_class["class"].tolist() == ["0"]
    assert evaluate(FOUND, labels).per_class["class"].tolist() == ["ship", "plane"]


def test_evaluation_refuses_what_cannot_be_compared():
    with pytest.raises(ValueError, match="expected detections with scores, got labels"):
        evaluate(LABELS, LABELS)
    with pytest.raises(ValueError, match=r"classes \('ship', 'plane'\), got \('plane', 'ship'\)"):
        evaluate(FOUND.replace(classes=("plane", "ship")), LABELS)
    more = instances({"x": [], "y": [(A, 0)], "z": []})
    with pytest.raises(ValueError, match=r"got none for 2, e\.g\. 'y': predict on it first"):
        evaluate(FOUND, more)
    with pytest.raises(ValueError, match=r"e\.g\. 'y': truncated"):
        evaluate(FOUND.replace(skipped={"y": "truncated"}), more)
    for threshold in (0, 1.5, [], [0.5, -1], np.nan):
        with pytest.raises(ValueError, match="expected iou_threshold in"):
            evaluate(FOUND, LABELS, threshold)
    with pytest.raises(ValueError, match="11points or area, got 'voc'"):
        evaluate(FOUND, LABELS, eval_mode="voc")


def scattered(seed=0, n_images=30, n_classes=3):
    """Labels, and detections near them: moved, doubled, of a wrong class, missing, and some from nowhere."""
    rng = np.random.default_rng(seed)
    labels, detections = {}, {}
    for i in range(n_images):
        n = 0 if i % 7 == 0 else int(rng.integers(1, 9))
        size = np.stack([rng.uniform(20, 60, n), rng.uniform(10, 25, n)], axis=1)
        boxes = np.column_stack([rng.uniform(0, 200, (n, 2)), size, rng.uniform(-np.pi / 2, np.pi / 2, n)])
        classes = rng.integers(0, n_classes, n)
        again = rng.integers(0, n, int(1.5 * n)) if n else np.zeros(0, int)
        near = boxes[again] + rng.normal(0, [2, 2, 2, 1, 0.04], (len(again), 5))
        stray = np.column_stack([rng.uniform(0, 200, (2, 2)), rng.uniform(10, 40, (2, 2)), rng.uniform(0, 1, 2)])
        wrong = np.where(rng.random(len(again)) < 0.1, rng.integers(0, n_classes, len(again)), classes[again])
        all_found = np.concatenate([near, stray]) if i % 5 else np.zeros((0, 5))
        all_classes = [*wrong, *rng.integers(0, n_classes, 2)]
        labels[f"{i}"] = [(box, int(label)) for box, label in zip(canonical(boxes), classes, strict=True)]
        detections[f"{i}"] = [
            (box, int(label), rng.random()) for box, label in zip(canonical(all_found), all_classes, strict=False)
        ]
    names = tuple("abc"[:n_classes])
    return instances(detections, names), instances(labels, names)


@pytest.fixture(scope="module")
def samples():
    """`scattered` as MMRotate's evaluators are given it."""
    torch = pytest.importorskip("torch")
    detections, labels = scattered()
    nothing = {"bboxes": torch.zeros((0, 5)), "labels": torch.zeros(0, dtype=torch.long)}
    made = []
    for image_id, truth in labels:
        image = detections[image_id]
        pred = {"bboxes": image.boxes, "labels": image.labels.astype(int), "scores": image.scores}
        gt = {"bboxes": truth.boxes, "labels": truth.labels.astype(int)}
        tensors = ({k: torch.from_numpy(np.array(v)) for k, v in d.items()} for d in (pred, gt))
        sample = dict(zip(("pred_instances", "gt_instances"), tensors, strict=True))
        made.append({"img_id": image_id, "ignored_instances": nothing, **sample})
    return detections, labels, made


@pytest.mark.mm
@pytest.mark.parametrize("mode", ["11points", "area"])
def test_figures_of_mmrotate(mode, samples, monkeypatch):
    from mmrotate.evaluation.functional import mean_ap
    from mmrotate.evaluation.metrics import DOTAMetric

    # Its pool of four new processes takes half a minute to import torch; threads do the same sums.
    monkeypatch.setattr(mean_ap, "get_context", lambda method: SimpleNamespace(Pool=ThreadPool))
    per_class = []  # what it only prints
    monkeypatch.setattr(mean_ap, "print_map_summary", lambda mean, results, *_, **__: per_class.append(results))
    detections, labels, made = samples
    theirs = DOTAMetric(iou_thrs=[0.5, 0.75], eval_mode=mode)
    theirs.dataset_meta = {"classes": labels.classes}
    theirs.process([], made)
    expected = theirs.compute_metrics(theirs.results)
    at = {threshold: evaluate(detections, labels, threshold, mode) for threshold in (0.5, 0.75)}
    assert 0.05 < at[0.75].mean_ap < at[0.5].mean_ap < 0.9  # neither nothing nor everything hits
    for (threshold, ours), results in zip(at.items(), per_class, strict=True):
        assert ours.per_class["ap"].tolist() == pytest.approx([result["ap"] for result in results], abs=1e-6)
        assert ours.per_class["labels"].tolist() == [result["num_gts"] for result in results]
        assert ours.per_class["detections"].tolist() == [result["num_dets"] for result in results]
        assert ours.per_class["recall"].tolist() == pytest.approx([result["recall"][-1] for result in results])
        assert round(ours.mean_ap, 3) == pytest.approx(expected[f"AP{threshold * 100:.0f}"], abs=1.1e-3)
    assert evaluate(detections, labels, (0.5, 0.75), mode).mean_ap == pytest.approx(expected["mAP"], abs=1e-6)


@pytest.mark.mm
@pytest.mark.parametrize("mode", ["11points", "area"])
def test_the_metric_that_configs_name(mode, samples):
    from mmrotate.registry import METRICS
    from mmrotate.structures.bbox import RotatedBoxes

    from al_rotate.detection.openmmlab import (
        components as registered,  # noqa: F401  (it puts RotatedMAP into the registry)
    )

    detections, labels, made = samples
    metric = METRICS.build({"type": "RotatedMAP", "iou_thrs": [0.5, 0.75], "eval_mode": mode})
    metric.dataset_meta = {"classes": labels.classes}
    metric.process([], made[:20])
    boxed = [
        {**s, "gt_instances": {**s["gt_instances"], "bboxes": RotatedBoxes(s["gt_instances"]["bboxes"])}} for s in made
    ]
    metric.process([], boxed[20:])
    expected = evaluate(detections, labels, (0.5, 0.75), mode).metrics()
    assert metric.evaluate(len(made)) == pytest.approx({f"dota/{name}": value for name, value in expected.items()})
