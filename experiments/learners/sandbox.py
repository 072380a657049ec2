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
from mmengine.model import BaseModule, ExponentialMovingAverage
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from mmrotate.registry import MODELS
from mmrotate.structures.bbox import RotatedBoxes
from numpy.typing import NDArray
from torch import Tensor, nn

import al_rotate as al
from al_rotate.data.views import View
from al_rotate.detection import configs, openmmlab
from al_rotate.detection.checkpoints import init_weights_quietly, read_checkpoint, write_checkpoint
from al_rotate.detection.inference.forward import Forward
from al_rotate.detection.inference.options import OutputOptions
from al_rotate.detection.inference.pipeline import collect
from al_rotate.detection.training.schedule import Schedule
from al_rotate.storage.files import atomic_write

from .features import CHANNELS, FLIPS, STRIDES, Sandbox

CONFIG = "rotated_rtmdet_tiny-3x-dota"
BATCH = 64  # images of a prediction
WEIGHTS = "weights.pth"  # in the folder of a training

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
        return self._detect(self._model(checkpoint), list(images), View(), out, **outputs)

    def predict_views(
        self, checkpoint: Path, images: Mapping[str, Path], views: Sequence[View], out: Path
    ) -> Sequence[al.RotatedInstances]:
        model = self._model(checkpoint)
        return [self._detect(model, list(images), view, out / view.name) for view in views]

    def train(
        self,
        checkpoint: Path | None,
        images: Mapping[str, Path],
        labels: al.RotatedInstances,
        work_dir: Path,
        schedule: Schedule | None = None,
    ) -> tuple[Path, dict[str, float]]:
        path, metrics = work_dir / WEIGHTS, work_dir / "trained.json"
        if not metrics.exists():
            model = self._model(checkpoint).train()
            if schedule is None:
                iterations = self.iterations_for(len(labels), first=checkpoint is None)
            else:
                iterations = schedule.iterations(len(labels))
            losses = self._fit(model, labels, iterations, schedule)
            work_dir.mkdir(parents=True, exist_ok=True)
            write_checkpoint(path, model.state_dict(), self.sandbox.classes)
            with atomic_write(metrics) as file:
                json.dump({"loss": float(np.mean(losses[-10:])), "iterations": iterations}, file)
        return path, json.loads(metrics.read_text())

    def iterations_for(self, n_images: int, first: bool) -> int:
        """How long to train on so many labelled images.

        Args:
            n_images: labelled ones.
            first: whether there are no earlier weights.
        """
        return self.first_iterations if first else self.iterations

    def batch(
        self, labels: al.RotatedInstances, rng: np.random.Generator, times: NDArray[np.int64] | None = None
    ) -> list[str]:
        """Draw the ids of the images of one iteration; `times` says how many times each takes part, (M,)."""
        ids = labels.image_ids if times is None else np.repeat(labels.image_ids, times)
        return rng.choice(ids, self.batch_size, len(ids) < self.batch_size).tolist()

    def _fit(
        self, model: nn.Module, labels: al.RotatedInstances, iterations: int, schedule: Schedule | None
    ) -> list[float]:
        """Train a model, each image in a random flip; the loss of each iteration."""
        rng = np.random.default_rng([self.seed, len(labels), labels.n_boxes])
        optimizer, rates = self._optimizer(model, schedule.rates(iterations) if schedule else _rates(iterations))
        mean, times = None, None
        if schedule and schedule.ema:
            mean = ExponentialMovingAverage(model, min(0.5, 1 / (schedule.ema * iterations)), update_buffers=True)
        if schedule and schedule.balance:
            times = repeats(labels, schedule.balance)
        losses: list[float] = []
        seen: dict[tuple[str, View], DetDataSample] = {}
        flips = [view for view in self.sandbox.views if view in FLIPS]
        for _ in range(iterations):
            ids = self.batch(labels, rng) if times is None else self.batch(labels, rng, times)
            pairs = [(i, flips[k]) for i, k in zip(ids, rng.integers(0, len(flips), len(ids)).tolist(), strict=True)]
            seen |= {pair: self._sample(labels, *pair) for pair in pairs if pair not in seen}
            samples = [seen[pair] for pair in pairs]
            flat = torch.from_numpy(np.stack([self.sandbox.of(image_id, view) for image_id, view in pairs]))
            terms = model.loss(flat, samples)
            loss = sum(part for value in terms.values() for part in (value if isinstance(value, list) else [value]))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 35)
            optimizer.step()
            rates.step()
            if mean is not None:
                mean.update_parameters(model)
            losses.append(loss.item())
        if mean is not None:
            model.load_state_dict(mean.module.state_dict())
        return losses

    def _optimizer(self, model: nn.Module, rates: NDArray[np.float64]) -> tuple[torch.optim.Optimizer, Any]:
        """AdamW as in RTMDet's configs: no decay for norms and biases; the share of `lr` in each iteration, (T,)."""
        groups = {decay: [p for p in model.parameters() if (p.ndim > 1) == decay] for decay in (True, False)}
        optimizer = torch.optim.AdamW(
            [{"params": params, "weight_decay": 0.05 * decay} for decay, params in groups.items()],
            lr=self.lr,
            fused=True,
        )
        return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rates[min(step, len(rates) - 1)])

    def _model(self, checkpoint: Path | None) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            model = build(self.sandbox.size, len(self.sandbox.classes))
            if checkpoint is None:
                init_weights_quietly(model)
        if checkpoint is not None:
            read_checkpoint(checkpoint).into(model)
        return model.eval()

    def _sample(self, labels: al.RotatedInstances, image_id: str, view: View) -> DetDataSample:
        """The labels of an image in a view, as MMDetection takes them."""
        image = labels[image_id]
        width, height = self.sandbox.sizes[image_id]
        seen = _scaled(image.boxes, np.full(image.n_boxes, self.sandbox.scale.get(image_id, 1.0)))
        boxes = torch.from_numpy(view.boxes(seen, width, height).astype(np.float32))
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
        self, model: nn.Module, ids: Sequence[str], view: View, out: Path, **outputs: bool
    ) -> al.RotatedInstances:
        """Detect in one view of the images, and write the detections, mapped back, to `out`."""
        results = self.results(model, ids, view, OutputOptions(**outputs))
        detections = collect(list(zip(ids, results, strict=True)), {}, self.sandbox.classes)
        scales = np.array([self.sandbox.scale.get(i, 1.0) for i in ids])
        if view != View() or (scales != 1).any():
            sizes = np.array([self.sandbox.sizes[i] for i in ids]).reshape(-1, 2)
            boxes = np.concatenate([np.zeros((0, 5)), *self._back(detections, view)])
            detections = detections.replace(
                boxes=_scaled(boxes, 1 / scales[detections.image_index]).astype(np.float32),
                image_sizes=np.rint(sizes / scales[:, None]).astype(int),
            )
        detections.save(out / "0.parquet")
        return detections

    def results(self, model: nn.Module, ids: Sequence[str], view: View, wanted: OutputOptions) -> list[dict[str, Any]]:
        """Detect by the library's own code, in pixels that the detector sees; see :meth:`Forward.run`."""
        forward = Forward(model, len(self.sandbox.classes), wanted, torch.device("cpu"), "fp32", None, 1)
        starts = range(0, len(ids), BATCH)
        batches = ([(k, self._prepared(ids[k], view)) for k in range(n, min(n + BATCH, len(ids)))] for n in starts)
        with forward.ready():
            return [result for _, batch in forward.run(batches) for result in batch]

    def _back(self, detections: al.RotatedInstances, view: View) -> list[np.ndarray]:
        """The boxes of each image, mapped back from a view."""
        if view == View():
            return [detections.boxes]
        return [view.back(image.boxes, *self.sandbox.sizes[image_id]) for image_id, image in detections]

    def _prepared(self, image_id: str, view: View) -> dict[str, Any]:
        """What a test pipeline would make of the image."""
        return {
            "inputs": torch.from_numpy(self.sandbox.of(image_id, view).copy()),
            "data_samples": self._empty_sample(image_id, view.size(*self.sandbox.sizes[image_id])),
        }


def repeats(labels: al.RotatedInstances, threshold: float) -> NDArray[np.int64]:
    """How many times each image takes part in class-balanced training, (M,), as MMEngine's ClassBalancedDataset."""
    present = np.zeros((len(labels), len(labels.classes or ())), bool)
    present[labels.image_index, labels.labels] = True
    shares = present.mean(axis=0)
    wanted = np.sqrt(threshold / np.where(shares > 0, shares, 1))
    return np.ceil(np.maximum(1, (present * wanted).max(axis=1))).astype(np.int64)


def _rates(iterations: int) -> NDArray[np.float64]:
    """A warm-up and a cosine, as the detector of the published tables was trained."""
    warm_up, steps = max(1, iterations // 6), np.arange(iterations)
    falling = 0.025 + 0.975 * (1 + np.cos(np.pi * (steps - warm_up) / max(1, iterations - warm_up))) / 2
    return np.where(steps < warm_up, (steps + 1) / warm_up, falling)


def _scaled(boxes: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Boxes (N, 5) in pixels that are so many times as small, (N,)."""
    return boxes * np.column_stack([scales] * 4 + [np.ones(len(scales))]).reshape(-1, 5)
