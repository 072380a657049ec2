"""What strategies are told: by hand."""

import numpy as np
import pytest

from al_rotate.data.instances import RotatedInstances
from al_rotate.sampling import NotCalibrated, QueryContext
from al_rotate.sampling.costs import ExpectedCost


def made(images, scores=None):
    """{image id: boxes as (label, x)}; all 20 by 10."""
    rows = [row for boxes in images.values() for row in boxes]
    boxes = [[x, 50, 20, 10, 0] for _, x in rows]
    offsets = np.cumsum([0, *map(len, images.values())])
    return RotatedInstances(
        list(images),
        offsets,
        np.reshape(boxes, (-1, 5)),
        [label for label, _ in rows],
        scores,
        classes=["ship", "plane"],
    )


LABELS = made({"a": [(0, 50), (1, 90)], "b": [(0, 50)], "c": [], "d": [(1, 10)]})


def test_nothing_is_known():
    context = QueryContext()
    assert context.missed_object_rate == 0.5
    assert context.held_out_map == 0
    assert context.class_counts(3).tolist() == [0, 0, 0]
    assert context.calibration.notice
    assert context.cost == ExpectedCost()
    with pytest.raises(
        ValueError, match=r"expected QueryContext\(views=...\) for a strategy that compares views of an image"
    ):
        context.predict_views(["a"])


def test_counts_and_rates():
    """Of the two images without a detection one held something: (1 + 1) / (2 + 2)."""
    context = QueryContext(LABELS, made({"a": [(0, 50)], "c": [], "d": []}, [0.9]))
    assert context.class_counts(2).tolist() == [2, 2]
    assert context.missed_object_rate == 0.5
    assert QueryContext(LABELS, made({"b": [], "d": []}, [])).missed_object_rate == 0.75
    assert QueryContext(LABELS, made({"c": []}, [])).missed_object_rate == pytest.approx(1 / 3)


def test_held_out_map_is_over_the_images_that_were_detected_on():
    context = QueryContext(LABELS, made({"a": [(0, 50), (1, 90)], "c": []}, [0.9, 0.8]))
    assert context.held_out_map == 1.0
    assert QueryContext(LABELS, made({"a": [(0, 50), (1, 70)]}, [0.9, 0.8])).held_out_map == pytest.approx(0.5)


def test_probabilities_warn_while_they_are_scores():
    candidates = made({"x": [(0, 50)]}, [0.25])
    with pytest.warns(NotCalibrated, match="scores are not calibrated: that takes 50 detections .* there are 0"):
        assert QueryContext().probabilities(candidates).tolist() == [0.25]


def test_detections_on_images_without_labels():
    with pytest.raises(ValueError, match="expected detections on labelled images, got some on 'z'"):
        QueryContext(LABELS, made({"z": []}, []))


def test_views_are_asked_for_as_they_are():
    requests = []
    context = QueryContext(views=lambda ids, views: requests.append((ids, len(views))) or [])
    assert context.predict_views(["a", "b"]) == []
    assert requests == [(["a", "b"], 7)]
