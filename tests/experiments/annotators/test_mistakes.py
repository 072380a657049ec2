"""Mistakes come at their rates, and are the same whenever images are queried."""

import numpy as np
import pytest

import al_rotate as al
from al_rotate.data import RotatedInstances
from al_rotate.evaluation.tolerance import Tolerance, corner_distances
from experiments.annotators.mistakes import Mistakes


def labels(n=6000, seed=0):
    rng = np.random.default_rng(seed)
    area = rng.uniform(1, 4, (n, 1))
    boxes = np.column_stack([rng.uniform(0, 500, (n, 2)), area * [20, 10], rng.uniform(-1, 1, n)])
    return RotatedInstances(["a"], [0, n], boxes, rng.integers(0, 3, n), classes=("x", "y", "z"))


def areas(instances):
    return instances.boxes[:, 2] * instances.boxes[:, 3]


def test_nothing_is_wrong_by_default():
    assert Mistakes().apply(labels(), 0) == labels()


def test_a_seed_makes_the_same_mistakes():
    mistakes = Mistakes(shift=0.1, degrees=3, missed=0.3, confused=0.1)
    assert mistakes.apply(labels(), 1) == mistakes.apply(labels(), 1)
    assert mistakes.apply(labels(), 1) != mistakes.apply(labels(), 2)


def test_boxes_move_by_so_much():
    before, after = labels(), Mistakes(shift=0.1, degrees=4).apply(labels(), 0)
    short = before.boxes[:, 2:4].min(axis=1)
    assert np.std((after.boxes[:, 0] - before.boxes[:, 0]) / short) == pytest.approx(0.05, rel=0.05)
    turned = (after.boxes[:, 4] - before.boxes[:, 4] + np.pi / 2) % np.pi - np.pi / 2
    assert np.degrees(np.std(turned)) == pytest.approx(4, rel=0.05)
    assert np.median(al.boxes.iou(before.boxes, after.boxes, paired=True)) > 0.75


def test_a_person_leaves_a_perfect_box_alone():
    """At the size of the sandbox, a fixed IoU of 0.9 called nearly all boxes that are right moved."""
    person, before = Mistakes(shift=0.1, degrees=4), labels()
    small = before.replace(boxes=before.boxes * [1, 1, 0.5, 0.5, 1])  # 10 to 40 px long, half as wide
    drawn = person.apply(small, 0)
    perfect = small.replace(scores=np.ones(small.n_boxes))
    assert (al.boxes.iou(perfect.boxes, drawn.boxes, paired=True) >= 0.9).mean() < 0.12
    assert person.tolerance.leaves(perfect.boxes, drawn.boxes).mean() > 0.85
    distances = corner_distances(perfect.boxes.astype(float), drawn.boxes.astype(float)) ** 2
    short, half = small.boxes[:, 3], np.hypot(small.boxes[:, 2], small.boxes[:, 3]) / 2
    off = np.sqrt((distances.mean(axis=2).min(axis=0) / ((0.1 * short) ** 2 + (np.radians(4) * half) ** 2)).mean())
    assert off == pytest.approx(1, rel=0.03)  # so sqrt(2) times it is what two drawings differ by
    assert Mistakes().tolerance == Tolerance()


def test_only_the_smallest_third_is_missed():
    before, after = labels(), Mistakes(missed=0.3).apply(labels(), 0)
    assert 1 - after.n_boxes / before.n_boxes == pytest.approx(0.1, abs=0.01)
    limit = np.quantile(areas(before), 1 / 3)
    assert (areas(after) > limit).sum() == (areas(before) > limit).sum()


def test_confused_boxes_have_another_class():
    before, after = labels(), Mistakes(confused=0.2).apply(labels(), 0)
    assert np.mean(after.labels != before.labels) == pytest.approx(0.2, abs=0.02)
    assert set(after.labels) == {0, 1, 2}
    single = RotatedInstances(["a"], [0, 1], [[5, 5, 4, 2, 0]], [0], classes=("x",))
    assert Mistakes(confused=1.0).apply(single, 0).labels.tolist() == [0]
