"""Post-process whole batches: the results of MMDetection's dense heads, without their loop over images and levels.

A head that decodes image by image and level by level starts dozens of small kernels for each, and waits for each of
them. On a GPU that takes several times as long as the network. Here one pass over the batch thresholds scores and takes
the best of each level, decodes boxes by the head's own coder, runs NMS over all images and classes, and copies the
result to the host once. The arithmetic is MMRotate's, step by step, so that in float32 boxes and order are the same.
Where scores tie, the earlier location comes first, as on a GPU; on a CPU MMRotate leaves that to PyTorch's sort, which
is not stable.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.structures.bbox import cat_boxes, get_box_tensor
from mmengine.structures import InstanceData
from mmrotate.models.dense_heads import R3RefineHead, RotatedFCOSHead, RotatedRTMDetHead, S2ARefineHead
from mmrotate.structures.bbox import RotatedBoxes
from torch import Tensor

from .class_scores import final_head
from .features import replaced
from .grouped_nms import nms, places, ranked

# Those whose steps these are. R3RefineHead and S2ARefineHead get their priors from an earlier head.
_KNOWN = {
    "predict_by_feat": (BaseDenseHead, RotatedFCOSHead, RotatedRTMDetHead, R3RefineHead, S2ARefineHead),
    "_predict_by_feat_single": (BaseDenseHead, RotatedFCOSHead, RotatedRTMDetHead),
    "_bbox_post_process": (BaseDenseHead,),
}
_NMS_KEYS = {"type", "iou_threshold", "class_agnostic", "split_thr"}  # other settings are left to mmcv
_SPLIT = 10_000  # mmcv's default: of so many boxes it takes each class by itself


def can_batch(model: Any) -> bool:
    """Tell whether the results of `model`'s final head can be had for whole batches; others keep their own way."""
    head = final_head(model)
    for name, owners in _KNOWN.items():
        if getattr(type(head), name, None) not in [getattr(owner, name) for owner in owners]:
            return False
    config = head.test_cfg or {}
    suppression = config.get("nms") or {}
    return (
        suppression.get("type") == "nms_rotated"
        and "iou_threshold" in suppression
        and _NMS_KEYS.issuperset(suppression)
        and config.get("nms_pre", -1) > 0
        and config.get("max_per_img", -1) > 0
        and not getattr(head.loss_cls, "custom_cls_channels", False)
    )


@contextmanager
def in_batches(model: Any, class_scores: bool = False) -> Iterator[None]:
    """While open, `model`, of which :func:`can_batch` is true, post-processes whole batches.

    Its predictions lie on the host. With `class_scores` they carry ``class_scores`` (n, C), as those of
    :func:`.class_scores.keep_class_scores` do.
    """
    head = final_head(model)
    signature = inspect.signature(head.predict_by_feat)

    def predict_by_feat(*args: Any, **kwargs: Any) -> list[InstanceData]:
        return _predict(head, signature.bind(*args, **kwargs).arguments, class_scores)

    with replaced(head, "predict_by_feat", predict_by_feat):
        yield


