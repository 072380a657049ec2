"""What configs of al_rotate name: our dataset, image loader, hooks and metric in MMEngine's registries.

Importing it, as ``custom_imports`` of those configs does, also lets ``RotatedIoULoss`` train on a CPU, and assigners
compare only boxes that may overlap.
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
from ...data import dataset as labelled
from ...data import images
from ...data.instances import RotatedInstances
from ...evaluation.mean_ap import evaluate
from . import install

install()


class TrainingDiverged(RuntimeError):
    """The loss stopped being a finite number."""


@DATASETS.register_module()
class RotatedInstancesDataset(BaseDetDataset):
    """MMEngine dataset over a file of :func:`al_rotate.labelled.write`.

    Unlike ``DOTADataset`` it keeps the order of the labels, takes any image suffix and any image id, and keeps
    images without a box unless ``filter_cfg=dict(filter_empty_gt=True)``. Boxes go out as four corners
    (``box_type='qbox'``), which every pipeline of MMRotate expects.
    """

    def load_data_list(self) -> list[dict[str, Any]]:
        labels, files = labelled.read(self.ann_file)
        listed = []
        for image_id, one in labels:
            corners = boxes.to_corners(one.boxes.astype(np.float64)).reshape(-1, 8)
            marked = [
                {"bbox": corner.tolist(), "bbox_label": int(label), "ignore_flag": 0}
                for corner, label in zip(corners, one.labels, strict=True)
            ]
            listed.append({"img_path": str(files[image_id]), "img_id": image_id, "instances": marked})
        return listed

    def filter_data(self) -> list[dict[str, Any]]:
        drop = not self.test_mode and (self.filter_cfg or {}).get("filter_empty_gt", False)
        return [item for item in self.data_list if item["instances"] or not drop]

    def get_cat_ids(self, idx: int) -> list[int]:
        return [instance["bbox_label"] for instance in self.get_data_info(idx)["instances"]]


@TRANSFORMS.register_module()
class LoadImageAsShown(BaseTransform):
    """Read ``img_path`` as :func:`al_rotate.images.read` does, so that training sees what the detector sees."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        array = images.read(results["img_path"], "BGR")
        results.update(img=array, img_shape=array.shape[:2], ori_shape=array.shape[:2])
        return results


@METRICS.register_module()
class RotatedMAP(BaseMetric):
    """``DOTAMetric``'s figures, per class too, from this one process.

    Args:
        iou_thrs: one rotated IoU or several to average over.
        eval_mode: ``11points`` or ``area``.
    """

    default_prefix = "dota"

    def __init__(
        self, iou_thrs: float | Sequence[float] = 0.5, eval_mode: Any = "11points", metric: str = "mAP", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.iou_thrs, self.eval_mode = iou_thrs, eval_mode

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        for sample in data_samples:
            found, truth = sample["pred_instances"], sample["gt_instances"]
            arrays = [found["bboxes"], found["labels"], found["scores"], truth["bboxes"], truth["labels"]]
            self.results.append((str(sample["img_id"]), *(getattr(a, "tensor", a).cpu().numpy() for a in arrays)))

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        ids, found, found_labels, scores, truth, truth_labels = zip(*results, strict=True)
        classes = self.dataset_meta["classes"]

        def gather(rows: Sequence[Any], labels: Sequence[Any], scores: Sequence[Any] | None = None) -> RotatedInstances:
            offsets = np.cumsum([0, *map(len, rows)])
            joined = None if scores is None else np.concatenate(scores)
            canonical = boxes.canonical(np.concatenate(rows))
            return RotatedInstances(ids, offsets, canonical, np.concatenate(labels), joined, classes=classes)

        detections, labels = gather(found, found_labels, scores), gather(truth, truth_labels)
        return evaluate(detections, labels, self.iou_thrs, self.eval_mode).metrics()


@HOOKS.register_module()
class StopWhenDiverged(Hook):
    """Stop at the first loss that is not finite, before weights spoilt by it are saved."""

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
    """One bar of iterations with the loss, instead of the log on the screen."""

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
