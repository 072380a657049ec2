"""Detector: any MMRotate model over many images, in batches, into one container."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import warnings
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

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

from ..data import views as _views
from ..data.images import UnreadableImage, allow_large_images
from ..data.instances import RotatedInstances
from ..data.sources import Images, Source, as_pairs, read
from ..data.tiling import Tiling, merge
from ..data.views import DIHEDRAL, View
from . import configs
from .checkpoints import read_checkpoint, write_checkpoint
from .inference import scenes as _scenes
from .inference.forward import Forward, OutputOptions
from .inference.pipeline import InferencePipeline, batched, iterate_shards
from .inference.processes import Process, cores, this_process
from .inference.shards import Shards
from .networks import onnx as onnx_network
from .networks import precision as _precision
from .openmmlab import install

SHARD = 256  # images a shard: what a kill can cost
_STREAMS = 4  # batches at once on a CPU: each needs memory, and what is not convolution is hidden behind the others
_WORTH_A_GRAPH = 64  # images: making one takes as long as some dozens of them

install()


class Detector:
    """An MMRotate detector ready to predict; one prediction at a time.

    Args:
        config: path, ``mmengine.Config``, or name of a config shipped with MMRotate.
        checkpoint: path of a checkpoint, ``"zoo"`` for the published weights of a shipped config, or None for
            random weights. Read without unpickling code.
        device: ``"auto"`` (a GPU if there is one, for each of several processes its own), ``"cpu"``, ``"cuda:0"``, ...
        cfg_options: dotted key -> value, merged into the config.
        classes: class names; by default the checkpoint's, else those of the config's dataset.
        precision: ``"fp32"`` equals MMRotate; ``"bf16"`` runs backbone, neck and heads in bfloat16 autocast, boxes
            stay float32; ``"auto"`` is bf16 where the device multiplies it natively and fp32 elsewhere.
        engine: ``"torch"``, or ``"onnxruntime"`` for the networks of larger predictions in float32 on a CPU: as exact,
            and quicker. Hooks inside of networks are not called then, and a model that cannot be exported stays with
            PyTorch, with a warning. ``"auto"`` takes it where it is installed and says nothing when it cannot.

    Attributes:
        model, config, classes, device; precision: fp32 or bf16; engine: torch or onnxruntime; checkpoint: the file the
        weights came from, None if random.

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
        precision: _precision.Precision = "auto",
        engine: Literal["auto", "torch", "onnxruntime"] = "auto",
    ) -> None:
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
        gpu = f"cuda:{this_process().local % torch.cuda.device_count()}" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(gpu if device == "auto" else device)
        self.precision = _precision.resolve(precision, self.device)
        self._engine = onnx_network.Engine(engine, self.device, self.precision)
        init_default_scope(self.config.default_scope)
        model = revert_sync_batchnorm(MODELS.build(self.config.model))
        if loaded:
            loaded.into(model)
        else:
            _init_quietly(model)
        self.checkpoint = loaded and loaded.path
        self.model: nn.Module = _precision.channels_last(model.to(self.device).eval())
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

        In float32 equal, image by image, to MMRotate's ``inference_detector`` with each box in canonical le90 form:
        only images that the test pipeline brings to one shape share a batch, so nothing is padded differently.

        Of several processes (torchrun, srun) that all make the call with one `out`, on a file system that they share,
        each detects in its share of the shards and returns when all are there: the same detections in the same order
        as one process makes. Without `out` each detects in all images.

        Args:
            images: a folder, files, a mapping image id -> file, or an iterable of arrays (H, W, 3) uint8 BGR or
                of pairs (image id, file or array). Arrays without an id are numbered from "0".
            batch_size: images a forward pass. On a CPU up to four passes run at once, and share the cores.
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
        keep = OutputOptions(self._threshold(score_thr), class_scores, features)
        pairs, total = as_pairs(images)
        shards = self._shards(out, keep, total)
        return self._told(self._all(self._each(pairs, total, batch_size, workers, keep, progress, shards), shards))

    def stream(
        self,
        images: Images,
        batch_size: int = 8,
        workers: int | None = None,
        score_thr: float | None = None,
        progress: bool = True,
        out: str | Path | None = None,
        class_scores: bool = False,
        features: bool = False,
    ) -> Iterator[RotatedInstances]:
        """As :meth:`predict`, one shard of images after the other, so that memory does not grow with the pool.

        Of several processes with one `out` each is given its own shards only, and does not wait for the others;
        ``RotatedInstances.stream(out)`` then reads all of them. What could not be read is in each shard's ``skipped``.
        """
        keep = OutputOptions(self._threshold(score_thr), class_scores, features)
        pairs, total = as_pairs(images)
        shards = self._shards(out, keep, total)
        parts = self._each(pairs, total, batch_size, workers, keep, progress, shards)
        return (part for _, part in parts if part is not None)

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

    @property
    def engine(self) -> str:
        """What computes the networks of larger predictions: torch or onnxruntime."""
        return self._engine.name

    def save(self, path: str | Path) -> Path:
        """Write the weights and classes as a checkpoint."""
        return write_checkpoint(Path(path), {n: v.cpu() for n, v in self.model.state_dict().items()}, self.classes)

    def predict_scenes(
        self,
        scenes: Images,
        tiling: Tiling | None = None,
        batch_size: int = 8,
        workers: int | None = None,
        score_thr: float | None = None,
        progress: bool = True,
        out: str | Path | None = None,
        class_scores: bool = False,
        features: bool = False,
        iou_threshold: float | None = None,
    ) -> RotatedInstances:
        """Detect in scenes larger than the network's input: tile by tile, and merged so that objects count once.

        Every file is decoded once and held only while its tiles are looked at (a function is called once more, for
        the size). To rank, label and train on tiles
        instead, write them with :func:`al_rotate.tiling.cut` and predict on those.

        Args:
            scenes: as the images of :meth:`predict`, whose other arguments are the same; a shard holds few scenes.
            tiling: how they are cut; by default 1024 pixels with 200 of overlap.
            iou_threshold: of :func:`al_rotate.tiling.merge`; by default that of the config's own suppression.

        Returns:
            RotatedInstances with an image a scene, boxes in the scene's pixels by descending score.

        Raises:
            ValueError: as :meth:`predict`.
        """
        tiling, keep = tiling or Tiling(), OutputOptions(self._threshold(score_thr), class_scores, features)
        iou = self._nms_threshold() if iou_threshold is None else iou_threshold
        with allow_large_images():
            groups = _scenes.grouped(_scenes.sizes(as_pairs(scenes)[0]), tiling)
        tiles = sum(len(scene.tiles) for group in groups for scene in group)
        shards = None
        if out is not None:
            shards = Shards(Path(out), {**self._notes(keep), "tiling": [repr(tiling), iou]}, len(groups))
        me = this_process() if shards else Process()
        shown = progress and me.number == 0
        with (
            allow_large_images(),
            tqdm(total=-(-tiles // me.total), unit="tile", disable=not shown, desc="predict") as bar,
        ):
            predicting = cache(lambda: self._predicting(tiles, batch_size, workers, keep, bar))

            def detect(group: list[_scenes.Scene]) -> RotatedInstances:
                pairs = [pair for scene in group for pair in scene.sources()]
                return merge(predicting()(pairs), {scene.id: scene.size for scene in group}, iou)

            parts = iterate_shards(
                groups,
                lambda group: (scene.id for scene in group),
                detect,
                shards,
                me,
                lambda group: bar.update(sum(len(scene.tiles) for scene in group)),
            )
            return self._told(self._all(parts, shards))

    def _each(
        self,
        pairs: Iterator[tuple[str, Source]],
        total: int | None,
        batch_size: int,
        workers: int | None,
        keep: OutputOptions,
        progress: bool,
        shards: Shards | None,
    ) -> Iterator[tuple[list[str], RotatedInstances | None]]:
        """Every shard in order with its image ids; None for those of other processes."""
        me = this_process() if shards else Process()
        if total is None:  # a whole shard is many
            first = list(itertools.islice(pairs, SHARD))
            total, pairs = len(first), itertools.chain(first, pairs)
            del first
        size = total
        shown = progress and me.number == 0
        with tqdm(total=total and -(-total // me.total), unit="image", disable=not shown, desc="predict") as bar:
            predicting = cache(lambda: self._predicting(size, batch_size, workers, keep, bar))
            yield from iterate_shards(
                batched(pairs, SHARD),
                lambda shard: (image_id for image_id, _ in shard),
                lambda shard: predicting()(shard),
                shards,
                me,
                lambda shard: bar.update(len(shard)),
            )

    def _shards(self, out: str | Path | None, keep: OutputOptions, total: int | None) -> Shards | None:
        if out is None:
            return None
        return Shards(Path(out), self._notes(keep), None if total is None else -(-total // SHARD))

    def _predicting(
        self, size: int, batch_size: int, workers: int | None, keep: OutputOptions, bar: tqdm
    ) -> InferencePipeline:
        """Made when the first shard is to be computed: where all are there, no graph is needed."""
        streams = max(1, min(cores(), _STREAMS, -(-size // batch_size))) if self.device.type == "cpu" else 1
        threads, graph = max(1, cores() // streams), None
        if size >= _WORTH_A_GRAPH and self._engine.name == "onnxruntime":
            graph = self._engine.graph(self.model, self._digest(), self._sample, threads)
        how = (self.device, self.precision, graph, streams, threads)
        forward = Forward(self.model, len(self.classes), keep, *how)
        return InferencePipeline(self._prepare, forward, self.classes, batch_size, workers, bar)

    def _all(
        self, parts: Iterable[tuple[list[str], RotatedInstances | None]], shards: Shards | None
    ) -> RotatedInstances:
        """All shards as one, those of other processes as soon as they are there."""
        if shards is None:
            found = [part for _, part in parts if part is not None]
        else:
            found = list(shards.wait([image_ids for image_ids, _ in parts]))
        return RotatedInstances.concat(found) if found else RotatedInstances.empty([], self.classes)

    def _told(self, found: RotatedInstances) -> RotatedInstances:
        if found.skipped:
            image_id, reason = next(iter(found.skipped.items()))
            warnings.warn(
                f"{len(found.skipped)} images could not be read, the first {image_id}: {reason}", stacklevel=3
            )
        return found

    def _sample(self) -> torch.Tensor:
        """A small image of noise as the networks are given it."""
        noise = self._prepare(("", np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)))
        data = self.model.data_preprocessor({k: [noise[k]] for k in ("inputs", "data_samples")})  # type: ignore
        return data["inputs"]

    def _prepare(self, pair: tuple[str, Source]) -> dict[str, Any] | UnreadableImage:
        array = read(pair)
        if isinstance(array, UnreadableImage):
            return array
        return self._pipeline({"img": array, "img_id": pair[0]})

    def _threshold(self, wanted: float | None) -> float | None:
        test_cfg = self.config.model.get("test_cfg") or {}
        own = (test_cfg.get("rcnn") or test_cfg).get("score_thr")
        if wanted is not None and own is not None and wanted < own:
            raise ValueError(
                f"expected a score_thr of at least the config's {own}, got {wanted}; lower it with "
                f"cfg_options={{'model.test_cfg.{'rcnn.' if 'rcnn' in test_cfg else ''}score_thr': {wanted}}}"
            )
        return wanted

    def _nms_threshold(self) -> float:
        test_cfg = self.config.model.get("test_cfg") or {}
        return float((test_cfg.get("rcnn") or test_cfg).get("nms", {}).get("iou_threshold", 0.1))

    def _notes(self, keep: OutputOptions) -> dict[str, Any]:
        """What detections follow from, beside the images."""
        return {
            "model": self._digest(),
            "pipeline": str(self._pipeline),
            "precision": self.precision,
            "shard": SHARD,
            "tiling": None,
            **keep._asdict(),
        }

    def _digest(self) -> str:
        """Of the model's config and weights as they are now."""
        digest = hashlib.sha256(json.dumps(self.config.model.to_dict(), sort_keys=True, default=str).encode())
        for name, values in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            flat = values.cpu().reshape(-1).contiguous()
            digest.update(flat.view(torch.uint8).numpy() if values.ndim else str(values).encode())
        return digest.hexdigest()


def _init_quietly(model: Any) -> None:
    """The config's own random start; MMEngine would report on every single weight."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        model.init_weights()
    finally:
        logger.setLevel(level)