def _predict(head: Any, given: dict[str, Any], class_scores: bool) -> list[InstanceData]:
    """Compute what ``head.predict_by_feat`` returns for these arguments."""
    metas = given["batch_img_metas"]
    if len({tuple(meta["img_shape"][:2]) for meta in metas}) > 1:  # boxes are clipped to it
        alone = ({name: _of_image(value, k) for name, value in given.items()} for k in range(len(metas)))
        return [results for arguments in alone for results in _predict(head, arguments, class_scores)]
    config = head.test_cfg
    scores = _flat(given["cls_scores"], head.cls_out_channels)  # (B, R, C), all levels' rows
    scores = scores.sigmoid() if head.use_sigmoid_cls else scores.softmax(-1)[..., :-1]
    rows_per_level = [level[0].numel() // head.cls_out_channels for level in given["cls_scores"]]
    image, row, label = _candidates(scores, rows_per_level, config.get("score_thr", 0), config.nms_pre)
    score = scores[image, row, label]

    boxes = _decode(head, given, image, row)
    if given.get("rescale"):
        boxes = _rescaled(boxes, boxes.new_tensor([[1 / s for s in meta["scale_factor"]] for meta in metas])[image])
    factor = None
    if given.get("score_factors") is not None:
        factor = _flat(given["score_factors"], 1)[image, row, 0].sigmoid()
        score = score * factor

    kept = _suppressed(boxes, score, label, image, (len(metas), scores.shape[2]), config)
    columns = [boxes[kept], score[kept, None], label[kept, None], image[kept, None]]
    if class_scores:
        of_all = scores[image[kept], row[kept]]
        columns.append(of_all if factor is None else of_all * factor[kept, None])
    return _split(torch.cat(columns, dim=1).cpu(), len(metas), class_scores)


def _of_image(value: Any, k: int) -> Any:
    """Keep one image of an argument of predict_by_feat: of a list for each level, or of one for each image."""
    if not isinstance(value, (list, tuple)):
        return value
    return [level[k : k + 1] for level in value] if isinstance(value[0], Tensor) else value[k : k + 1]


def _flat(levels: Sequence[Tensor], width: int) -> Tensor:
    """Join levels, each (B, A * width, h, w), as (B, R, width), in the order of the priors."""
    return torch.cat([level.permute(0, 2, 3, 1).reshape(len(level), -1, width) for level in levels], dim=1)


def _candidates(
    scores: Tensor, rows_per_level: list[int], score_thr: float, most: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Find the scores above the threshold, of each image and level the best.

    Returns:
        image, row and label of each, (N,), by image, level and descending score.
    """
    image, row, label = (scores > score_thr).nonzero().T.contiguous()
    bounds = torch.tensor(rows_per_level, device=scores.device).cumsum(0)
    group = image * len(rows_per_level) + torch.searchsorted(bounds, row, right=True)
    order = ranked(scores[image, row, label], group)
    order = order[places(group[order]) < most]
    return image[order], row[order], label[order]


def _decode(head: Any, given: dict[str, Any], image: Tensor, row: Tensor) -> Tensor:
    """Decode the candidates' boxes, (N, 5), in pixels of the network's input."""
    with_angles = "angle_preds" in given
    distances = _flat(given["bbox_preds"], 4 if with_angles else head.bbox_coder.encode_size)[image, row]
    if with_angles:
        angles = _flat(given["angle_preds"], head.angle_coder.encode_size)[image, row]
        distances = torch.cat([distances, head.angle_coder.decode(angles, keepdim=True)], dim=-1)
    if given.get("rois") is not None:
        priors = torch.stack([torch.cat([get_box_tensor(level) for level in levels]) for levels in given["rois"]])
        priors = priors[image, row]
    else:
        first = given["cls_scores"][0]
        sizes = [level.shape[-2:] for level in given["cls_scores"]]
        priors = cat_boxes(head.prior_generator.grid_priors(sizes, dtype=first.dtype, device=first.device))[row]
    max_shape = given["batch_img_metas"][0]["img_shape"]
    return get_box_tensor(head.bbox_coder.decode(priors, distances, max_shape=max_shape))


def _rescaled(boxes: Tensor, factors: Tensor) -> Tensor:
    """Scale rotated boxes by factors (N, 2) of x and y, as ``RotatedBoxes.rescale_`` does by one pair."""
    x, y = factors[:, :1], factors[:, 1:]
    centres, width, height, angle = boxes.split([2, 1, 1, 1], dim=-1)
    cos, sin = angle.cos(), angle.sin()
    width = width * ((x * cos) ** 2 + (y * sin) ** 2).sqrt()
    height = height * ((x * sin) ** 2 + (y * cos) ** 2).sqrt()
    return torch.cat([centres * factors, width, height, torch.atan2(x * sin, y * cos)], dim=-1)


def _suppressed(
    boxes: Tensor, score: Tensor, label: Tensor, image: Tensor, shape: tuple[int, int], config: Any
) -> Tensor:
    """Return the rows (K,) that NMS and the limit of each image leave, by image and descending score.

    Args:
        boxes, score, label, image: of the candidates, (N, 5) and (N,).
        shape: how many images and classes there are.
        config: the head's test settings.
    """
    n_images, n_classes = shape
    rows = torch.arange(len(boxes), device=boxes.device)
    if (least := config.get("min_bbox_size", -1)) >= 0:
        rows = rows[(boxes[:, 2:4] > least).all(dim=1)]
    boxes, score, label, image = boxes[rows], score[rows], label[rows], image[rows]
    if not config.nms.get("class_agnostic", False):
        # As mmcv: an offset of the centres for each class, whose rounding can decide about a pair.
        ends = torch.stack([boxes[:, :2].amax(dim=1), boxes[:, 2:4].amax(dim=1)], dim=1)
        largest = boxes.new_zeros((n_images, 2))
        largest = largest.scatter_reduce(0, image[:, None].expand(-1, 2), ends, "amax", include_self=False).sum(dim=1)
        boxes = torch.cat([boxes[:, :2] + (label * (largest + 1)[image])[:, None], boxes[:, 2:]], dim=1)
    count = torch.searchsorted(image, image, right=True) - torch.searchsorted(image, image)
    by_class = count >= config.nms.get("split_thr", _SPLIT)
    groups = image * n_classes + torch.where(by_class, label, 0)
    kept = nms(boxes, score, groups, config.nms.iou_threshold)
    kept = kept[ranked(score[kept], image[kept])]
    return rows[kept[places(image[kept]) < config.max_per_img]]


def _split(table: Tensor, n_images: int, class_scores: bool) -> list[InstanceData]:
    """Take the images apart: columns box, score, label, image and class scores, rows by ascending image."""
    results = []
    for rows in table.split(torch.bincount(table[:, 7].long(), minlength=n_images).tolist()):
        instances = InstanceData(bboxes=RotatedBoxes(rows[:, :5]), scores=rows[:, 5], labels=rows[:, 6].long())
        if class_scores:
            instances.class_scores = rows[:, 8:]
        results.append(instances)
    return results
