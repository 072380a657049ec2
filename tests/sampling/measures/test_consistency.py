"""Steadiness by hand: two or three boxes, one or two views."""

import math

import numpy as np
import pytest

from al_rotate import RotatedInstances
from al_rotate.sampling.measures.consistency import (
    angle_spread,
    cald,
    class_divergence,
    instability,
    match,
    missing_rate,
)

QUARTER = math.pi / 2


def detections(rows, ids=("a",), counts=None, **more):
    """Of (cx, cy, w, h, theta, label, score)."""
    table = np.array(rows, float).reshape(-1, 7)
    offsets = np.cumsum([0, *(counts or [len(table)])])
    return RotatedInstances(list(ids), offsets, table[:, :5], table[:, 5].astype(int), scores=table[:, 6], **more)


SHIP = [50, 50, 40, 10, 0, 0, 0.8]


def moved(x=0.0, turn=0.0, label=0, score=0.8, box=SHIP):
    return [box[0] + x, *box[1:4], box[4] + turn, label, score]


def test_pairs():
    """Boxes 40 x 10: moved along by 10 they share 30 of 50; what lies elsewhere is nobody's; the best pairs win."""
    image = detections([SHIP, [200, 50, 40, 10, 0, 1, 0.5]])
    matches = match(image, [detections([moved(30, score=0.1), moved(10, score=0.6)]), detections([])])
    np.testing.assert_allclose(matches.iou, [[0.6, np.nan], [np.nan, np.nan]])
    np.testing.assert_allclose(matches.score, [[0.6, np.nan], [np.nan, np.nan]], atol=1e-6)
    assert instability(matches).tolist() == pytest.approx([0.7, 1])
    assert missing_rate(matches).tolist() == [0.5, 1]


def test_each_box_is_matched_once_for_the_largest_sum():
    """The first could take what coincides with it, but then the second has nothing near: 0.6 + 0.6 beats 1 + 0."""
    image = detections([SHIP, moved(10)])
    matches = match(image, [detections([moved(0), moved(-10)])], least=0.4)
    np.testing.assert_allclose(matches.iou[:, 0], [0.6, 0.6])
    alone = match(image, [detections([moved(0)])])
    np.testing.assert_allclose(alone.iou[:, 0], [1, np.nan])


def test_images_are_kept_apart_whatever_their_order():
    image = detections([SHIP, SHIP], ids=("a", "b"), counts=[1, 1])
    view = detections([moved(10), moved(20)], ids=("b", "a"), counts=[1, 1])
    np.testing.assert_allclose(match(image, [view]).iou[:, 0], [1 / 3, 0.6])
    with pytest.raises(ValueError, match="expected every image in view 1, got none of 'b'"):
        match(image, [view, view.subset(["a"])])


def test_turns_have_the_shortest_way():
    image = detections([moved(turn=1.5)])
    matches = match(image, [detections([moved(turn=-1.5)]), detections([moved(turn=1.4)])])
    np.testing.assert_allclose(matches.turn, [[math.pi - 3, -0.1]], atol=1e-6)


def test_angle_spread():
    """Directions 0 and t: the mean of the doubled angles has the length |cos t|, of the fourfold |cos 2t|."""
    t = 0.3
    needle, oblong, square = ([50, 50, 40, side, 0, 0, 0.8] for side in (1e-6, 20, 40))
    image = detections([[x + 200 * k, *rest] for k, (x, *rest) in enumerate([needle, oblong, square])])
    turned = image.replace(boxes=image.boxes + np.float32([0, 0, 0, 0, t]))
    matches = match(image, [turned], least=0)
    matches.turn[0] = t  # needles overlap in nothing
    half, quarter = 1 - math.cos(t), 1 - math.cos(2 * t)
    expected = [half, 0.5 * (0.5 * half + 0.5 * quarter), 0]
    assert angle_spread(matches, image.boxes).tolist() == pytest.approx(expected, abs=1e-5)
    # The same turn twice more, and one view without the box: three of four directions are alike.
    again = match(image, [turned, turned, turned, detections([])], least=0)
    doubled = abs(1 + 3 * np.exp(2j * t)) / 4
    fourfold = abs(1 + 3 * np.exp(4j * t)) / 4
    assert angle_spread(again, image.boxes)[1] == pytest.approx(0.5 * (1 - doubled / 2 - fourfold / 2), abs=1e-5)
    nothing = match(image, [detections([])])
    assert angle_spread(nothing, image.boxes).tolist() == [0, 0, 0]


