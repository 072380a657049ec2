"""Detector: any MMRotate model over many images, in batches, into one container."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.model.utils import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmrotate.registry import MODELS
from torch import nn
from tqdm.auto import tqdm

from . import boxes, class_scores, configs, features, precision
from . import views as _views
from ._shards import Shards
from ._sources import Images, Source, ahead, as_pairs, batched, read
from .checkpoints import read_checkpoint, write_checkpoint
from .images import UnreadableImage
from .instances import RotatedInstances
from .views import DIHEDRAL, View

SHARD = 256  # images a shard: what a kill can cost
_FAR = 1e9  # pixels: no box reaches so far


class _Keep(NamedTuple):
    """What of the predictions is kept."""

    score_thr: float | None
    class_scores: bool
    features: bool


class Detector:
    """An MMRotate detector ready to predict.

    Args:
        config: path, ``mmengine.Config``, or name of a config shipped with MMRotate.
        checkpoint: path of a checkpoint, ``"zoo"`` for the published weights of a shipped config, or None for
            random weights. Read without unpickling code.
        device: ``"auto"`` (a GPU if there is one), ``"cpu"``, ``"cuda:0"``, ...
        cfg_options: dotted key -> value, merged into the config.
        classes: class names; by default the checkpoint's, else those of the config's dataset.
        precision: ``"bf16"`` runs backbone, neck and heads in bfloat16 autocast, boxes stay float32.

    Attributes:
        model, config, classes, device, precision; checkpoint: the file the weights came from, None if random.

    Raises:
        FileNotFoundError, ValueError: for a config, checkpoint or class count that does not fit; says what to do.
    """

    def __init__(
        self,
        config: str | Path | Config,
        checkpoint: str | Path | None = None,
        device: str = "auto",
        cfg_options: dict[str, Any] | None = None,
        classes: Sequence[str] | None = None,
        precision: Literal["fp32", "bf16"] = "fp32",
    ) -> None:
        if precision not in ("fp32", "bf16"):
            raise ValueError(f"expected precision fp32 or bf16, got {precision!r}")
        self.config = configs.load(config, cfg_options)
        configs.without_pretrained(self.config)
        loaded = None
        if checkpoint is not None:
            loaded = read_checkpoint(configs.published_weights(config) if str(checkpoint) == "zoo" else checkpoint)
        known = loaded.classes if loaded else None
        self.classes = tuple(classes or known or configs.dataset_classes(self.config))
        if known and (len(known) != len(self.classes) or (known != self.classes and {*known} == {*self.classes})):
            raise ValueError(f"expected the {len(known)} classes of {checkpoint}, {known}, got {self.classes}")
        configs.set_classes(self.config, self.classes)
        self.device = torch.device(("cuda:0" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        self.precision = precision
        init_default_scope(self.config.default_scope)
        model = revert_sync_batchnorm(MODELS.build(self.config.model))
        if loaded:
            loaded.into(model)
        else:
            _init_quietly(model)
        self.checkpoint = loaded and loaded.path
        self.model: nn.Module = model.to(self.device).eval()
        self._pipeline = Compose(configs.array_pipeline(self.config))

    def predict(
        self,
        images: Images,
        batch_size: int = 8,
        workers: int | None = None,
        score_thr: float | None = None,
        progress: bool = True,
        out: str | Path | None = None,
        class_scores: bool = False,
        features: bool = False,
    ) -> RotatedInstances:
        """Detect in many images.

        Equal, image by image, to MMRotate's ``inference_detector`` with each box in canonical le90 form: only
        images that the test pipeline brings to one shape share a batch, so nothing is padded differently.

        Args:
            images: a folder, files, a mapping image id -> file, or an iterable of arrays (H, W, 3) uint8 BGR or
                of pairs (image id, file or array). Arrays without an id are numbered from "0".
            batch_size: images a forward pass.
            workers: decoding threads; by default as many as cores, at most 8.
            score_thr: keep boxes scored at least this; not below the config's own threshold.
            progress: show a bar.
            out: a folder to stream Parquet shards to. Finished shards there are not computed again: run the
                same call after a kill and it goes on.
            class_scores: keep each box's score of every class.
            features: keep one vector per image (the neck's levels averaged over space and levels) and one per
                box (the levels sampled at its centre, averaged).

        Returns:
            RotatedInstances with scores, in the order given, with ``image_sizes``. Images that could not be read
            are in ``skipped`` with the reason, and warned of; so are boxes whose numbers are not finite.

        Raises:
            ValueError: when `out` holds detections of another model, of other settings or of other images.
        """
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        keep = _Keep(self._threshold(score_thr), class_scores, features)
        shards = Shards(Path(out), self._notes(keep)) if out is not None else None
        pairs, total = as_pairs(images)
        parts: list[RotatedInstances] = []
        count = 0
        with ExitStack() as stack:
            bar = stack.enter_context(tqdm(total=total, unit="image", disable=not progress, desc="predict"))
            pool = stack.enter_context(ThreadPoolExecutor(workers or min(8, cores)))
            for count, shard in enumerate(batched(pairs, SHARD), start=1):
                if shards and shards.has(count - 1, (image_id for image_id, _ in shard)):
                    bar.update(len(shard))
                    continue
                found = self._predict_shard(shard, pool, batch_size, keep, bar)
                if shards:
                    shards.add(count - 1, found)
                else:
                    parts.append(found)
        parts = shards.load(count) if shards else parts
        found = RotatedInstances.concat(parts) if parts else RotatedInstances.empty([], self.classes)
        if found.skipped:
            image_id, reason = next(iter(found.skipped.items()))
            warnings.warn(
                f"{len(found.skipped)} images could not be read, the first {image_id}: {reason}", stacklevel=2
            )
        return found

    def predict_views(self, images: Images, views: Sequence[View] = DIHEDRAL, **options: Any) -> list[RotatedInstances]:
        """Detect in other views of the images: flipped, turned, scaled, noisy; all in the same batches.

        Args:
            images: as for :meth:`predict`, in files or arrays.
            views: distinct ones; by default the seven flips and quarter turns.
            **options: of :meth:`predict`.

        Returns:
            The detections of each view, mapped back into the images, in the order of `views`.

        Raises:
            ValueError: as :meth:`predict`, and for views of one name.
        """
        pairs = list(as_pairs(images)[0])
        found = self.predict(_views.sources(pairs, views), **options)
        return _views.apart(found, pairs, views)

    def save(self, path: str | Path) -> Path:
        """Write the weights and classes as a checkpoint."""
        return write_checkpoint(Path(path), {n: v.cpu() for n, v in self.model.state_dict().items()}, self.classes)

    def _predict_shard(
        self, shard: list[tuple[str, Source]], pool: ThreadPoolExecutor, batch_size: int, keep: _Keep, bar: tqdm
    ) -> RotatedInstances:
        results: dict[int, dict[str, Any]] = {}
        skipped: dict[str, str] = {}
        waiting: dict[torch.Size, list[tuple[int, dict[str, Any]]]] = {}

        def run(batch: list[tuple[int, dict[str, Any]]]) -> None:
            outputs = self._forward([inputs for _, inputs in batch], keep)
            results.update(zip((position for position, _ in batch), outputs, strict=True))
            bar.update(len(batch))

        for position, inputs in enumerate(ahead(pool, self._prepare, shard, 4 * batch_size)):
            if isinstance(inputs, UnreadableImage):
                skipped[shard[position][0]] = str(inputs)
                bar.update()
                continue
            waiting.setdefault(inputs["inputs"].shape, []).append((position, inputs))
            # Of images that all differ in shape only so many wait for their like.
            most = max(waiting, key=lambda shape: len(waiting[shape]))
            if len(waiting[most]) == batch_size or sum(map(len, waiting.values())) == 4 * batch_size:
                run(waiting.pop(most))
        for batch in waiting.values():
            run(batch)
        return self._gather([(shard[p][0], results[p]) for p in sorted(results)], skipped)

    def _prepare(self, pair: tuple[str, Source]) -> dict[str, Any] | UnreadableImage:
        array = read(pair)
        if isinstance(array, UnreadableImage):
            return array
        return self._pipeline({"img": array, "img_id": pair[0]})

    @torch.no_grad()
    def _forward(self, batch: list[dict[str, Any]], keep: _Keep) -> list[dict[str, Any]]:
        model: Any = self.model
        with ExitStack() as stack:
            if keep.class_scores:
                stack.enter_context(class_scores.kept(model))
            if self.precision == "bf16":
                stack.enter_context(precision.bf16(model, self.device.type))
            levels = stack.enter_context(features.kept(model)) if keep.features else []
            data = {"inputs": [b["inputs"] for b in batch], "data_samples": [b["data_samples"] for b in batch]}
            samples = model.test_step(data)
        outputs = []
        for i, sample in enumerate(samples):
            found = sample.pred_instances
            if keep.score_thr is not None:
                found = found[found.scores >= keep.score_thr]
            # A model trained for minutes puts out an exponential that overflows now and then.
            usable = (getattr(found.bboxes, "tensor", found.bboxes).abs() < _FAR).all(dim=1)
            unusable, found = int((~usable).sum()), found[usable]
            rotated = getattr(found.bboxes, "tensor", found.bboxes).float()
            output = {"rotated": rotated.cpu().numpy(), "size": sample.ori_shape[1::-1], "unusable": unusable}
            output.update(scores=found.scores.float().cpu().numpy(), labels=found.labels.cpu().numpy())
            if keep.class_scores:
                kept = found.class_scores.float().cpu().numpy() if "class_scores" in found else None
                output["class_scores"] = kept if kept is not None else np.zeros((0, len(self.classes)))
            if keep.features:
                centres = rotated.view(-1, 4, 2).mean(dim=1) if rotated.shape[1] == 8 else rotated[:, :2]
                image, at_boxes = features.pooled(
                    [level[i].float() for level in levels[0]],
                    centres * centres.new_tensor(sample.get("scale_factor", (1, 1))),
                    sample.batch_input_shape[::-1],
                )
                output.update(image_features=image.cpu().numpy(), box_features=at_boxes.cpu().numpy())
            outputs.append(output)
        return outputs

    def _gather(self, found: list[tuple[str, dict[str, Any]]], skipped: dict[str, str]) -> RotatedInstances:
        if not found:
            return RotatedInstances.empty([], self.classes).replace(skipped=skipped)
        outputs = [output for _, output in found]
        offsets = np.cumsum([0, *(len(output["labels"]) for output in outputs)])
        rotated = [boxes.from_corners(o["rotated"]) if o["rotated"].shape[1] == 8 else o["rotated"] for o in outputs]
        columns = {
            name: np.concatenate([output[name] for output in outputs])
            for name in ("scores", "class_scores", "box_features")
            if name in outputs[0]
        }
        if "image_features" in outputs[0]:
            columns["image_features"] = np.stack([output["image_features"] for output in outputs])
        if unusable := {image_id: output["unusable"] for image_id, output in found if output["unusable"]}:
            warnings.warn(
                f"{sum(unusable.values())} boxes in {len(unusable)} images, the first {next(iter(unusable))}, are left "
                "out: their numbers are not finite. Was the training too short, or has it diverged?",
                stacklevel=4,
            )
        return RotatedInstances(
            [image_id for image_id, _ in found],
            offsets,
            boxes.canonical(np.concatenate(rotated)),
            np.concatenate([output["labels"] for output in outputs]),
            classes=self.classes,
            image_sizes=np.array([output["size"] for output in outputs]),
            skipped=skipped,
            **columns,
        )

    def _threshold(self, wanted: float | None) -> float | None:
        test_cfg = self.config.model.get("test_cfg") or {}
        own = (test_cfg.get("rcnn") or test_cfg).get("score_thr")
        if wanted is not None and own is not None and wanted < own:
            raise ValueError(
                f"expected a score_thr of at least the config's {own}, got {wanted}; lower it with "
                f"cfg_options={{'model.test_cfg.{'rcnn.' if 'rcnn' in test_cfg else ''}score_thr': {wanted}}}"
            )
        return wanted

    def _notes(self, keep: _Keep) -> dict[str, Any]:
        """What detections follow from, beside the images."""
        digest = hashlib.sha256(json.dumps(self.config.model.to_dict(), sort_keys=True, default=str).encode())
        for name, values in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(values.cpu().contiguous().view(torch.uint8).numpy() if values.ndim else str(values).encode())
        return {
            "model": digest.hexdigest(),
            "pipeline": str(self._pipeline),
            "precision": self.precision,
            "shard": SHARD,
            **keep._asdict(),
        }


def _init_quietly(model: Any) -> None:
    """The config's own random start; MMEngine would report on every single weight."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        model.init_weights()
    finally:
        logger.setLevel(level)
