"""Keep the class scores that MMDetection drops.

After post-processing a box has one score, that of its label. This module keeps the scores of all classes, which exist
just before. One-stage heads pick their candidates with ``filter_scores_and_topk``, which returns the rows it took, and
then index all results by what NMS keeps. Two-stage heads call ``multiclass_nms``, which can return the rows it kept.
Each thread notes the scores of its own images.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def keep_class_scores(model: nn.Module) -> Iterator[None]:
    """While open, `model`'s predictions carry ``class_scores`` (n, C), where column ``labels`` equals ``scores``.

    C is the number of foreground classes. One-stage heads give independent sigmoid scores, times the centerness where a
    head has one; two-stage heads give softmax probabilities without the background's.

    Raises:
        NotImplementedError: for a head with another kind of post-processing.
    """
    head = final_head(model)
    method = type(head)._predict_by_feat_single
    # Heads import these functions by name, so the name to replace is the one in the method's own module.
    names = method.__globals__
    if "filter_scores_and_topk" in names:
        patches = _one_stage(head, names)
    elif "multiclass_nms" in names:
        patches = _two_stage(head, names)
    else:
        raise NotImplementedError(
            f"class scores of {type(head).__name__} cannot be kept: its post-processing is unknown"
        )
    with patches:
        yield


def final_head(model: Any) -> Any:
    """Find the head whose boxes the detector returns."""
    if hasattr(model, "roi_head"):
        head = model.roi_head.bbox_head
    else:
        head = getattr(model, "bbox_head_refine", None) or model.bbox_head
    return head[-1] if isinstance(head, nn.ModuleList) else head


@contextmanager
def _one_stage(head: Any, names: dict[str, Any]) -> Iterator[None]:
    filter_candidates, post_process = names["filter_scores_and_topk"], head._bbox_post_process
    noted = threading.local()

    def filter_and_note(scores: Tensor, *args: Any, **kwargs: Any) -> Any:
        kept_rows = filter_candidates(scores, *args, **kwargs)
        noted.levels = [*getattr(noted, "levels", []), scores[kept_rows[2]]]
        return kept_rows

    def post_process_with_scores(results: Any, *args: Any, **kwargs: Any) -> Any:
        results.class_scores = torch.cat(noted.levels)
        noted.levels = []
        if "score_factors" in results:
            results.class_scores = results.class_scores * results.score_factors[:, None]
        return post_process(results, *args, **kwargs)

    names["filter_scores_and_topk"], head._bbox_post_process = filter_and_note, post_process_with_scores
    try:
        yield
    finally:
        names["filter_scores_and_topk"] = filter_candidates
        del head._bbox_post_process


@contextmanager
def _two_stage(head: Any, names: dict[str, Any]) -> Iterator[None]:
    multiclass_nms, predict_single = names["multiclass_nms"], head._predict_by_feat_single
    noted = threading.local()

    def nms_and_note(boxes: Tensor, scores: Tensor, *args: Any, **kwargs: Any) -> Any:
        detections, labels, kept_rows = multiclass_nms(boxes, scores, *args, **{**kwargs, "return_inds": True})
        n_classes = scores.shape[1] - 1  # the last column is the background
        noted.scores = scores[:, :-1][torch.div(kept_rows, n_classes, rounding_mode="floor")]
        return detections, labels

    def predict_with_scores(*args: Any, **kwargs: Any) -> Any:
        noted.scores = None
        results = predict_single(*args, **kwargs)
        if noted.scores is not None:
            results.class_scores = noted.scores
        return results

    names["multiclass_nms"], head._predict_by_feat_single = nms_and_note, predict_with_scores
    try:
        yield
    finally:
        names["multiclass_nms"] = multiclass_nms
        del head._predict_by_feat_single
