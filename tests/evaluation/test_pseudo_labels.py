"""What is sure, what is left out and what is drawn, on detectors whose hit rates are known."""

import numpy as np
import pytest
from scipy.special import expit, logit

from al_rotate import RotatedInstances
from al_rotate.evaluation import calibration
from al_rotate.evaluation.pseudo_labels import PseudoLabels, choose

CLASSES = ("ship", "plane", "court")
RNG = np.random.default_rng(0)


def detect(n_images, prefix, seed, per_image=10, shares=(0.6, 0.4, 0.0)):
    """Detections far apart, right as often as their score's logit less 0.5 says, and labels under those that are."""
    rng = np.random.default_rng(seed)
    n = n_images * per_image
    scores, labels = rng.uniform(0.05, 0.995, n).astype(np.float32), rng.choice(3, n, p=shares)
    place = 50.0 + 100 * (np.arange(n) % per_image)
    boxes = np.column_stack([place, place, np.full(n, 30), np.full(n, 20), rng.uniform(-1.5, 1.5, n)])
    hits = rng.random(n) < expit(logit(scores.astype(float)) - 0.5)
    ids = [f"{prefix}{k}" for k in range(n_images)]
    offsets = np.arange(n_images + 1) * per_image
    sizes = np.full((n_images, 2), 1100)
    detections = RotatedInstances(ids, offsets, boxes, labels, scores, classes=CLASSES, image_sizes=sizes)
    kept = np.concatenate([[0], np.cumsum(hits)])[offsets]
    return detections, RotatedInstances(ids, kept, boxes[hits], labels[hits], classes=CLASSES, image_sizes=sizes), hits


@pytest.fixture(scope="module")
def answered():
    detections, labels, _ = detect(60, "labelled", seed=1)
    return detections, labels


def test_sure_boxes_are_right_as_often_as_asked_and_others_are_left_out(answered):
    pool, _, hits = detect(50, "pool", seed=2)
    chosen = choose(pool, *answered, PseudoLabels(precision=0.8, doubt=0.2), RNG)
    probabilities = calibration.fit(*answered)(pool)
    sure = probabilities >= 0.8
    assert 0.8 < hits[sure].mean() < 0.98
    assert sure.sum() < (pool.scores >= 0.8).sum()  # this detector's scores promise too much
    images = pool.image_ids[np.unique(pool.image_index[sure])]
    assert chosen.labels == pool.where(sure).subset(images).as_labels()
    assert chosen.ignored == pool.where((probabilities >= 0.2) & ~sure).subset(images).as_labels()
    assert chosen.labels.scores is None
    assert chosen.labels.counts.min() >= 1


def test_a_class_without_answers_is_never_sure(answered):
    pool, _, _ = detect(20, "pool", seed=3, shares=(0.3, 0.3, 0.4))
    chosen = choose(pool, *answered, PseudoLabels(), RNG)
    assert {*chosen.labels.labels.tolist()} == {0, 1}
    assert 2 in chosen.ignored.labels  # no background either


def test_of_two_sure_classes_on_one_object_the_surest_remains(answered):
    box, beside = [50, 50, 30, 20, 0], [90, 50, 30, 20, 0]
    boxes, scores = [box, [51, 50, 30, 20, 0], beside], [0.98, 0.99, 0.985]
    pool = RotatedInstances(["x"], [0, 3], boxes, [0, 1, 0], scores, classes=CLASSES)
    probabilities = calibration.fit(*answered)(pool)
    assert (probabilities > 0.9).all()
    chosen = choose(pool, *answered, PseudoLabels(), RNG)
    surest = int(np.argmax(probabilities[:2]))
    assert chosen.labels.labels.tolist() == [surest, 0]
    assert chosen.labels.boxes[0].tolist() == pytest.approx(boxes[surest])
    assert chosen.ignored.labels.tolist() == [1 - surest]


def test_boxes_that_cannot_be_trained_on_are_not_sure(answered):
    boxes = [[-2, 50, 30, 20, 0], [60, 50, 30, 20, 0]]
    pool = RotatedInstances(["x"], [0, 2], boxes, [0, 0], [0.99] * 2, classes=CLASSES, image_sizes=[[100, 100]])
    chosen = choose(pool, *answered, PseudoLabels(), RNG)
    assert chosen.labels.boxes[:, 0].tolist() == [60]
    assert chosen.ignored.boxes[:, 0].tolist() == [-2]


def test_images_are_drawn_where_there_are_too_many(answered):
    pool, _, _ = detect(50, "pool", seed=4)
    options = PseudoLabels(precision=0.8, per_image=0.25)  # of 60 labelled images
    drawn = [choose(pool, *answered, options, np.random.default_rng(seed)).labels for seed in (0, 0, 1)]
    assert [len(labels) for labels in drawn] == [15, 15, 15]
    assert drawn[0] == drawn[1] != drawn[2]
    every = choose(pool, *answered, PseudoLabels(precision=0.8), RNG).labels
    assert every.subset(drawn[0].image_ids) == drawn[0]


def test_nothing_without_a_calibration_and_no_labelled_image(answered):
    pool, truth, _ = detect(5, "pool", seed=5)
    few = RotatedInstances.empty(classes=CLASSES)
    chosen = choose(pool, few, few, PseudoLabels(), RNG)
    assert len(chosen.labels) == len(chosen.ignored) == 0
    assert "that takes 50 detections on labelled images" in chosen.notice
    unsure = pool.replace(scores=np.full(pool.n_boxes, 0.3))
    chosen = choose(unsure, *answered, PseudoLabels(), RNG)
    assert (len(chosen.labels), chosen.notice) == (
        0,
        "no detection is right with a probability of 0.9, of a class with 10 hits",
    )
    with pytest.raises(ValueError, match=r"without labels, got 5, e\.g\. 'pool0'"):
        choose(pool, answered[0], RotatedInstances.concat([answered[1], truth]), PseudoLabels(), RNG)


@pytest.mark.parametrize("options", [{"precision": 1.1}, {"doubt": 0}, {"doubt": 0.9}, {"per_image": 0}])
def test_values_out_of_their_ranges(options):
    with pytest.raises(ValueError, match="expected pseudo-labels with"):
        PseudoLabels(**options)
