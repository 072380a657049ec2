"""Post-processing of a whole batch at once, as RTMDet-R's head does it image by image.

On tiles with few boxes MMDetection's own takes longer than the network, and so does what surrounds it, from samples of
data to structures of results: without both a tile takes 1.4 ms in place of 3.2, with the library's
:mod:`al_rotate.detection.networks.batched_heads` 3.0. Decoding is the head's coder, and suppression the library's,
which computes IoU in double precision: results equal MMDetection's up to rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from al_rotate import boxes


@torch.no_grad()
def detect(model: nn.Module, flat: Tensor, size: int) -> list[dict[str, Any]] | None:
    """Detect on a batch.

    Args:
        model: of :func:`experiments.learners.sandbox.build`, in evaluation mode.
        flat: (B, F) stored features.
        size: pixels, both sides of what the detector sees.

    Returns:
        For each image rotated (n, 5), scores (n,) descending, labels (n,), size, not_finite; None where an image has
        more candidates than the head looks at, which has to choose among them.
    """
    head, limits = model.bbox_head, model.bbox_head.test_cfg
    levels = list(zip(*head(model.extract_feat(flat)), strict=True))
    priors = head.prior_generator.grid_priors([scores.shape[-2:] for scores, *_ in levels], device="cpu")
    found = []
    for (class_scores, distances, angles), points in zip(levels, priors, strict=True):
        scores, distances, angles = (_by_point(part) for part in (class_scores, distances, angles))
        scores = scores.sigmoid()
        image, point, label = (scores > limits.score_thr).nonzero(as_tuple=True)
        if len(image) and int(image.bincount().max()) > limits.nms_pre:
            return None
        angle = head.angle_coder.decode(angles[image, point], keepdim=True)
        decoded = head.bbox_coder.decode(points[point], torch.cat([distances[image, point], angle], dim=-1))
        found.append((image, label, scores[image, point, label], decoded))
    image, label, score, box = (torch.cat(parts).numpy() for parts in zip(*found, strict=True))
    apart = box.astype(np.float64)
    apart[:, 0] += 16.0 * size * image  # no box is near one of another image
    kept = boxes.nms(apart, score, image * (1 + label.max(initial=0)) + label, limits.nms.iou_threshold)
    finite = np.isfinite(box[kept]).all(axis=1)
    results = []
    for number in range(len(flat)):
        own = image[kept] == number
        rows = kept[own & finite]
        results.append(
            {
                "rotated": box[rows],
                "scores": score[rows],
                "labels": label[rows],
                "size": (size, size),
                "not_finite": int((own & ~finite).sum()),
            }
        )
    return results


def _by_point(level: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H W, C)."""
    return level.permute(0, 2, 3, 1).flatten(1, 2)
