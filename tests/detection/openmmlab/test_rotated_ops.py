"""Bit for bit mmcv's: the same boxes kept in the same order, the same IoU, on crowds and on what breaks rules."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from mmcv.ops import batched_nms  # noqa: E402
from mmrotate.structures.bbox import rbbox_overlaps  # noqa: E402

from al_rotate.detection.openmmlab import rotated_ops  # noqa: E402

rotated_ops.install()


def crowd(n: int, side: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    long = rng.uniform(5, 60, n)
    return np.column_stack(
        [rng.uniform(0, side, (n, 2)), long, long * rng.uniform(0.1, 1, n), rng.uniform(-1.6, 1.6, n)]
    )


def odd(kind: str) -> np.ndarray:
    rng = np.random.default_rng(1)
    n = 300
    repeated = np.repeat(crowd(30, 200), 10, axis=0)
    if kind == "identical":
        return repeated
    if kind == "nearly identical":
        return repeated + rng.normal(0, 1e-4, repeated.shape)
    if kind == "touching":
        x, y = np.meshgrid(np.arange(20) * 10.0, np.arange(15) * 6.0)
        return np.column_stack([x.ravel(), y.ravel(), np.full(n, 10), np.full(n, 6), np.zeros(n)])
    if kind == "slivers":
        dets = crowd(n, 200)
        dets[::20, 3] = 10.0 ** rng.uniform(-6, -3, 15)
        return dets
    if kind == "slivers on one line":
        t = rng.uniform(-100, 100, n)
        dets = np.column_stack([t, t, rng.uniform(1, 30, n), np.full(n, 4.0), np.full(n, np.pi / 4)])
        dets[::25, 3] = 10.0 ** rng.uniform(-6, -2, 12)
        return dets
    if kind == "all slivers":
        dets = crowd(n, 200)
        dets[:, 3] = 10.0 ** rng.uniform(-6, -2, n)
        return dets
    if kind == "without an area":
        dets = crowd(n, 100)
        dets[:, 2] = rng.uniform(-10, 40, n)
        dets[:, 3] = rng.integers(0, 3, n) * 10
        return dets
    if kind == "huge":
        return crowd(n, 30_000) * [1, 1, 150, 15, 1]
    dets = crowd(n, 100)
    dets[5, 0], dets[7, 2] = np.inf, np.nan
    return dets


ODD = ["identical", "nearly identical", "touching", "slivers", "slivers on one line", "all slivers", "without an area"]


class TestNms:
    @pytest.mark.parametrize("threshold", [0.1, 0.5])
    @pytest.mark.parametrize("classes", [1, 15])
    @pytest.mark.parametrize(("n", "side"), [(10, 50), (150, 64), (400, 320), (900, 1024)])
    def test_crowds(self, n: int, side: float, classes: int, threshold: float):
        self.check(crowd(n, side), threshold, classes)

    @pytest.mark.parametrize("threshold", [0.1, 0.5, 1e-3])
    @pytest.mark.parametrize("classes", [1, 15])
    @pytest.mark.parametrize("kind", [*ODD, "huge", "not finite"])
    def test_what_breaks_rules(self, kind: str, classes: int, threshold: float):
        self.check(odd(kind), threshold, classes)

    def test_ties_stand_in_mmcvs_order(self):
        box = torch.from_numpy(crowd(500, 200)).float()
        scores = torch.from_numpy(np.random.default_rng(2).integers(1, 4, 500) / 4).float()
        self.same(box, scores, 0.1)
        self.same(box, torch.full((500,), 0.5), 0.1)

    def test_counter_clockwise_and_labels_and_doubles(self):
        box, scores = torch.from_numpy(crowd(200, 100)).float(), torch.linspace(0, 1, 200)
        for options in ({"clockwise": False}, {"labels": torch.arange(200) % 3}):
            theirs = rotated_ops.mmcv_nms(box, scores, 0.1, **options)
            ours = rotated_ops.nms_rotated(box, scores, 0.1, **options)
            assert all(torch.equal(a, b) for a, b in zip(theirs, ours, strict=True))
        self.same(box.double(), scores.double(), 0.1)
        assert rotated_ops.nms_rotated(box[:0], scores[:0], 0.1)[1] is None

    def test_batched_nms_uses_it(self, monkeypatch: pytest.MonkeyPatch):
        """What the heads call: it must be reached, and be mmcv's own where it is taken away."""
        calls: list[int] = []
        plain = rotated_ops.may_overlap
        monkeypatch.setattr(rotated_ops, "may_overlap", lambda *a: calls.append(len(a[0])) or plain(*a))
        box, scores = torch.from_numpy(crowd(300, 200)).float(), torch.linspace(0, 1, 300)
        arguments = (box, scores, torch.arange(300) % 4, {"type": "nms_rotated", "iou_threshold": 0.1})
        ours = batched_nms(*arguments)
        assert calls == [300]
        with rotated_ops.uninstalled():
            theirs = batched_nms(*arguments)
        assert calls == [300]
        assert all(torch.equal(a, b) for a, b in zip(theirs, ours, strict=True))

    def check(self, box: np.ndarray, threshold: float, classes: int) -> None:
        rng = np.random.default_rng(3)
        rotated = torch.from_numpy(box).float()
        if classes > 1:  # side by side, as batched_nms does
            step = rotated[:, :2].max() + rotated[:, 2:4].max() + 1
            rotated[:, :2] += (torch.from_numpy(rng.integers(0, classes, len(box))) * step)[:, None]
        self.same(rotated, torch.from_numpy(rng.random(len(box))).float(), threshold)

    def same(self, rotated, scores, threshold: float) -> None:
        theirs, rows = rotated_ops.mmcv_nms(rotated, scores, threshold)
        ours, own = rotated_ops.nms_rotated(rotated, scores, threshold)
        assert torch.equal(rows, own)
        assert torch.equal(torch.nan_to_num(theirs), torch.nan_to_num(ours))


