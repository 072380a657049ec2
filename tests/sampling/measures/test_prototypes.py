"""Prototypes of objects: on built features whose clusters are known."""

import numpy as np
import pytest
from helpers.built import pool

from al_rotate.sampling.measures import prototypes
from al_rotate.sampling.measures.prototypes import find


def rng(seed=0):
    return np.random.default_rng(seed)


IMAGES = {"a": [(0, 0.8), (0, 0.6), (1, 0.5)], "b": [], "c": [(0, 0.4), (1, 0.9)]}
FEATURES = [[3, 0.1], [0.1, 2], [5, 0], [4, -0.1], [1, 0.1]]  # ships point east or north, planes east


def test_kinds_of_each_class_and_what_images_hold_of_them():
    objects = pool(IMAGES, box_features=FEATURES)
    kinds = find(objects, objects.scores, 2, rng())
    assert kinds.classes.tolist() == [0, 0, 1, 1]
    assert np.linalg.norm(kinds.centres, axis=1) == pytest.approx(1)
    east = int(kinds.centres[:2, 0].argmax())
    held = kinds.contents(objects, objects.scores)
    assert held.shape == (3, 4)
    assert held[:, east].tolist() == pytest.approx([0.8, 0, 0.4])
    assert held[:, 1 - east].tolist() == pytest.approx([0.6, 0, 0])
    assert held[:, 2:].sum(axis=1).tolist() == pytest.approx([0.5, 0, 0.9])


def test_no_more_kinds_than_different_objects_and_none_of_a_class_that_is_not_there():
    objects = pool({"a": [(0, 0.8), (0, 0.6), (2, 0.5)]}, box_features=[[1, 0], [2, 0], [0, 1]])
    kinds = find(objects, [1, 1, 0], 5, rng())
    assert kinds.classes.tolist() == [0]  # both ships point east; the court weighs nothing
    other = pool({"x": [(1, 0.5)], "y": [(0, 0.5)]}, box_features=[[1, 0], [0, 1]])
    assert kinds.contents(other, [1, 1]).tolist() == [[0], [1]]  # the nearest of its class, however far
    none = find(pool({"a": []}), [], 5, rng())
    assert none.contents(pool({"a": [], "b": []}), []).shape == (2, 0)


def test_a_seed_gives_the_same_kinds_from_a_sample_too(monkeypatch):
    monkeypatch.setattr(prototypes, "_SAMPLE", 40)
    random = rng(4)
    objects = pool({"a": [(0, 0.5)] * 300}, box_features=random.normal(size=(300, 8)))
    one, same, other = (find(objects, random.random(300) ** 0, 4, rng(seed)).centres for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_the_sample_is_drawn_by_the_weights(monkeypatch):
    """Of a thousand northward objects that weigh next to nothing hardly one is among the fifty."""
    monkeypatch.setattr(prototypes, "_SAMPLE", 50)
    objects = pool({"a": [(0, 0.5)] * 1050}, box_features=[[0, 1]] * 1000 + [[1, 0]] * 50)
    (centre,) = find(objects, [1e-6] * 1000 + [1] * 50, 1, rng()).centres
    assert centre[0] > 0.99


def test_refusals():
    with pytest.raises(ValueError, match=r"expected detections with box_features, got .*: predict\(features=True\)"):
        find(pool(IMAGES), [1] * 5, 2, rng())
    with pytest.raises(ValueError, match="expected at least one prototype of a class, got 0"):
        find(pool(IMAGES, box_features=FEATURES), [1] * 5, 0, rng())
