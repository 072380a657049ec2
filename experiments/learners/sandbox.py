"""A detector that two cores train in seconds: MMRotate's RTMDet-R on a backbone whose output is remembered.

Head, assigner, losses and post-processing are MMRotate's own, the neck is MMDetection's FPN (RTMDet's own costs more
than twice as much), and detections are gathered by the library's own code. What is left out is what takes the time of
a short training: pictures are not decoded, the frozen backbone is not run (see :mod:`sandbox_data`), and MMEngine's
Runner is replaced by a plain loop, since its start alone takes as long as forty iterations here.
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
from sandbox_data import CHANNELS, STRIDES, VIEWS, Sandbox
from torch import Tensor, nn

import al_rotate as al
from al_rotate.data.views import View
from al_rotate.detection import configs
from al_rotate.detection.checkpoints import read_checkpoint, write_checkpoint
from al_rotate.detection.detector import _init_quietly
from al_rotate.detection.inference.forward import Forward, OutputOptions
from al_rotate.detection.inference.pipeline import collect
from al_rotate.detection.openmmlab import components as registered  # noqa: F401  registered: rotated IoU and its loss on CPUs
from al_rotate.storage.files import atomic_write

CONFIG = "rotated_rtmdet_tiny-3x-dota"
FLIPS = [k for k, view in enumerate(VIEWS) if view.quarters % 2 == 0]  # as MMRotate's own configs flip


@MODELS.register_module()
class Remembered(BaseModule):
    """A backbone that is given its own output, the levels behind each other, and takes them apart."""

    def __init__(self, size: int, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.shapes = [
            (channels, size // stride, size // stride) for channels, stride in zip(CHANNELS, STRIDES, strict=True)
        ]

    def forward(self, flat: Tensor) -> tuple[Tensor, ...]:
        parts = flat.float().split([math.prod(shape) for shape in self.shapes], 1)
        return tuple(part.unflatten(1, shape) for part, shape in zip(parts, self.shapes, strict=True))


class _Stacked(nn.Module):
    """In place of a preprocessor: there are no pixels to normalise."""

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        return {**data, "inputs": torch.stack(data["inputs"])}


def build(size: int, n_classes: int, width: int = 48) -> nn.Module:
    """RTMDet-R tiny's head on a plain FPN, both `width` wide: 0.13 million parameters at 48."""
    config = configs.load(CONFIG)
    configs.without_pretrained(config)
    configs.set_classes(config, [str(k) for k in range(n_classes)])
    model = config.model
    model.backbone = {"type": "Remembered", "size": size}
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
    built.data_preprocessor = _Stacked()
    return built