class TestIoU:
    @pytest.mark.parametrize("mode", ["iou", "iof"])
    @pytest.mark.parametrize("kind", ["crowd", *ODD, "huge", "not finite"])
    def test_every_bit(self, kind: str, mode: str):
        a = torch.from_numpy(crowd(300, 200, seed=5) if kind == "crowd" else odd(kind)).float()
        b = torch.from_numpy(crowd(100, 200, seed=6)).float()
        theirs, ours = (f(a, b, mode) for f in (rotated_ops.mmcv_iou, rotated_ops.box_iou_rotated))
        assert torch.equal(torch.nan_to_num(theirs), torch.nan_to_num(ours))
        assert kind == "huge" or (theirs > 0).any()

    def test_small_empty_and_aligned(self):
        a = torch.from_numpy(crowd(100, 60)).float()
        assert torch.equal(rotated_ops.box_iou_rotated(a[:3], a[:5]), rotated_ops.mmcv_iou(a[:3], a[:5]))
        assert rotated_ops.box_iou_rotated(a[:0], a).shape == (0, 100)
        aligned = rotated_ops.box_iou_rotated(a, a.flip(0), aligned=True)
        assert torch.equal(aligned, rotated_ops.mmcv_iou(a, a.flip(0), aligned=True))

    def test_the_assigners_overlaps_use_it(self, monkeypatch: pytest.MonkeyPatch):
        calls: list[int] = []
        plain = rotated_ops.may_overlap
        monkeypatch.setattr(rotated_ops, "may_overlap", lambda *a: calls.append(len(a[0])) or plain(*a))
        a = torch.from_numpy(crowd(200, 200)).float()
        ours = rbbox_overlaps(a, a[:50])
        assert calls == [200]
        with rotated_ops.uninstalled():
            assert torch.equal(rbbox_overlaps(a, a[:50]), ours)
        assert calls == [200]
