"""Counts and sums of images, by hand."""

import numpy as np
import pytest
from helpers.built import labelled, pool

from al_rotate.sampling.measures.per_image import features_of, n_classes, shown, sums, sums_by_class

POOL = pool({"a": [(0, 0.3), (2, 0.2)], "b": [], "c": [(1, 0.9), (1, 0.5), (0, 0.1)]})


def test_shown_boxes_are_scored_at_least_0_3():
    assert shown(POOL).tolist() == [1, 0, 2]
    assert shown(POOL, least_score=0.5).tolist() == [0, 0, 2]
    assert shown(POOL.replace(scores=None)).tolist() == [2, 0, 3]


def test_sums():
    assert sums([1, 2, 3, 4, 5], POOL).tolist() == [3, 0, 12]
    assert sums_by_class([1, 2, 3, 4, 5], POOL, 3).tolist() == [[1, 0, 2], [0, 0, 0], [5, 7, 0]]
    assert sums([], pool({})).shape == (0,)


def test_classes_are_those_named_or_seen():
    assert n_classes(POOL.replace(classes=("a", "b", "c", "d")), labelled([1])) == 4
    nameless = POOL.replace(classes=None)
    assert n_classes(nameless, labelled([1])) == 3
    assert n_classes(nameless.subset(["b"]), labelled([0, 1])) == 2
    assert n_classes(nameless.subset(["b"]), labelled([])) == 1


def test_features():
    features = np.eye(3, dtype=np.float32)
    assert features_of(POOL.replace(image_features=features)).tolist() == features.tolist()
    with pytest.raises(ValueError, match=r"expected detections with image_features, got .*: predict\(features=True\)"):
        features_of(POOL)
