"""Our dataset, image loader, metric and hooks in MMEngine's registries, for the configs that finetune writes.

``custom_imports`` of these configs imports this module, which also applies the patches of :func:`.install`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmdet.datasets import BaseDetDataset
from mmengine.dist import get_rank
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmrotate.registry import DATASETS, HOOKS, METRICS, TRANSFORMS
from tqdm.auto import tqdm

from ... import boxes
from ...data import RotatedInstances, dataset, images
from ...evaluation.mean_ap import evaluate
from . import install

install()


class TrainingDiverged(RuntimeError):
    """The loss is no longer a finite number."""


@DATASETS.register_module()
class RotatedInstancesDataset(BaseDetDataset):
    """MMEngine dataset over a file of :func:`al_rotate.data.dataset.write`.

    Unlike ``DOTADataset`` it keeps the order of the labels, takes any image suffix and any image id, and keeps
    images without a box unless ``filter_cfg=dict(filter_empty_gt=True)``. Boxes are given as four corners
    (``box_type='qbox'``), as every pipeline of MMRotate expects.
    """

    def load_data_list(self) -> list[dict[str, Any]]:
        labels, files = dataset.read(self.ann_file)
        data_list = []
        for image_id, image in labels:
            corners = boxes.to_corners(image.boxes.astype(np.float64)).reshape(-1, 8)
            instances = [
                {"bbox": bbox.tolist(), "bbox_label": int(label), "ignore_flag": 0}
                for bbox, label in zip(corners, image.labels, strict=True)
            ]
            data_list.append({"img_path": str(files[image_id]), "img_id": image_id, "instances": instances})
        return data_list

    def filter_data(self) -> list[dict[str, Any]]:
        drop_empty = not self.test_mode and (self.filter_cfg or {}).get("filter_empty_gt", False)
        return [item for item in self.data_list if item["instances"] or not drop_empty]

    def get_cat_ids(self, idx: int) -> list[int]:
        return [instance["bbox_label"] for instance in self.get_data_info(idx)["instances"]]


@TRANSFORMS.register_module()
class LoadImageAsShown(BaseTransform):
    """Read ``img_path`` with :func:`al_rotate.images.read`, so that training sees what the detector sees."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        array = images.read(results["img_path"], "BGR")
        results.update(img=array, img_shape=array.shape[:2], ori_shape=array.shape[:2])
        return results


@METRICS.register_module()
class RotatedMAP(BaseMetric):
    """The figures of ``DOTAMetric``, also per class, without its worker processes.

    Args:
        iou_thrs: one threshold of rotated IoU, or several to average over.
        eval_mode: ``11points`` or ``area``.
        metric: accepted for configs of ``DOTAMetric``; mAP is the only one.
    """

    default_prefix = "dota"

    def __init__(
        self, iou_thrs: float | Sequence[float] = 0.5, eval_mode: Any = "11points", metric: str = "mAP", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.iou_thrs, self.eval_mode = iou_thrs, eval_mode

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        for sample in data_samples:
            predicted, truth = sample["pred_instances"], sample["gt_instances"]
            arrays = [predicted["bboxes"], predicted["labels"], predicted["scores"], truth["bboxes"], truth["labels"]]
            self.results.append((str(sample["img_id"]), *(getattr(a, "tensor", a).cpu().numpy() for a in arrays)))

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        ids, predicted, predicted_labels, scores, truth, truth_labels = zip(*results, strict=True)

        def join(bboxes: Sequence[Any], labels: Sequence[Any], scores: Sequence[Any] | None = None) -> RotatedInstances:
            return RotatedInstances(
                ids,
                np.cumsum([0, *map(len, bboxes)]),
                boxes.canonical(np.concatenate(bboxes)),
                np.concatenate(labels),
                None if scores is None else np.concatenate(scores),
                classes=self.dataset_meta["classes"],
            )

        detections, labels = join(predicted, predicted_labels, scores), join(truth, truth_labels)
        return evaluate(detections, labels, self.iou_thrs, self.eval_mode).metrics()


@HOOKS.register_module()
class StopWhenDiverged(Hook):
    """Stop at the first loss that is not finite, before a checkpoint of NaN weights is saved."""

    priority = "VERY_HIGH"

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        loss = _loss(outputs)
        if not math.isfinite(loss):
            rate = max(rate for rates in runner.optim_wrapper.get_lr().values() for rate in rates)
            raise TrainingDiverged(
                f"the loss is {loss} at iteration {runner.iter + 1}, learning rate {rate:.2g}. Lower "
                "optim_wrapper.optimizer.lr, lengthen the warm-up (param_scheduler), or set "
                "optim_wrapper.clip_grad.max_norm; then train in a new work_dir"
            )


@HOOKS.register_module()
class ProgressBar(Hook):
    """Show one bar of iterations with the loss, instead of MMEngine's log."""

    priority = "VERY_LOW"

    def before_train(self, runner: Runner) -> None:
        if get_rank() == 0:
            self.bar = tqdm(total=runner.max_iters, initial=runner.iter, unit="iteration", desc="train")

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        if get_rank() == 0:
            self.bar.set_postfix(loss=f"{_loss(outputs):.3f}", refresh=False)
            self.bar.update()

    def after_train(self, runner: Runner) -> None:
        if get_rank() == 0:
            self.bar.close()


def _loss(outputs: dict[str, Any] | None) -> float:
    loss = (outputs or {}).get("loss", 0.0)
    return float(loss.detach() if isinstance(loss, torch.Tensor) else loss)
