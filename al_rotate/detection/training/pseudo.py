"""Train on pseudo-labelled images: their dataset, and the step of its pipeline that erases what is in doubt.

What the detector is not sure of is erased from the pixels. To give such boxes a weight of zero would need the help of
each head's assigner, and most of MMRotate's know nothing of ignored boxes; a pipeline step works with any config.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmrotate.registry import DATASETS, TRANSFORMS

from ... import boxes
from ...data import RotatedInstances
from ..openmmlab.components import RotatedInstancesDataset

_MARGIN = 1.2  # times as long as the box is what is erased: a box in doubt rarely fits its object


@DATASETS.register_module()
class PseudoLabelledDataset(RotatedInstancesDataset):
    """A :class:`RotatedInstancesDataset` whose images have boxes to be erased.

    Args:
        ignored_file: a file of :meth:`RotatedInstances.save` with these boxes, for the same images.
    """

    def __init__(self, *args: Any, ignored_file: str, **kwargs: Any) -> None:
        self.ignored_file = ignored_file
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        ignored = RotatedInstances.load(self.ignored_file)
        return [{**item, "ignored": ignored[item["img_id"]].boxes} for item in super().load_data_list()]


@TRANSFORMS.register_module()
class EraseIgnored(BaseTransform):
    """Fill ``ignored`` boxes with the image's mean colour, but for the pixels of its labels. Comes after loading."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        image: Any = results["img"]
        erased = np.zeros(image.shape[:2], np.uint8)
        ignored = results["ignored"].astype(np.float64) * [1, 1, _MARGIN, _MARGIN, 1]
        labels = [np.reshape(instance["bbox"], (4, 2)) for instance in results["instances"]]
        for value, corners in ((1, boxes.to_corners(ignored).reshape(-1, 4, 2)), (0, labels)):
            for polygon in corners:
                cv2.fillPoly(erased, [np.rint(polygon).astype(np.int32)], value)
        mean = image.reshape(-1, image.shape[2]).mean(axis=0)
        results["img"] = np.where(erased[..., None] == 1, mean.astype(image.dtype), image)
        return results
