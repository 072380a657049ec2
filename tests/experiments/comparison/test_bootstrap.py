"""The bootstrap's weighted mAP against the library's own on images repeated as often as they were drawn."""

import numpy as np
import pytest

import al_rotate as al
from al_rotate.data import RotatedInstances
from experiments.comparison import bootstrap

CLASSES = ("ship", "plane", "court")


def scenes(n_images=14, seed=0):
    """Detections and labels: some labels are detected, some twice, and each image has a false positive."""
    rng = np.random.default_rng(seed)
    labels, detections = [], []
    for k in range(n_images):
        n = int(rng.integers(0, 5))
        boxes = np.column_stack([40 * np.arange(n) + 20.0, np.full(n, 30.0), np.tile([24, 12, 0.3], (n, 1))])
        classes = rng.integers(0, 3, n)
        labels.append(RotatedInstances([f"i{k}"], [0, n], boxes, classes, classes=CLASSES))
        rows = np.concatenate([np.flatnonzero(rng.random(n) < 0.8), np.flatnonzero(rng.random(n) < 0.3)])
        detected = boxes[rows] + rng.normal(0, 1.5, (len(rows), 5)) * [1, 1, 1, 1, 0.02]
        detected = np.concatenate([detected, [[300.0, 300, 20, 10, 0]]])
        predicted = np.append(classes[rows], rng.integers(0, 3))
        scores, offsets = rng.random(len(detected)), [0, len(detected)]
        detections.append(RotatedInstances([f"i{k}"], offsets, detected, predicted, scores, classes=CLASSES))
    return RotatedInstances.concat(detections), RotatedInstances.concat(labels)


def repeated(instances, drawn):
    """The images at these positions, each under a name of its own."""
    parts = []
    for k, position in enumerate(drawn):
        image = instances[instances.image_ids[position]]
        columns = image.offsets, image.boxes, image.labels, image.scores
        parts.append(RotatedInstances([f"d{k}"], *columns, classes=CLASSES))
    return RotatedInstances.concat(parts)


@pytest.mark.parametrize("eval_mode", ["11points", "area"])
def test_each_draw_equals_evaluate_on_the_drawn_images(eval_mode):
    detections, labels = scenes()
    values = bootstrap.mean_ap(detections, labels, 12, seed=5, eval_mode=eval_mode)
    rng = np.random.default_rng(5)
    for value in values:
        drawn = rng.integers(0, len(labels), len(labels))
        expected = al.evaluate(repeated(detections, drawn), repeated(labels, drawn), eval_mode=eval_mode)
        assert value == pytest.approx(expected.mean_ap, abs=1e-9)


def test_images_that_overlap_are_drawn_together():
    detections, labels = scenes()
    group = [k // 5 for k in range(14)]  # five, five and four images
    chains = [(f"i{k}", f"i{k + 1}") for k in range(13) if group[k] == group[k + 1]]
    values = bootstrap.mean_ap(detections, labels, 12, [*chains, ("i0", "elsewhere")], seed=5)
    rng = np.random.default_rng(5)
    for value in values:
        drawn = [k for number in rng.integers(0, 3, 3) for k in range(14) if group[k] == number]
        assert value == pytest.approx(
            al.evaluate(repeated(detections, drawn), repeated(labels, drawn)).mean_ap, abs=1e-9
        )


def test_draws_are_the_same_for_other_detections_in_another_order():
    detections, labels = scenes()
    shuffled = detections.subset(detections.image_ids[::-1])
    assert np.array_equal(bootstrap.mean_ap(detections, labels, 20), bootstrap.mean_ap(shuffled, labels, 20))


def test_perfect_detections_are_perfect_in_every_draw():
    _, labels = scenes()
    perfect = labels.replace(scores=np.ones(labels.n_boxes))
    assert bootstrap.mean_ap(perfect, labels, 20) == pytest.approx(np.ones(20))