def test_a_square_seen_a_quarter_turn_off_is_the_same():
    near = [50, 50, 40, 39, 0.1, 0, 0.8]
    image = detections([near])
    other = match(image, [detections([moved(box=near, turn=QUARTER)])])
    assert abs(other.turn[0, 0]) == pytest.approx(QUARTER, abs=1e-6)
    assert angle_spread(other, image.boxes)[0] < 0.001
    assert angle_spread(other, [[50, 50, 40, 10, 0.1]])[0] > 0.5


def entropy(*p):
    return -sum(x * math.log2(x) for x in p if x)


def test_class_divergence_of_scores():
    """0.8 ship and 0.6 ship: Jensen-Shannon of (0.8, 0.2) and (0.6, 0.4); of ship and plane it is larger."""
    image = detections([SHIP])
    same, other = (
        match(image, [detections([moved(score=0.6)])]),
        match(image, [detections([moved(label=1, score=0.6)])]),
    )
    expected = entropy(0.7, 0.3) - (entropy(0.8, 0.2) + entropy(0.6, 0.4)) / 2
    assert class_divergence(same)[0] == pytest.approx(expected, abs=1e-6)
    # (0.8, 0, 0.2) and (0, 0.6, 0.4) have the middle (0.4, 0.3, 0.3).
    expected = entropy(0.4, 0.3, 0.3) - (entropy(0.8, 0.2) + entropy(0.6, 0.4)) / 2
    assert class_divergence(other)[0] == pytest.approx(expected, abs=1e-6)
    assert class_divergence(match(image, [detections([])])).tolist() == [0]
    certain = match(detections([moved(score=1)]), [detections([moved(label=1, score=1)]), detections([])])
    assert class_divergence(certain).tolist() == [1]


def test_class_divergence_of_all_classes():
    image = detections([SHIP], class_scores=[[0.8, 0.2]])
    matches = match(image, [detections([SHIP], class_scores=[[0.3, 0.1]])])  # normalised: 0.75 and 0.25
    expected = entropy(0.775, 0.225) - (entropy(0.8, 0.2) + entropy(0.75, 0.25)) / 2
    assert class_divergence(matches)[0] == pytest.approx(expected, abs=1e-6)


def test_cald():
    image = detections([SHIP, [200, 50, 40, 10, 0, 1, 0.5]])
    matches = match(image, [detections([moved(10, score=0.6)])])
    js = class_divergence(matches)[0]
    expected = [-abs(0.6 + 0.5 * (1 - js) * 1.4 - 1.3), -abs(0 + 0.5 * 0.5 - 1.3)]
    assert cald(matches, image.scores)[:, 0].tolist() == pytest.approx(expected, abs=1e-6)
    same = match(image, [image])
    assert cald(same, image.scores)[:, 0].tolist() == pytest.approx([-0.5, -0.2], abs=1e-6)


def test_refusals():
    with pytest.raises(ValueError, match="expected at least one view, got none"):
        match(detections([SHIP]), [])
    labels = RotatedInstances(["a"], [0, 1], [SHIP[:5]], [0])
    for pair in ((labels, detections([SHIP])), (detections([SHIP]), labels)):
        with pytest.raises(ValueError, match="expected detections with scores"):
            match(pair[0], [pair[1]])
    assert match(detections([]), [detections([])]).iou.shape == (0, 1)
