"""A detector that two cores train in seconds: MMRotate's RTMDet-R on the stored output of a frozen backbone.

Head, assigner, losses and post-processing are MMRotate's own, the neck is MMDetection's FPN (RTMDet's own costs more
than twice as much), and detections are collected by the library's own code. Left out is what dominates a short
training: images are not decoded, the frozen backbone does not run (see :mod:`experiments.learners.features`), and a
plain loop replaces MMEngine's Runner, whose start alone takes as long as forty iterations here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.model import BaseModule
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from mmrotate.registry import MODELS
from mmrotate.structures.bbox import RotatedBoxes
from torch import Tensor, nn

import al_rotate as al
from al_rotate.data.views import View
from al_rotate.detection import configs, openmmlab
from al_rotate.detection.checkpoints import init_weights_quietly, read_checkpoint, write_checkpoint
from al_rotate.detection.inference.forward import Forward
from al_rotate.detection.inference.options import OutputOptions
from al_rotate.detection.inference.pipeline import collect
from al_rotate.storage.files import atomic_write

from .features import CHANNELS, STRIDES, VIEWS, Sandbox

CONFIG = "rotated_rtmdet_tiny-3x-dota"
FLIPS = [k for k, view in enumerate(VIEWS) if view.quarters % 2 == 0]  # as MMRotate's own configs flip
_BATCH = 16  # images of a prediction

openmmlab.install()  # rotated IoU and its loss on CPUs


@MODELS.register_module()
class StoredFeatures(BaseModule):
    """A backbone whose input is its own output, all levels concatenated; it takes them apart."""

    def __init__(self, size: int, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.shapes = [
            (channels, size // stride, size // stride) for channels, stride in zip(CHANNELS, STRIDES, strict=True)
        ]

    def forward(self, flat: Tensor) -> tuple[Tensor, ...]:
        parts = flat.float().split([math.prod(shape) for shape in self.shapes], 1)
        return tuple(part.unflatten(1, shape) for part, shape in zip(parts, self.shapes, strict=True))


class _Stack(nn.Module):
    """A preprocessor that only stacks: there are no pixels to normalise."""

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        return {**data, "inputs": torch.stack(data["inputs"])}


def build(size: int, n_classes: int, width: int = 48) -> nn.Module:
    """Build RTMDet-R tiny's head on a plain FPN, both `width` wide: 0.13 million parameters at 48."""
    config = configs.load(CONFIG)
    configs.without_pretrained(config)
    configs.set_classes(config, [str(k) for k in range(n_classes)])
    model = config.model
    model.backbone = {"type": "StoredFeatures", "size": size}
    norm, act = {"type": "BN"}, {"type": "SiLU", "inplace": True}
    model.neck = {
        "type": "mmdet.FPN",
        "in_channels": list(CHANNELS),
        "out_channels": width,
        "num_outs": len(CHANNELS),
        "norm_cfg": norm,
        "act_cfg": act,
    }
    # exp_on_reg: without it a new head starts from boxes of size zero, whose IoU with anything is zero.
    model.bbox_head.update(in_channels=width, feat_channels=width, stacked_convs=1, exp_on_reg=True, norm_cfg=norm)
    init_default_scope("mmrotate")
    built = MODELS.build(model)
    built.data_preprocessor = _Stack()
    return built