class SandboxLearner:
    """A :class:`al_rotate.learner.Learner` on the pictures of a :class:`Sandbox`.

    Args:
        sandbox: whose images it is shown.
        iterations: of each training, warm-up and cosine decay included.
        first_iterations: of one that starts from nothing. With as few as the others have, mAP rises because the
            detector is trained on, whatever it is shown, and no strategy can be told from another.
        lr: the highest learning rate (AdamW).
        seed: of the weights' start and of the order of the images.
        batch_size: images an iteration.
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

    def predict(self, checkpoint: Path, images: Mapping[str, Path], out: Path, **keep: bool) -> al.RotatedInstances:
        return self._detect(self._model(checkpoint), list(images), 0, out, **keep)

    def predict_views(
        self, checkpoint: Path, images: Mapping[str, Path], views: Sequence[View], out: Path
    ) -> Sequence[al.RotatedInstances]:
        model = self._model(checkpoint)
        return [self._detect(model, list(images), VIEWS.index(view), out / view.name) for view in views]

    def train(
        self, checkpoint: Path | None, images: Mapping[str, Path], labels: al.RotatedInstances, work_dir: Path
    ) -> tuple[Path, dict[str, float]]:
        path, done = work_dir / "weights.pth", work_dir / "trained.json"
        if not done.exists():
            rng = np.random.default_rng([self.seed, len(labels), labels.n_boxes])
            model = self._model(checkpoint).train()
            iterations = self.first_iterations if checkpoint is None else self.iterations
            optimizer, schedule = self._optimizer(model, iterations)
            losses = []
            for _ in range(iterations):
                ids = labels.image_ids[rng.choice(len(labels), self.batch_size, len(labels) < self.batch_size)]
                views = rng.choice(FLIPS, self.batch_size)
                samples = [self._sample(labels, i, VIEWS[view]) for i, view in zip(ids, views, strict=True)]
                flat = torch.from_numpy(np.stack([self._flat(i, view) for i, view in zip(ids, views, strict=True)]))
                found = model.loss(flat, samples)
                loss = sum(part for value in found.values() for part in (value if isinstance(value, list) else [value]))
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 35)
                optimizer.step()
                schedule.step()
                losses.append(loss.item())
            work_dir.mkdir(parents=True, exist_ok=True)
            write_checkpoint(path, model.state_dict(), self.sandbox.classes)
            with atomic_write(done) as file:
                json.dump({"loss": float(np.mean(losses[-10:]))}, file)
        return path, json.loads(done.read_text())

    def _optimizer(self, model: nn.Module, iterations: int) -> tuple[torch.optim.Optimizer, Any]:
        """As RTMDet's configs have them: no decay for norms and biases, a warm-up, then a cosine."""
        groups = {decay: [p for p in model.parameters() if (p.ndim > 1) == decay] for decay in (True, False)}
        optimizer = torch.optim.AdamW(
            [{"params": params, "weight_decay": 0.05 * decay} for decay, params in groups.items()],
            lr=self.lr,
            fused=True,
        )
        warm, last = max(1, iterations // 6), iterations

        def factor(step: int) -> float:
            return (
                (step + 1) / warm
                if step < warm
                else 0.025 + 0.975 * (1 + math.cos(math.pi * (step - warm) / max(1, last - warm))) / 2
            )

        return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)

    def _model(self, checkpoint: Path | None) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            model = build(self.sandbox.size, len(self.sandbox.classes))
            if checkpoint is None:
                _init_quietly(model)
        if checkpoint is not None:
            read_checkpoint(checkpoint).into(model)
        return model.eval()

    def _flat(self, image_id: str, view: int) -> np.ndarray:
        return self.sandbox.features[self.sandbox.row[image_id], view]

    def _sample(self, labels: al.RotatedInstances, image_id: str, view: View) -> DetDataSample:
        one = labels[image_id]
        width, height = self.sandbox.sizes[image_id]
        boxes = torch.from_numpy(view.boxes(one.boxes, width, height).astype(np.float32))
        sample = self._empty(image_id, view.size(width, height))
        sample.gt_instances = InstanceData(
            bboxes=RotatedBoxes(boxes), labels=torch.from_numpy(one.labels.astype(np.int64))
        )
        return sample

    def _empty(self, image_id: str, size: tuple[int, int]) -> DetDataSample:
        side, shape = (self.sandbox.size,) * 2, size[::-1]
        meta = {"img_id": image_id, "img_shape": shape, "ori_shape": shape, "scale_factor": (1.0, 1.0)}
        return DetDataSample(metainfo={**meta, "pad_shape": side, "batch_input_shape": side})

    def _detect(self, model: nn.Module, ids: Sequence[str], view: int, out: Path, **keep: bool) -> al.RotatedInstances:
        kept = OutputOptions(None, keep.get("class_scores", False), keep.get("features", False))
        forward = Forward(model, len(self.sandbox.classes), kept, torch.device("cpu"), "fp32", None, 1)
        sizes = {i: self.sandbox.sizes[i] for i in ids}
        batches = [
            [
                (
                    start + k,
                    {
                        "inputs": torch.from_numpy(self._flat(i, view).copy()),
                        "data_samples": self._empty(i, VIEWS[view].size(*sizes[i])),
                    },
                )
                for k, i in enumerate(ids[start : start + 16])
            ]
            for start in range(0, len(ids), 16)
        ]
        with forward.ready():
            results = [output for _, outputs in forward.run(batches) for output in outputs]
        found = collect(list(zip(ids, results, strict=True)), {}, self.sandbox.classes)
        if view:
            boxes = [VIEWS[view].back(one.boxes, *sizes[i]) for i, one in found]
            found = found.replace(
                boxes=np.concatenate([np.zeros((0, 5)), *boxes]), image_sizes=np.array(list(sizes.values()))
            )
        found.save(out / "0.parquet")
        return found
