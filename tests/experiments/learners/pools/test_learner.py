"""The detector on tiles: boxes are in the tiles' pixels, trainings start where they should and last as they should."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import al_rotate as al
from al_rotate.data import RotatedInstances
from al_rotate.detection.networks import precision
from al_rotate.detection.training.schedule import Schedule
from al_rotate.evaluation.pseudo_labels import PseudoLabelled
from experiments.learners.features import CHANNELS, MIRRORED, STRIDES, Sandbox
from experiments.learners.pools.learner import TileLearner
from experiments.learners.sandbox import WEIGHTS, SandboxLearner

SIZE, SIDE = 64, 160  # pixels that the detector sees, and those of a tile
IDS = [f"i{k}" for k in range(6)]


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    """Features that show where the box of each of the first four tiles is; the last two are empty."""
    rng = np.random.default_rng(0)
    boxes = np.array([[30 + 30 * k, 50 + 15 * (k % 2), 55, 30, 0.2] for k in range(4)], np.float32)
    labels = RotatedInstances(
        IDS, [0, 1, 2, 3, 4, 4, 4], boxes, np.zeros(4, int), classes=("ship",), image_sizes=np.full((6, 2), SIDE)
    )
    rows = []
    for k in range(6):
        for view in MIRRORED:
            levels = [rng.normal(0, 0.05, (c, SIZE // s, SIZE // s)) for c, s in zip(CHANNELS, STRIDES, strict=True)]
            if k < 4:
                x, y = view.boxes(boxes[[k]] * [*[SIZE / SIDE] * 4, 1], SIZE, SIZE)[0, :2]
                for level, stride in zip(levels, STRIDES, strict=True):
                    level[:, int(y) // stride, int(x) // stride] += 2
            rows.append(np.concatenate([level.ravel() for level in levels]))
    return Sandbox(
        SIZE,
        {"pool": (labels, {i: Path(i) for i in IDS})},
        np.array(rows, np.float16),
        {image_id: 2 * k for k, image_id in enumerate(IDS)},
        dict.fromkeys(IDS, (SIZE, SIZE)),
        MIRRORED,
        dict.fromkeys(IDS, SIZE / SIDE),
    )


@pytest.fixture(scope="module")
def first(sandbox, tmp_path_factory) -> Path:
    """The weights that a loop begins with."""
    labels, files = sandbox.parts["pool"]
    folder = tmp_path_factory.mktemp("first")
    learner = TileLearner(sandbox, folder / "known", is_first=True, first_iterations=60)
    checkpoint, metrics = learner.train(None, files, labels, folder / "round", Schedule(least=3, most=3))
    assert metrics["iterations"] == 3  # from the weights that later trainings start from, too
    assert checkpoint.parent == folder / "round"
    return folder / "known" / WEIGHTS


def test_boxes_are_in_pixels_of_the_tile(sandbox, first, tmp_path):
    labels, files = sandbox.parts["pool"]
    detections = TileLearner(sandbox, first.parent).predict(first, files, tmp_path)
    assert al.evaluate(detections, labels).mean_ap > 0.5
    assert (detections.image_sizes == SIDE).all()
    (mirrored,) = TileLearner(sandbox, first.parent).predict_views(first, files, MIRRORED[1:], tmp_path)
    assert al.evaluate(mirrored, labels, 0.3).mean_ap > 0.3


def test_batches_are_post_processed_as_by_mmrotate(sandbox, first, tmp_path):
    _, files = sandbox.parts["pool"]
    quick = TileLearner(sandbox, first.parent).predict(first, files, tmp_path / "quick")
    own = SandboxLearner(sandbox).predict(first, files, tmp_path / "own")
    assert own.n_boxes >= 4
    assert quick.counts.tolist() == own.counts.tolist()
    assert quick.labels.tolist() == own.labels.tolist()
    assert np.allclose(quick.scores, own.scores, atol=1e-6)
    assert np.allclose(quick.boxes, own.boxes, atol=1e-3)


def test_trainings_start_from_the_given_weights_and_follow_the_schedule(sandbox, first, tmp_path):
    labels, files = sandbox.parts["pool"]
    learner = TileLearner(sandbox, first.parent)
    schedule = Schedule(per_image=2, least=1, most=50, rate=0.01)
    checkpoint, metrics = learner.train(None, files, labels, tmp_path / "a", schedule)
    assert metrics["iterations"] == 12
    before, after = (learner.predict(c, files, tmp_path / c.parent.name) for c in (first, checkpoint))
    assert abs(al.evaluate(before, labels).mean_ap - al.evaluate(after, labels).mean_ap) < 0.2  # hardly moved
    again = TileLearner(sandbox, first.parent).train(checkpoint, files, labels, tmp_path / "b", schedule)[1]
    assert again == metrics  # the weights of another round make no difference


def test_mixed_precision_trains_as_float32_does(sandbox, first, monkeypatch):
    labels, _ = sandbox.parts["pool"]
    learner, losses = TileLearner(sandbox, first.parent, lr=1e-5), {}
    for kind in ("fp32", "bf16"):
        monkeypatch.setattr(precision, "resolve", lambda *_, kind=kind: kind)
        model = learner._model(first).train()
        losses[kind] = learner._fit(model, labels, 4, None)
        assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert losses["bf16"] != losses["fp32"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.02)


def test_half_of_a_batch_holds_objects(sandbox):
    labels, _ = sandbox.parts["pool"]
    learner, rng = TileLearner(sandbox, Path()), np.random.default_rng(0)
    drawn = [labels[i].n_boxes for _ in range(400) for i in learner.batch(labels, rng)]
    assert np.mean(drawn) == pytest.approx(0.5 + 0.5 * 4 / 6, abs=0.03)
    empty = labels.subset(IDS[4:])
    assert {*learner.batch(empty, rng)} <= {*IDS[4:]}


def test_pseudo_labels_are_trained_on_where_nothing_is_in_doubt(sandbox, first, tmp_path, monkeypatch):
    labels, files = sandbox.parts["pool"]
    seen = []

    class Watched(TileLearner):
        def batch(self, labels, rng, times=None):
            seen.append(labels.image_ids.tolist())
            return super().batch(labels, rng, times)

    of_two = labels.subset(IDS[2:4])
    pseudo = PseudoLabelled(of_two, of_two.where(of_two.image_index == 1))
    metrics = Watched(sandbox, first.parent).train(
        None, files, labels.subset(IDS[:2]), tmp_path, Schedule(per_image=1, least=1, most=9), pseudo
    )[1]
    assert metrics["iterations"] == 2
    assert seen == 2 * [IDS[:3]]
