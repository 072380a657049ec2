"""The sandbox detector: its backbone's levels come apart as they were put together, views map back, it learns."""

from pathlib import Path

import numpy as np
import pytest
import torch

import al_rotate as al
from al_rotate.data import RotatedInstances
from experiments.learners.features import CHANNELS, STRIDES, VIEWS, Sandbox
from experiments.learners.sandbox import SandboxLearner, StoredFeatures

SIZE, CLASSES = 64, ("ship", "plane")


@pytest.fixture(scope="module")
def sandbox():
    """Features that show where each image's only box is: strong in its cell, in the channels of its class."""
    rng = np.random.default_rng(0)
    width = sum(c * (SIZE // s) ** 2 for c, s in zip(CHANNELS, STRIDES, strict=True))
    ids = [f"i{k}" for k in range(6)]
    boxes = np.array([[12 + 8 * (k % 3), 20 + 6 * (k % 2), 22, 12, 0.2] for k in range(6)], np.float32)
    labels = RotatedInstances(
        ids, np.arange(7), boxes, np.arange(6) % 2, classes=CLASSES, image_sizes=np.full((6, 2), SIZE)
    )
    features = np.zeros((6, len(VIEWS), width), np.float16)
    for row in range(6):
        for k, view in enumerate(VIEWS):
            x, y = view.boxes(boxes[[row]], SIZE, SIZE)[0, :2]
            levels = []
            for channels, stride in zip(CHANNELS, STRIDES, strict=True):
                level = rng.normal(0, 0.05, (channels, SIZE // stride, SIZE // stride))
                level[: channels // 2 + (channels // 2) * (row % 2), int(y) // stride, int(x) // stride] += 2
                levels.append(level.ravel())
            features[row, k] = np.concatenate(levels)
    parts = {name: (labels, {i: Path(i) for i in ids}) for name in ("pool", "val", "test")}
    rows = {i: len(VIEWS) * k for k, i in enumerate(ids)}
    return Sandbox(SIZE, parts, features.reshape(-1, width), rows, {i: (SIZE, SIZE) for i in ids})


@pytest.fixture(scope="module")
def trained(sandbox, tmp_path_factory):
    labels, files = sandbox.parts["pool"]
    learner = SandboxLearner(sandbox, 40, 40, batch_size=4)
    folder = tmp_path_factory.mktemp("trained")
    checkpoint, metrics = learner.train(None, files, labels, folder)
    return learner, checkpoint, metrics


def test_levels_come_apart_as_they_were_put_together():
    levels = [torch.rand(2, c, SIZE // s, SIZE // s) for c, s in zip(CHANNELS, STRIDES, strict=True)]
    split = StoredFeatures(SIZE)(torch.cat([level.flatten(1) for level in levels], 1))
    assert all(torch.equal(a, b) for a, b in zip(split, levels, strict=True))


def test_it_learns(trained, sandbox, tmp_path):
    learner, checkpoint, metrics = trained
    labels, files = sandbox.parts["pool"]
    untrained, before = SandboxLearner(sandbox, 1, 1, batch_size=4).train(None, files, labels, tmp_path / "start")
    assert metrics["loss"] < 0.6 * before["loss"]
    detections = learner.predict(checkpoint, files, tmp_path / "trained")
    assert al.evaluate(detections, labels).mean_ap > 0.5
    assert list(detections.image_ids) == list(labels.image_ids)
    assert al.evaluate(learner.predict(untrained, files, tmp_path / "untrained"), labels).mean_ap < 0.3


def test_the_same_call_trains_once_and_alike(trained, sandbox, tmp_path):
    learner, checkpoint, metrics = trained
    labels, files = sandbox.parts["pool"]
    before = checkpoint.stat().st_mtime_ns
    assert learner.train(None, files, labels, checkpoint.parent) == (checkpoint, metrics)
    assert checkpoint.stat().st_mtime_ns == before
    assert learner.train(None, files, labels, tmp_path)[1] == metrics


def test_views_are_mapped_back(trained, sandbox, tmp_path):
    learner, checkpoint, _ = trained
    labels, files = sandbox.parts["pool"]
    in_views = learner.predict_views(checkpoint, files, VIEWS[1:], tmp_path)
    for view, detections in zip(VIEWS[1:], in_views, strict=True):
        assert al.evaluate(detections, labels, 0.3).mean_ap > 0.3, view.name


def test_class_scores_and_features_are_kept_on_request(trained, sandbox, tmp_path):
    learner, checkpoint, _ = trained
    detections = learner.predict(checkpoint, sandbox.parts["pool"][1], tmp_path, class_scores=True, features=True)
    assert detections.class_scores.shape == (detections.n_boxes, 2)
    assert np.allclose(detections.class_scores[np.arange(detections.n_boxes), detections.labels], detections.scores)
    assert detections.image_features.shape[0] == 6
    assert detections.box_features.shape[0] == detections.n_boxes
