"""Targets and losses of RTMDet-R for a whole batch at once.

MMRotate assigns image by image and object by object, and takes the losses level by level: at 640 px in batches of 8
some 10,000 operations and 450 synchronisations with the device, where the network itself is 1,100 operations. The
targets here are the same, and the losses are equal but for the order in which they are added up.

The assignment is that of RTMDet (Lyu et al. 2022, https://arxiv.org/abs/2212.07784, section 3.3), as in
``mmdet.DynamicSoftLabelAssigner``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmdet.models.task_modules import DynamicSoftLabelAssigner, PseudoSampler
from mmdet.utils import reduce_mean
from mmrotate.models.dense_heads import RotatedRTMDetHead
from mmrotate.models.task_modules import RBboxOverlaps2D
from mmrotate.structures import RotatedBoxes, distance2obb
from torch import Tensor

from ..gpu_ops import runs_on

_PAIRS_AT_ONCE = 1 << 24  # of objects and priors: 64 MB for each number that is kept of a pair
_EPS = 1e-7  # as in mmdet's assigner
_OVERRIDDEN = ("loss_by_feat_single", "get_targets", "_get_targets_single", "get_anchors")

mmrotate_loss = RotatedRTMDetHead.loss_by_feat


class Objects(NamedTuple):
    """The labelled boxes of some images: their image (M,), boxes (M, 5) and classes (M,)."""

    image: Tensor
    boxes: Tensor
    labels: Tensor


class Matches(NamedTuple):
    """The positive priors: their place image * P + prior (K,), their object (K,), and their IoU with it (K,)."""

    place: Tensor
    object: Tensor
    iou: Tensor


def install() -> None:
    """Let RTMDet-R's heads use :func:`loss_by_feat`. Calling it again changes nothing."""
    RotatedRTMDetHead.loss_by_feat = loss_by_feat


@contextmanager
def uninstalled() -> Iterator[None]:
    """While open, MMRotate's own method is in place, for comparisons."""
    RotatedRTMDetHead.loss_by_feat = mmrotate_loss
    try:
        yield
    finally:
        install()


def loss_by_feat(
    head: Any,
    cls_scores: list[Tensor],
    bbox_preds: list[Tensor],
    angle_preds: list[Tensor],
    batch_gt_instances: list[Any],
    batch_img_metas: list[dict[str, Any]],
    batch_gt_instances_ignore: Any = None,
) -> dict[str, Any]:
    """Replace ``RotatedRTMDetHead.loss_by_feat``; heads of other settings, or with methods of their own, keep theirs.

    Args:
        head: a RotatedRTMDetHead.
        cls_scores: of each level, (B, classes, H, W) logits.
        bbox_preds: of each level, (B, 4, H, W) distances in pixels.
        angle_preds: of each level, (B, A, H, W), as the head's angle coder encodes them.
        batch_gt_instances: of each image, with bboxes and labels.
        batch_img_metas: of each image.
        batch_gt_instances_ignore: not used by this assigner.
    """
    if not _serves(head, batch_gt_instances):
        return mmrotate_loss(
            head, cls_scores, bbox_preds, angle_preds, batch_gt_instances, batch_img_metas, batch_gt_instances_ignore
        )
    sizes = [level.shape[-2:] for level in cls_scores]
    priors = torch.cat(head.prior_generator.grid_priors(sizes, device=cls_scores[0].device, with_stride=True))
    valid = _valid_priors(head, sizes, batch_img_metas, priors.device)
    scores, distances, angles = (_flatten(levels) for levels in (cls_scores, bbox_preds, angle_preds))
    encoded = torch.cat([distances, head.angle_coder.decode(angles, keepdim=True)], dim=-1)
    decoded = distance2obb(priors, encoded, angle_version=head.angle_version)

    objects = gather(batch_gt_instances, priors.device)
    matches = match(head.assigner, scores.detach(), decoded.detach(), priors, valid, objects)
    labels = torch.full(scores.shape[:2], head.num_classes, dtype=torch.long, device=scores.device).view(-1)
    labels[matches.place] = objects.labels[matches.object]
    weights = valid.flatten().float() if valid is not None else priors.new_ones(len(labels))
    if head.train_cfg["pos_weight"] > 0:
        weights[matches.place] = head.train_cfg["pos_weight"]
    ious = priors.new_zeros(len(labels)).index_put((matches.place,), matches.iou)

    total = reduce_mean(matches.iou.sum()).clamp(min=1)
    loss_cls = head.loss_cls(scores.flatten(0, 1), (labels, ious), weights, avg_factor=1.0)
    if len(matches.place):
        targets = RotatedBoxes(objects.boxes.clone()).regularize_boxes(head.angle_version)[matches.object]
        predicted = decoded.flatten(0, 1)[matches.place]
        loss_bbox = head.loss_bbox(predicted, targets, weight=matches.iou, avg_factor=1.0)
    else:
        loss_bbox = decoded.sum() * 0
    return {"loss_cls": loss_cls / total, "loss_bbox": loss_bbox / total}