class SandboxLearner:
    """A :class:`al_rotate.loop.Learner` on the images of a :class:`~experiments.learners.features.Sandbox`.

    Args:
        sandbox: images, labels and features.
        iterations: of each training, warm-up and cosine decay included.
        first_iterations: of a training without earlier weights. With as few as the others, mAP rises because the
            detector trains longer, whatever it is shown, and strategies cannot be told apart.
        lr: the highest learning rate (AdamW).
        seed: of the initial weights and of the order of the images.
        batch_size: images per iteration.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        iterations: int = 50,
        first_iterations: int = 200,
        lr: float = 2e-3,
        seed: int = 0,
        batch_size: int = 8,
    ) -> None:
        self.sandbox, self.iterations, self.first_iterations = sandbox, iterations, first_iterations
        self.lr, self.seed, self.batch_size = lr, seed, batch_size

    def predict(self, checkpoint: Path, images: Mapping[str, Path], out: Path, **outputs: bool) -> al.RotatedInstances:
        return self._detect(self._model(checkpoint), list(images), 0, out, **outputs)

    def predict_views(
        self, checkpoint: Path, images: Mapping[str, Path], views: Sequence[View], out: Path
    ) -> Sequence[al.RotatedInstances]:
        model = self._model(checkpoint)
        return [self._detect(model, list(images), VIEWS.index(view), out / view.name) for view in views]

    def train(
        self, checkpoint: Path | None, images: Mapping[str, Path], labels: al.RotatedInstances, work_dir: Path
    ) -> tuple[Path, dict[str, float]]:
        path, metrics = work_dir / "weights.pth", work_dir / "trained.json"
        if not metrics.exists():
            model = self._model(checkpoint).train()
            losses = self._fit(model, labels, self.first_iterations if checkpoint is None else self.iterations)
            work_dir.mkdir(parents=True, exist_ok=True)
            write_checkpoint(path, model.state_dict(), self.sandbox.classes)
            with atomic_write(metrics) as file:
                json.dump({"loss": float(np.mean(losses[-10:]))}, file)
        return path, json.loads(metrics.read_text())

    def _fit(self, model: nn.Module, labels: al.RotatedInstances, iterations: int) -> list[float]:
        """Train a model, each image in a random flip; the loss of each iteration."""
        rng = np.random.default_rng([self.seed, len(labels), labels.n_boxes])
        optimizer, schedule = self._optimizer(model, iterations)
        losses = []
        for _ in range(iterations):
            ids = labels.image_ids[rng.choice(len(labels), self.batch_size, len(labels) < self.batch_size)]
            views = rng.choice(FLIPS, self.batch_size)
            samples = [self._sample(labels, i, VIEWS[view]) for i, view in zip(ids, views, strict=True)]
            flat = torch.from_numpy(np.stack([self._features(i, view) for i, view in zip(ids, views, strict=True)]))
            terms = model.loss(flat, samples)
            loss = sum(part for value in terms.values() for part in (value if isinstance(value, list) else [value]))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 35)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        return losses

    def _optimizer(self, model: nn.Module, iterations: int) -> tuple[torch.optim.Optimizer, Any]:
        """AdamW as in RTMDet's configs: no decay for norms and biases, a warm-up, then a cosine."""
        groups = {decay: [p for p in model.parameters() if (p.ndim > 1) == decay] for decay in (True, False)}
        optimizer = torch.optim.AdamW(
            [{"params": params, "weight_decay": 0.05 * decay} for decay, params in groups.items()],
            lr=self.lr,
            fused=True,
        )
        warm_up = max(1, iterations // 6)

        def factor(step: int) -> float:
            if step < warm_up:
                return (step + 1) / warm_up
            return 0.025 + 0.975 * (1 + math.cos(math.pi * (step - warm_up) / max(1, iterations - warm_up))) / 2

        return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)

    def _model(self, checkpoint: Path | None) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            model = build(self.sandbox.size, len(self.sandbox.classes))
            if checkpoint is None:
                init_weights_quietly(model)
        if checkpoint is not None:
            read_checkpoint(checkpoint).into(model)
        return model.eval()

    def _features(self, image_id: str, view: int) -> np.ndarray:
        return self.sandbox.features[self.sandbox.row[image_id], view]

    def _sample(self, labels: al.RotatedInstances, image_id: str, view: View) -> DetDataSample:
        """The labels of an image in a view, as MMDetection takes them."""
        image = labels[image_id]
        width, height = self.sandbox.sizes[image_id]
        boxes = torch.from_numpy(view.boxes(image.boxes, width, height).astype(np.float32))
        sample = self._empty_sample(image_id, view.size(width, height))
        sample.gt_instances = InstanceData(
            bboxes=RotatedBoxes(boxes), labels=torch.from_numpy(image.labels.astype(np.int64))
        )
        return sample

    def _empty_sample(self, image_id: str, size: tuple[int, int]) -> DetDataSample:
        side, shape = (self.sandbox.size,) * 2, size[::-1]
        meta = {"img_id": image_id, "img_shape": shape, "ori_shape": shape, "scale_factor": (1.0, 1.0)}
        return DetDataSample(metainfo={**meta, "pad_shape": side, "batch_input_shape": side})

    def _detect(
        self, model: nn.Module, ids: Sequence[str], view: int, out: Path, **outputs: bool
    ) -> al.RotatedInstances:
        """Detect in one view of the images, and write the detections, mapped back, to `out`."""
        forward = Forward(
            model, len(self.sandbox.classes), OutputOptions(**outputs), torch.device("cpu"), "fp32", None, 1
        )
        prepared = [(k, self._prepared(image_id, view)) for k, image_id in enumerate(ids)]
        batches = [prepared[start : start + _BATCH] for start in range(0, len(ids), _BATCH)]
        with forward.ready():
            results = [result for _, batch in forward.run(batches) for result in batch]
        detections = collect(list(zip(ids, results, strict=True)), {}, self.sandbox.classes)
        if view:
            sizes = [self.sandbox.sizes[i] for i in ids]
            boxes = [VIEWS[view].back(image.boxes, *self.sandbox.sizes[i]) for i, image in detections]
            detections = detections.replace(
                boxes=np.concatenate([np.zeros((0, 5)), *boxes]), image_sizes=np.array(sizes)
            )
        detections.save(out / "0.parquet")
        return detections

    def _prepared(self, image_id: str, view: int) -> dict[str, Any]:
        """What a test pipeline would make of the image."""
        size = VIEWS[view].size(*self.sandbox.sizes[image_id])
        return {
            "inputs": torch.from_numpy(self._features(image_id, view).copy()),
            "data_samples": self._empty_sample(image_id, size),
        }
