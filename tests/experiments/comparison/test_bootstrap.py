"""The bootstrap's weighted mAP against the library's own on images that are there as often as they were drawn."""

import numpy as np
import pytest
import resampling

import al_rotate as al
from al_rotate.data.instances import RotatedInstances

CLASSES = ("ship", "plane", "court")


def scenes(m=14, seed=0):
    """Labels, and detections that hit some of them, some twice, and some of nothing."""
    rng = np.random.default_rng(seed)
    truth, found = [], []
    for k in range(m):
        n = int(rng.integers(0, 5))
        boxes = np.column_stack([40 * np.arange(n) + 20.0, np.full(n, 30.0), np.tile([24, 12, 0.3], (n, 1))])
        labels = rng.integers(0, 3, n)
        truth.append(RotatedInstances([f"i{k}"], [0, n], boxes, labels, classes=CLASSES))
        rows = np.concatenate([np.flatnonzero(rng.random(n) < 0.8), np.flatnonzero(rng.random(n) < 0.3)])
        seen, classes = boxes[rows] + rng.normal(0, 1.5, (len(rows), 5)) * [1, 1, 1, 1, 0.02], labels[rows]
        seen = np.concatenate([seen, [[300.0, 300, 20, 10, 0]]])
        classes = np.append(classes, rng.integers(0, 3))
        scores = rng.random(len(seen))
        found.append(RotatedInstances([f"i{k}"], [0, len(seen)], seen, classes, scores, classes=CLASSES))
    return RotatedInstances.concat(found), RotatedInstances.concat(truth)


def repeated(instances, drawn):
    """The images that were drawn, each under a name of its own."""
    parts = []
    for k, position in enumerate(drawn):
        one = instances[instances.image_ids[position]]
        parts.append(RotatedInstances([f"d{k}"], one.offsets, one.boxes, one.labels, one.scores, classes=CLASSES))
    return RotatedInstances.concat(parts)


def test_each_draw_is_what_evaluate_says_of_the_drawn_images():
    found, truth = scenes()
    got = resampling.mean_ap(found, truth, 12, seed=5)
    rng = np.random.default_rng(5)
    for value in got:
        drawn = rng.integers(0, len(truth), len(truth))
        assert value == pytest.approx(al.evaluate(repeated(found, drawn), repeated(truth, drawn)).mean_ap, abs=1e-9)


def test_draws_are_the_same_for_other_detections_in_another_order():
    found, truth = scenes()
    shuffled = found.subset(found.image_ids[::-1])
    assert np.array_equal(resampling.mean_ap(found, truth, 20), resampling.mean_ap(shuffled, truth, 20))


def test_perfect_detections_are_perfect_in_every_draw():
    _, truth = scenes()
    perfect = truth.replace(scores=np.ones(truth.n_boxes))
    assert resampling.mean_ap(perfect, truth, 20) == pytest.approx(np.ones(20))