def gather(instances: list[Any], device: torch.device) -> Objects:
    """Join the labelled boxes of a batch; boxes and labels of each image are on the device already."""
    counts = torch.tensor([len(image.labels) for image in instances])
    images = torch.arange(len(instances)).repeat_interleave(counts).to(device, non_blocking=True)
    boxes = torch.cat([image.bboxes.tensor.reshape(-1, 5) for image in instances])
    return Objects(images, boxes, torch.cat([image.labels for image in instances]).long())


@torch.no_grad()
def match(
    assigner: DynamicSoftLabelAssigner,
    scores: Tensor,
    decoded: Tensor,
    priors: Tensor,
    valid: Tensor | None,
    objects: Objects,
) -> Matches:
    """Assign priors to objects as ``DynamicSoftLabelAssigner.assign`` does, in all images at once.

    Args:
        assigner: with the IoU of rotated boxes.
        scores: (B, P, classes) logits.
        decoded: (B, P, 5) predicted boxes.
        priors: (P, 4) x, y and the strides.
        valid: (B, P) bool, the priors that take part; None for all.
        objects: by ascending image.

    Returns:
        The matches by ascending place. Where costs tie, the kernel of ``torch.topk`` decides, as it does in MMRotate.
    """
    found = [
        _match(assigner, scores, decoded, priors, valid, Objects(*(column[rows] for column in objects)), rows.start)
        for rows in _portions(objects.image, len(priors))
    ]
    nothing = objects.labels.new_zeros(0)
    return Matches(*map(torch.cat, zip(*found, strict=True))) if found else Matches(nothing, nothing, priors[:0, 0])


def _match(
    assigner: DynamicSoftLabelAssigner,
    scores: Tensor,
    decoded: Tensor,
    priors: Tensor,
    valid: Tensor | None,
    objects: Objects,
    first: int,
) -> Matches:
    """Assign in some images, whose objects are numbered from `first` on.

    Rows are the objects, columns the priors of their image that are in any object ("candidates"), padded to one number.
    """
    image, boxes, labels = objects
    n_images, n_priors = scores.shape[:2]
    inside = _inside(boxes, priors[:, :2])
    wanted = scores.new_zeros((n_images, n_priors)).index_add_(0, image, inside.to(scores.dtype)) > 0
    if valid is not None:
        wanted &= valid
    of_image, prior = wanted.nonzero(as_tuple=True)
    counts = wanted.sum(dim=1)
    width = int(counts.max())
    if width == 0:
        return Matches(labels[:0], labels[:0], priors[:0, 0])
    slot = torch.arange(len(prior), device=prior.device) - (counts.cumsum(0) - counts)[of_image]
    candidates = prior.new_zeros((n_images, width)).index_put_((of_image, slot), prior)[image]  # (M, width)
    real = (torch.arange(width, device=prior.device) < counts[:, None])[image]

    ious = _ious(assigner.iou_calculator, decoded, of_image, prior, slot, objects, candidates, real)
    at = priors[candidates]
    distance = (at[..., :2] - boxes[:, None, :2]).pow(2).sum(-1).sqrt() / at[..., 2]
    cost = _class_cost(scores, of_image, prior, slot, objects, candidates, ious)
    cost = cost - torch.log(ious + _EPS) * assigner.iou_weight + 10 ** (distance - assigner.soft_center_radius)
    # A far prior costs infinity, and still less than what is no candidate.
    cost = cost.clamp(max=torch.finfo(cost.dtype).max).masked_fill(~real, torch.inf)

    k = min(assigner.topk, width)
    wanted_of_object = ious.topk(k, dim=1)[0].sum(1).int().clamp(min=1)
    cheapest = cost.topk(k, dim=1, largest=False)[1]
    taken = torch.arange(k, device=cost.device) < wanted_of_object[:, None]
    matched = torch.zeros_like(real).scatter_(1, cheapest, taken)

    # A prior that several objects took goes to the cheapest object of its image.
    rows = image[:, None].expand(-1, width)
    number = torch.arange(len(image), device=image.device)[:, None].expand(-1, width)
    n_takers = image.new_zeros((n_images, width)).scatter_add_(0, rows, matched.long())
    least = cost.new_full((n_images, width), torch.inf).scatter_reduce_(0, rows, cost, "amin")
    chosen = torch.where(n_takers[image] > 1, cost == least[image], matched)
    none = len(image) - 1  # in range, where a cost that is no number equals no other
    owner = number.new_full((n_images, width), none).scatter_reduce_(0, rows, torch.where(chosen, number, none), "amin")
    on, column = (n_takers > 0).nonzero(as_tuple=True)
    taker = owner[on, column]
    return Matches(on * n_priors + candidates[taker, column], taker + first, ious[taker, column])


