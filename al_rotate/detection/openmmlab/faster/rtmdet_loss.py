"""Targets and losses of RTMDet-R for a whole batch at once.

MMRotate assigns image by image and object by object, and takes the losses level by level: thousands of operations and
hundreds of synchronisations with the device, where the network itself is 1,100 operations (docs/performance.md). The
targets here are the same, and the losses are equal but for the order in which they are added up.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmdet.models.task_modules import DynamicSoftLabelAssigner, PseudoSampler
from mmdet.utils import reduce_mean
from mmrotate.models.dense_heads import RotatedRTMDetHead
from mmrotate.models.task_modules import RBboxOverlaps2D
from mmrotate.structures import RotatedBoxes, distance2obb
from torch import Tensor

from .rtmdet_targets import gather, match

_OVERRIDDEN = ("loss_by_feat_single", "get_targets", "_get_targets_single", "get_anchors")

mmrotate_loss = RotatedRTMDetHead.loss_by_feat


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
        and all(_is_known(loss) and loss.reduction == "mean" for loss in (head.loss_cls, head.loss_bbox))
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
