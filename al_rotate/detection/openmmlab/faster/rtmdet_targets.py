"""RTMDet's assignment of objects to priors, in all images of a batch at once.

It is that of RTMDet (Lyu et al. 2022, https://arxiv.org/abs/2212.07784, section 3.3), as ``DynamicSoftLabelAssigner``
computes it image by image and object by object.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmdet.models.task_modules import DynamicSoftLabelAssigner
from mmrotate.models.task_modules import RBboxOverlaps2D
from torch import Tensor

from ..gpu_ops import runs_on

_PAIRS_AT_ONCE = 1 << 24  # of objects and priors: 64 MB for each number that is kept of a pair
_EPS = 1e-7  # as in mmdet's assigner


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
    matched &= real  # an image none of whose objects has a prior inside has no candidate to take

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


def _portions(image: Tensor, n_priors: int) -> Iterator[slice]:
    """Yield the objects of so many whole images that their pairs fit in memory."""
    ends = torch.unique_consecutive(image, return_counts=True)[1].cumsum(0).tolist()
    start = 0
    for position, end in enumerate(ends):
        if end == ends[-1] or (ends[position + 1] - start) * n_priors > _PAIRS_AT_ONCE:
            yield slice(start, end)
            start = end
