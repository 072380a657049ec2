"""Targets and losses of a batch at once, against MMRotate's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from helpers.detectors import RTMDET  # noqa: E402
from helpers.devices import DEVICES  # noqa: E402
from mmengine.structures import InstanceData  # noqa: E402
from mmrotate.models.dense_heads import RotatedRTMDetHead  # noqa: E402
from mmrotate.structures import RotatedBoxes, distance2obb  # noqa: E402
from torch import Tensor  # noqa: E402

from al_rotate.detection import configs, models  # noqa: E402
from al_rotate.detection.openmmlab import install  # noqa: E402
from al_rotate.detection.openmmlab.faster import rtmdet_loss, rtmdet_targets  # noqa: E402

SIZE, STRIDES, N_CLASSES = 192, (8, 16, 32), 5
WHOLE = (SIZE, SIZE)


@pytest.fixture(scope="module")
def head() -> Any:
    install()
    config = configs.load(RTMDET, {"model.backbone.init_cfg": None})
    return models.build(config, N_CLASSES).train().bbox_head


def outputs(n_images: int, seed: int, device: str = "cpu") -> list[list[Tensor]]:
    """Logits, distances and angles of three levels."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(n_images, 1, SIZE // stride, SIZE // stride) for stride in STRIDES]
    parts = [
        [2 * torch.randn(shape[0], N_CLASSES, *shape[2:], generator=generator) for shape in shapes],
        [1 + 40 * torch.rand(shape[0], 4, *shape[2:], generator=generator) for shape in shapes],
        [torch.randn(shape, generator=generator) for shape in shapes],
    ]
    return [[level.to(device).requires_grad_() for level in levels] for levels in parts]


def objects(n: int, seed: int) -> InstanceData:
    """Boxes of all sizes, also slivers and beyond the image's edge, so that many claim the same priors."""
    rng = np.random.default_rng(seed)
    long = rng.uniform(2, 120, n)
    centres = rng.uniform(-5, SIZE + 5, (n, 2))
    boxes = np.column_stack([centres, long, long * rng.uniform(0.05, 1, n), rng.uniform(-1.6, 1.6, n)])
    labels = torch.from_numpy(rng.integers(0, N_CLASSES, n))
    return InstanceData(bboxes=RotatedBoxes(torch.from_numpy(boxes).float().reshape(-1, 5)), labels=labels)


def losses(
    function: Any, head: Any, counts: list[int], seed: int, shapes: list[tuple[int, int]], device: str = "cpu"
) -> list[Tensor]:
    """The losses, and their gradients in all outputs."""
    parts = outputs(len(counts), seed, device)
    instances = [objects(n, 100 * seed + i).to(device) for i, n in enumerate(counts)]
    found = function(head, *parts, instances, [{"img_shape": shape, "pad_shape": shape} for shape in shapes])
    totals = [sum(found[name]) if isinstance(found[name], list) else found[name] for name in ("loss_cls", "loss_bbox")]
    leaves = [level for levels in parts for level in levels]
    grads = torch.autograd.grad(sum(totals), leaves, allow_unused=True)
    return [total.detach() for total in totals] + [
        torch.zeros_like(leaf) if grad is None else grad for grad, leaf in zip(grads, leaves, strict=True)
    ]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("seed", range(4))
def test_losses_and_gradients_are_mmrotates(head: Any, seed: int, device: str):
    counts = [0, 1, 3, 25, 60]
    shapes = [WHOLE, WHOLE, (150, SIZE), WHOLE, WHOLE]  # padded less: some priors do not take part
    expected, found = (
        losses(function, head, counts, seed, shapes, device)
        for function in (rtmdet_loss.mmrotate_loss, rtmdet_loss.loss_by_feat)
    )
    assert expected[1] > 0.5
    torch.testing.assert_close(found[:2], expected[:2], atol=0, rtol=1e-6)
    for ours, theirs in zip(found[2:], expected[2:], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5 * float(theirs.abs().max()), rtol=1e-4)


@pytest.mark.parametrize("counts", [[0, 0], [1], [4, 0]])
def test_few_objects(head: Any, counts: list[int]):
    shapes = [WHOLE] * len(counts)
    expected = losses(rtmdet_loss.mmrotate_loss, head, counts, 9, shapes)
    found = losses(rtmdet_loss.loss_by_feat, head, counts, 9, shapes)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)


