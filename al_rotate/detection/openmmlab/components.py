"""Our dataset, image loader, metric and hooks in MMEngine's registries, for the configs that finetune writes.

``custom_imports`` of these configs imports this module, which also applies the patches of :func:`.install`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.datasets import BaseDetDataset
from mmengine.evaluator import BaseMetric
from mmrotate.registry import DATASETS, METRICS, TRANSFORMS

from ... import boxes
from ...data import RotatedInstances, dataset, images
from ...evaluation.mean_ap import evaluate
from . import install
from .faster.remembered import remembering
from .hooks import ProgressBar as ProgressBar
from .hooks import StopWhenDiverged as StopWhenDiverged
from .hooks import TrainingDiverged as TrainingDiverged

install()


@DATASETS.register_module()
class RotatedInstancesDataset(BaseDetDataset):
    """MMEngine dataset over a file of :func:`al_rotate.data.dataset.write`.

    Unlike ``DOTADataset`` it keeps the order of the labels, takes any image suffix and any image id, and keeps
    images without a box unless ``filter_cfg=dict(filter_empty_gt=True)``. Boxes are given as four corners
    (``box_type='qbox'``), as every pipeline of MMRotate expects.

    Args:
        remember: bytes for decoded and resized images, in a training whose pipeline resizes before it draws random
            numbers; 0 for none; by default a quarter of the free memory, at most 4 GB.
    """

    def __init__(self, *args: Any, remember: int | None = None, **kwargs: Any) -> None:
        self.remember = remember
        super().__init__(*args, **kwargs)

    def full_init(self) -> None:
        if not self._fully_initialized:
            super().full_init()
            if not self.test_mode and self.remember != 0:
                remembers = remembering(self.pipeline, len(self), (LoadImageAsShown,), self.remember)
                self.pipeline: Any = remembers

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