def _inside(boxes: Tensor, points: Tensor, eps: float = 0.01) -> Tensor:
    """Whether points (P, 2) are in boxes (M, 5), by `eps` pixels: (M, P), as ``RotatedBoxes.find_inside_points``."""
    x, y = (points[:, axis] - boxes[:, axis, None] for axis in (0, 1))
    cos, sin = boxes[:, 4, None].cos(), boxes[:, 4, None].sin()
    half = boxes[:, 2:4] / 2 - eps
    return ((cos * x + sin * y).abs() <= half[:, :1]) & ((cos * y - sin * x).abs() <= half[:, 1:])


def _ious(
    calculator: RBboxOverlaps2D,
    decoded: Tensor,
    of_image: Tensor,
    prior: Tensor,
    slot: Tensor,
    objects: Objects,
    candidates: Tensor,
    real: Tensor,
) -> Tensor:
    """Compute the IoU of objects and their candidates' boxes, (M, width), 0 where there is no candidate."""
    image, boxes, _ = objects
    if decoded.is_cuda and runs_on(decoded.device):
        predicted = decoded[image[:, None], candidates].flatten(0, 1)
        ious = calculator(predicted, boxes.repeat_interleave(candidates.shape[1], dim=0), is_aligned=True)
        return ious.view(candidates.shape).masked_fill(~real, 0)
    # Elsewhere pairs that are far apart are left out, image by image.
    ious = decoded.new_zeros(candidates.shape)
    for number in image.unique_consecutive():
        own, theirs = image == number, of_image == number
        overlaps = calculator(decoded[number, prior[theirs]], boxes[own])
        ious[own.nonzero(), slot[theirs]] = overlaps.T
    return ious


def _class_cost(
    scores: Tensor, of_image: Tensor, prior: Tensor, slot: Tensor, objects: Objects, candidates: Tensor, ious: Tensor
) -> Tensor:
    """Compute the classification cost, (M, width): a quality focal loss whose target is the IoU in the object's class.

    In all other classes the target is 0, whatever the object: they are added up once for each prior.
    """
    image, _, labels = objects
    logits = scores[of_image, prior].float()
    background = logits.new_zeros((len(scores), candidates.shape[1]), dtype=torch.double)
    background[of_image, slot] = _focal(logits, torch.zeros_like(logits)).sum(dim=1, dtype=torch.double)
    own = scores[image[:, None], candidates, labels[:, None]].float()
    without = background[image] - _focal(own, torch.zeros_like(own))
    return (without + _focal(own, ious)).to(ious.dtype)


def _focal(logits: Tensor, target: Tensor) -> Tensor:
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return entropy * (target - logits.sigmoid()).abs().pow(2.0)


def _serves(head: Any, instances: list[Any]) -> bool:
    """Whether targets and losses are those of MMRotate's own configs."""
    return (
        type(head.assigner) is DynamicSoftLabelAssigner
        and type(head.assigner.iou_calculator) is RBboxOverlaps2D
        and type(head.sampler) is PseudoSampler
        and head.train_cfg["allowed_border"] < 0
        and not head.use_hbbox_loss
        and head.loss_angle is None
        and all(getattr(type(head), name) is getattr(RotatedRTMDetHead, name) for name in _OVERRIDDEN)
        and all(loss.reduction == "mean" and _is_known(loss) for loss in (head.loss_cls, head.loss_bbox))
        and all(isinstance(image.bboxes, RotatedBoxes) and "masks" not in image for image in instances)
    )


def _is_known(loss: Any) -> bool:
    """Whether a loss adds up over its boxes, as those of MMDetection and MMRotate do."""
    return type(loss).__module__.startswith(("mmdet.", "mmrotate."))


def _valid_priors(head: Any, sizes: list[Any], metas: list[dict[str, Any]], device: torch.device) -> Tensor | None:
    """Return which priors lie on an image, (B, P), where not all do: images of a batch may be padded differently."""
    strides = head.prior_generator.strides
    whole = [(height * stride[1], width * stride[0]) for (height, width), stride in zip(sizes, strides, strict=True)]
    if all(meta["pad_shape"][0] >= h and meta["pad_shape"][1] >= w for meta in metas for h, w in whole):
        return None
    flags = [torch.cat(head.prior_generator.valid_flags(sizes, meta["pad_shape"], device)) for meta in metas]
    return torch.stack(flags)


def _flatten(levels: list[Tensor]) -> Tensor:
    """Join levels (B, C, H, W) to (B, P, C)."""
    return torch.cat([level.flatten(2).transpose(1, 2) for level in levels], dim=1)


def _portions(image: Tensor, n_priors: int) -> Iterator[slice]:
    """Yield the objects of so many whole images that their pairs fit in memory."""
    ends = torch.unique_consecutive(image, return_counts=True)[1].cumsum(0).tolist()
    start = 0
    for position, end in enumerate(ends):
        if end == ends[-1] or (ends[position + 1] - start) * n_priors > _PAIRS_AT_ONCE:
            yield slice(start, end)
            start = end