def test_targets_of_one_image_are_the_assigners(head: Any):
    """Prior by prior: the object, and the IoU with it."""
    scores, distances, angles = (
        torch.cat([level.flatten(2).transpose(1, 2) for level in levels], 1) for levels in outputs(1, 3)
    )
    sizes = [(SIZE // stride, SIZE // stride) for stride in STRIDES]
    priors = torch.cat(head.prior_generator.grid_priors(sizes, device="cpu", with_stride=True))
    decoded = distance2obb(priors, torch.cat([distances, angles], -1), "le90").detach()
    instances = objects(30, 5)
    predicted = InstanceData(scores=scores[0].detach(), bboxes=decoded[0], priors=priors)
    expected = head.assigner.assign(predicted, instances)
    place = expected.gt_inds.nonzero().squeeze(1)

    gathered = rtmdet_targets.gather([instances], priors.device)
    found = rtmdet_targets.match(head.assigner, scores.detach(), decoded, priors, None, gathered)
    assert len(place) > 50
    assert found.place.tolist() == place.tolist()
    assert found.object.tolist() == (expected.gt_inds[place] - 1).tolist()
    assert torch.equal(found.iou, expected.max_overlaps[place])


def test_an_image_whose_objects_have_no_prior_inside_has_no_positives(head: Any):
    """Beside an image that has: as image by image."""
    sizes = [(SIZE // stride, SIZE // stride) for stride in STRIDES]
    priors = torch.cat(head.prior_generator.grid_priors(sizes, device="cpu", with_stride=True))
    scores, distances, angles = (
        torch.cat([level.flatten(2).transpose(1, 2) for level in levels], 1).detach() for levels in outputs(2, 4)
    )
    decoded = distance2obb(priors, torch.cat([distances, angles], -1), "le90")
    between = InstanceData(bboxes=RotatedBoxes(torch.tensor([[43.0, 43, 3, 3, 0]])), labels=torch.tensor([1]))
    instances = [between, objects(10, 6)]
    found = rtmdet_targets.match(
        head.assigner, scores, decoded, priors, None, rtmdet_targets.gather(instances, priors.device)
    )
    places = []
    for number, image in enumerate(instances):
        predicted = InstanceData(scores=scores[number], bboxes=decoded[number], priors=priors)
        positive = head.assigner.assign(predicted, image).gt_inds.nonzero().squeeze(1)
        places.append((number * len(priors) + positive).tolist())
    assert places[0] == []
    assert len(places[1]) > 10
    assert found.place.tolist() == places[1]


def test_a_loss_of_somebodys_own_keeps_mmrotates_way(head: Any, monkeypatch: pytest.MonkeyPatch):
    class Own(torch.nn.Module):
        """Without a reduction."""

        def forward(self, predicted: Tensor, target: Tensor, weight: Tensor, avg_factor: float) -> Tensor:
            return (predicted - target).abs().sum() / avg_factor

    monkeypatch.setattr(head, "loss_bbox", Own())
    expected = losses(rtmdet_loss.mmrotate_loss, head, [3], 1, [WHOLE])
    assert all(map(torch.equal, losses(rtmdet_loss.loss_by_feat, head, [3], 1, [WHOLE]), expected))


def test_crowded_batches_are_matched_in_portions(head: Any, monkeypatch: pytest.MonkeyPatch):
    counts, shapes = [20, 0, 5, 40, 1], [WHOLE] * 5
    expected = losses(rtmdet_loss.loss_by_feat, head, counts, 2, shapes)
    portions: list[int] = []
    match = rtmdet_targets._match
    monkeypatch.setattr(rtmdet_targets, "_PAIRS_AT_ONCE", 26 * 756)  # 24 * 24 + 12 * 12 + 6 * 6 priors
    monkeypatch.setattr(rtmdet_targets, "_match", lambda *a: portions.append(len(a[5].image)) or match(*a))
    found = losses(rtmdet_loss.loss_by_feat, head, counts, 2, shapes)
    assert portions == [25, 40, 1]
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_heads_with_methods_of_their_own_keep_them(head: Any, monkeypatch: pytest.MonkeyPatch):
    calls: list[int] = []

    class Own(type(head)):
        def loss_by_feat_single(self, *args: Any, **kwargs: Any) -> Any:
            calls.append(1)
            return super().loss_by_feat_single(*args, **kwargs)

    assert type(head).loss_by_feat is RotatedRTMDetHead.loss_by_feat is rtmdet_loss.loss_by_feat
    monkeypatch.setattr(head, "__class__", Own)
    expected = losses(rtmdet_loss.mmrotate_loss, head, [3], 1, [WHOLE])
    assert len(calls) == 3
    assert all(map(torch.equal, losses(rtmdet_loss.loss_by_feat, head, [3], 1, [WHOLE]), expected))
    assert len(calls) == 6
