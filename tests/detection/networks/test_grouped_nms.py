from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from mmcv.ops import nms_rotated  # noqa: E402

from al_rotate.detection.networks import grouped_nms  # noqa: E402


def random_boxes(n: int, seed: int):
    """Boxes that often overlap, some of them copies of others, and scores that often tie."""
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.rand((n, 5), generator=generator)
    boxes = torch.cat([boxes[:, :2] * 60, boxes[:, 2:4] * 30 + 1, (boxes[:, 4:] - 0.5) * np.pi], dim=1)
    boxes[n // 2 : n // 2 + n // 8] = boxes[: n // 8]
    return boxes, (torch.rand(n, generator=generator) * 20).round() / 20


def mmcvs(boxes, scores, iou_threshold: float):
    """The rows that mmcv keeps, where of equal scores the earlier row ranks first."""
    order = scores.sort(descending=True, stable=True).indices
    distinct = torch.arange(len(scores), 0, -1, dtype=torch.float32)  # its sort is not stable
    return order[nms_rotated(boxes[order], distinct, iou_threshold)[1]].sort().values


def test_ranks_by_group_then_score_then_row():
    scores = torch.tensor([0.5, 0.9, 0.5, 0.9, 0.1])
    groups = torch.tensor([1, 0, 1, 1, 0])
    order = grouped_nms.ranked(scores, groups)
    assert order.tolist() == [1, 4, 3, 0, 2]
    assert grouped_nms.places(groups[order]).tolist() == [0, 1, 0, 1, 2]


@pytest.mark.parametrize("iou_threshold", [0.1, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_each_group_as_mmcv_keeps_it(iou_threshold: float, seed: int, monkeypatch):
    monkeypatch.setattr(grouped_nms, "_PAIRS_AT_ONCE", 1000)
    boxes, scores = random_boxes(300, seed)
    groups = torch.arange(300) * 7 % 5 * 3  # neither dense nor in order
    kept = grouped_nms.nms(boxes, scores, groups, iou_threshold)
    expected = [
        rows[mmcvs(boxes[rows], scores[rows], iou_threshold)]
        for rows in ((groups == group).nonzero()[:, 0] for group in groups.unique())
    ]
    assert 50 < len(kept) < 290
    assert torch.equal(kept, torch.cat(expected).sort().values)


def test_slivers_and_boxes_without_area():
    """In float32 mmcv sees thin boxes cross others that are far away."""
    boxes, scores = random_boxes(200, 5)
    boxes[::3, 3] = torch.logspace(-12, 0, 67)
    boxes[1::50, 2] = 0
    boxes[:, :2] *= 50
    kept = grouped_nms.nms(boxes, scores, torch.zeros(200, dtype=torch.long), 0.1)
    assert torch.equal(kept, mmcvs(boxes, scores, 0.1))


def test_boxes_that_are_not_finite_leave_other_groups_alone():
    boxes, scores = random_boxes(200, 6)
    groups = torch.arange(200) % 2
    kept = grouped_nms.nms(boxes, scores, groups, 0.1)
    boxes[::10, 0], boxes[2::10, 2] = float("nan"), float("inf")  # of group 0
    after = grouped_nms.nms(boxes, scores, groups, 0.1)
    assert after[after % 2 == 1].tolist() == kept[kept % 2 == 1].tolist()


def test_a_chain_in_which_every_other_box_stays():
    """Each box overlaps the next alone, so that each decision waits for the one before."""
    boxes = torch.tensor([[6.0 * k, 0, 10, 10, 0] for k in range(30)])
    scores = torch.linspace(0.9, 0.1, 30)
    kept = grouped_nms.nms(boxes, scores, torch.zeros(30, dtype=torch.long), 0.1)
    assert kept.tolist() == list(range(0, 30, 2))


def test_boxes_that_are_all_apart_are_not_compared(monkeypatch):
    """On a GPU mmcv's IoU of no pairs at all is an error."""
    compare = grouped_nms.box_iou_rotated

    def refusing(one, other, aligned):
        assert len(one)
        return compare(one, other, aligned=aligned)

    monkeypatch.setattr(grouped_nms, "box_iou_rotated", refusing)
    monkeypatch.setattr(grouped_nms, "_PAIRS_AT_ONCE", 1)
    boxes = torch.tensor([[0.0, 0, 10, 10, 0], [100, 0, 10, 10, 0], [101, 0, 10, 10, 0]])
    kept = grouped_nms.nms(boxes, torch.tensor([0.9, 0.8, 0.7]), torch.zeros(3, dtype=torch.long), 0.5)
    assert kept.tolist() == [0, 1]  # of the other two the IoU is 9 / 11


def test_no_boxes():
    kept = grouped_nms.nms(torch.zeros((0, 5)), torch.zeros(0), torch.zeros(0, dtype=torch.long), 0.1)
    assert kept.tolist() == []
