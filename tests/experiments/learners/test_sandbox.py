"""The quick detector: its backbone's levels come apart as they were put together, views map back, it learns."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sandbox import Remembered, SandboxLearner
from sandbox_data import CHANNELS, STRIDES, VIEWS, Sandbox, photographs, scenes

import al_rotate as al
from al_rotate.data.formats import dota
from al_rotate.data.instances import RotatedInstances

SIZE, CLASSES = 64, ("ship", "plane")


@pytest.fixture(scope="module")
def sandbox():
    """Features that say where each picture's one box is: strong in its cell, in the channels of its class."""
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
    return Sandbox(SIZE, parts, features, {i: k for k, i in enumerate(ids)}, {i: (SIZE, SIZE) for i in ids})


@pytest.fixture(scope="module")
def trained(sandbox, tmp_path_factory):
    labels, files = sandbox.parts["pool"]
    learner = SandboxLearner(sandbox, 40, 40, batch_size=4)
    folder = tmp_path_factory.mktemp("trained")
    checkpoint, metrics = learner.train(None, files, labels, folder)
    return learner, checkpoint, metrics


def test_levels_come_apart_as_they_were_put_together():
    levels = [torch.rand(2, c, SIZE // s, SIZE // s) for c, s in zip(CHANNELS, STRIDES, strict=True)]
    apart = Remembered(SIZE)(torch.cat([level.flatten(1) for level in levels], 1))
    assert all(torch.equal(a, b) for a, b in zip(apart, levels, strict=True))


def test_it_learns(trained, sandbox, tmp_path):
    learner, checkpoint, metrics = trained
    first, files = sandbox.parts["pool"]
    start, before = SandboxLearner(sandbox, 1, 1, batch_size=4).train(None, files, first, tmp_path / "start")
    assert metrics["loss"] < 0.6 * before["loss"]
    found = learner.predict(checkpoint, files, tmp_path / "found")
    assert al.evaluate(found, first).mean_ap > 0.5
    assert list(found.image_ids) == list(first.image_ids)
    assert al.evaluate(learner.predict(start, files, tmp_path / "none"), first).mean_ap < 0.3


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
    for view, found in zip(VIEWS[1:], learner.predict_views(checkpoint, files, VIEWS[1:], tmp_path), strict=True):
        assert al.evaluate(found, labels, 0.3).mean_ap > 0.3, view.name


def test_what_strategies_look_at_comes_along(trained, sandbox, tmp_path):
    learner, checkpoint, _ = trained
    found = learner.predict(checkpoint, sandbox.parts["pool"][1], tmp_path, class_scores=True, features=True)
    assert found.class_scores.shape == (found.n_boxes, 2)
    assert np.allclose(found.class_scores[np.arange(found.n_boxes), found.labels], found.scores)
    assert found.image_features.shape[0] == 6
    assert found.box_features.shape[0] == found.n_boxes


def test_rendered_scenes_hold_doubles_empties_and_a_long_tail(tmp_path):
    parts = scenes(tmp_path, 96, None, unique=30, again=12)
    pool, files = parts["pool"]
    assert len(pool) == 42
    assert sorted(files) == sorted(pool.image_ids)
    ids = {i for labels, _ in parts.values() for i in labels.image_ids}
    assert len(ids) == sum(len(labels) for labels, _ in parts.values())
    assert (pool.counts == 0).any()
    counts = np.bincount(pool.labels, minlength=5)
    assert counts.max() > 5 * counts.min()
    doubles = pool.subset(i for i in pool.image_ids if i.startswith("again/00_"))
    assert len(doubles) == 4
    assert np.ptp(doubles.counts) <= max(2, doubles.counts.max() // 2)
    assert ((doubles.boxes[:, :2] >= 0) & (doubles.boxes[:, :2] < 96)).all()


def test_photographs_are_split_as_they_say_and_scaled_with_their_labels(tmp_path):
    import cv2

    rng = np.random.default_rng(0)
    (tmp_path / "data" / "images").mkdir(parents=True)
    (tmp_path / "data" / "splits").mkdir()
    for k in range(12):
        cv2.imwrite(
            str(tmp_path / "data" / "images" / f"p{k}.png"), rng.integers(0, 255, (100, 200, 3)).astype(np.uint8)
        )
    ids = [f"p{k}" for k in range(12)]
    labels = RotatedInstances(
        ids, np.arange(13), np.tile([100, 50, 40, 20, 0.3], (12, 1)), np.zeros(12, int), classes=("s",)
    )
    dota.write(labels, tmp_path / "data" / "labelTxt")
    (tmp_path / "data" / "splits" / "train.txt").write_text("\n".join(ids[:10]))
    (tmp_path / "data" / "splits" / "test.txt").write_text("\n".join(ids[10:]))
    parts = photographs(tmp_path / "out", 64, tmp_path / "data")
    assert {name: len(one) for name, (one, _) in parts.items()} == {"pool": 8, "val": 2, "test": 2}
    test, files = parts["test"]
    assert test.boxes[0] == pytest.approx([32, 16, 12.8, 6.4, 0.3], abs=0.05)
    assert cv2.imread(str(files["p10"])).shape == (32, 64, 3)
    with pytest.raises(ValueError, match="--data"):
        photographs(tmp_path, 64, None)
