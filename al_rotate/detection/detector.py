"""Detector: run any MMRotate model on many images, in batches, into one container."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from mmengine.config import Config
from torch import nn
from tqdm.auto import tqdm

from ..data import RotatedInstances
from ..data.columns import as_classes
from ..data.sources import Images, Source, as_pairs, file_of
from ..data.tiling import Tiling
from ..data.views import DIHEDRAL, View, sources, split_by_view
from ..storage.user_warnings import warn_user
from . import configs, models
from .checkpoints import model_digest, read_checkpoint, write_checkpoint
from .inference.forward import Forward
from .inference.options import PredictOptions
from .inference.pipeline import InferencePipeline, Shard, batched, iterate_shards, progress_bar
from .inference.preparing import Preparation
from .inference.processes import Process, cores, this_process
from .inference.scenes import group_scenes, iterate_scenes
from .inference.shards import Shards
from .networks.onnx import Engine
from .networks.precision import Precision, channels_last, resolve
from .openmmlab import install
from .openmmlab.gpu_ops import place

SHARD = 256  # images per shard: what a kill can cost
MIN_IMAGES_FOR_GRAPH = 64  # making a graph takes as long as detecting in dozens of images
_MAX_STREAMS = 4  # batches at once on a CPU; each needs memory, and four hide all work that is not convolution

install()


class Detector:
    """An MMRotate detector ready to predict; one prediction at a time.

    Args:
        config: path, ``mmengine.Config``, or name of a config shipped with MMRotate.
        checkpoint: path of a checkpoint, read without running code of it; ``"zoo"`` for the published weights of a
            shipped config; or None for the start of a training: a random head on the pretrained backbone that the
            config names, with a warning where that cannot be fetched.
        device: ``"auto"`` (a GPU if there is one, a different one for each of several processes), ``"cpu"``,
            ``"cuda:0"``, ...
        cfg_options: dotted key -> value, merged into the config.
        classes: class names; by default the checkpoint's, else those of the config's dataset. Each takes the weights
            of the checkpoint's class of that name, in whatever order; classes that it does not know start at random,
            with a warning that names them.
        precision: ``"fp32"`` equals MMRotate; ``"bf16"`` runs backbone, neck and heads in bfloat16 autocast, boxes
            stay float32; ``"auto"`` is bf16 where the device multiplies it natively and fp32 elsewhere.
        engine: ``"torch"``, or ``"onnxruntime"`` to run the networks of larger predictions in float32 on a CPU: as
            exact, and faster. Hooks inside networks are not called then, and a model that cannot be exported stays
            with PyTorch, with a warning. ``"auto"`` uses it where it is installed, and falls back without a warning.
        class_map: class of the checkpoint -> the class that takes its weights: ``{"large-vehicle": "truck"}``. Without
            `classes` it renames those of the checkpoint.

    Attributes:
        model, config, classes, device, precision, engine, checkpoint: in use; None: no file of weights.
        untrained: whether the head is random, and predictions are noise.

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
        precision: Precision = "auto",
        engine: Literal["auto", "torch", "onnxruntime"] = "auto",
        class_map: Mapping[str, str] | None = None,
    ) -> None:
        self.config, self.cfg_options = configs.load(config, cfg_options), dict(cfg_options or {})
        if checkpoint is None and class_map:
            raise ValueError("expected a checkpoint with a class_map, got none")
        as_classes(classes)  # refuses a wrong list before any file is read
        weights = None
        if checkpoint is not None:
            weights = read_checkpoint(configs.published_weights(config) if str(checkpoint) == "zoo" else checkpoint)
        gpu = f"cuda:{this_process().local % torch.cuda.device_count()}" if torch.cuda.is_available() else "cpu"
        if weights:
            model, self.classes, self.untrained = models.load(self.config, weights, classes, class_map)
        else:
            model, self.classes = models.start(self.config, classes)
            self.untrained = True
        self.device = place(model, torch.device(gpu if device == "auto" else device), asked=device != "auto")
        self.precision = resolve(precision, self.device)
        self._engine = Engine(engine, self.device, self.precision)
        self._warned = False
        configs.without_pretrained(self.config)  # the model has them now, and so has what it saves
        configs.set_classes(self.config, self.classes)
        self.checkpoint = weights and weights.path
        self.model: nn.Module = channels_last(model.to(self.device).eval())
        self._prepare = Preparation(self.config)

    @property
    def engine(self) -> str:
        """What computes the networks of larger predictions: torch or onnxruntime."""
        return self._engine.name

    def predict(self, images: Images, options: PredictOptions | None = None, **changes: Any) -> RotatedInstances:
        """Detect in many images.

        In float32 the result equals, image by image, MMRotate's ``inference_detector`` with each box in canonical le90
        form: only images of one shape after the test pipeline share a batch, so none is padded otherwise than alone.

        When several processes (torchrun, srun) make the call with one `out`, on a file system that they share, each
        detects in its share of the shards and returns when all are finished, with the same detections in the same
        order as a single process. Without `out` each detects in all images.

        Args:
            images: a folder, files, a mapping image id -> file, or an iterable of arrays (H, W, 3) uint8 BGR or
                of pairs (image id, file or array). Arrays without an id are numbered from "0".
            options: see :class:`~al_rotate.detection.PredictOptions`.
            **changes: fields of `options`, as in ``predict(images, batch_size=4, out="detections")``.

        Returns:
            RotatedInstances with scores, in the order of `images`, with ``image_sizes``. Images that could not be read
            are in ``skipped`` with the reason, and cause a warning; so do those that the config's test pipeline cannot
            prepare, boxes whose numbers are not finite, and weights that are random, once.

        Raises:
            ValueError: when `out` holds detections of another model, of other settings or of other images.
        """
        options = self._merge(options, changes)
        pairs, total = as_pairs(images, **options.reading)
        shards = self._open_shards(options, _count_shards(total))
        return self._collect(self._iterate_shards(pairs, total, options, shards), shards)

    def stream(
        self, images: Images, options: PredictOptions | None = None, **changes: Any
    ) -> Iterator[RotatedInstances]:
        """Detect as :meth:`predict` does, and yield one shard after the other: memory does not grow with the pool.

        Of several processes with one `out`, each yields its own shards and does not wait for the others;
        ``RotatedInstances.stream(out)`` then reads all of them. Images that could not be read are in each shard's
        ``skipped``, without a warning.
        """
        options = self._merge(options, changes)
        pairs, total = as_pairs(images, **options.reading)
        shards = self._open_shards(options, _count_shards(total))
        parts = self._iterate_shards(pairs, total, options, shards)
        return (detections for _, detections in parts if detections is not None)

    def predict_views(self, images: Images, views: Sequence[View] = DIHEDRAL, **options: Any) -> list[RotatedInstances]:
        """Detect in other views of the images (flipped, turned, scaled, noisy), all in the same batches.

        Args:
            images: files or arrays, as for :meth:`predict`.
            views: distinct ones; by default the seven flips and quarter turns.
            **options: as for :meth:`predict`.

        Returns:
            The detections of each view, mapped back into the images, in the order of `views`.

        Raises:
            ValueError: as :meth:`predict`, and for views with the same name.
        """
        merged = self._merge(options.pop("options", None), options)
        pairs = list(as_pairs(images, **merged.reading)[0])
        return split_by_view(self.predict(sources(pairs, views), merged), pairs, views)

    def predict_scenes(
        self,
        scenes: Images,
        tiling: Tiling | None = None,
        options: PredictOptions | None = None,
        iou_threshold: float | None = None,
        **changes: Any,
    ) -> RotatedInstances:
        """Detect in scenes larger than the network's input: tile by tile, merged so that every object counts once.

        Every file is decoded once, and kept only while its tiles are in use. A scene given as a function is called a
        second time, for its size. To rank, label and train on tiles instead, write them with
        :func:`al_rotate.tiling.cut` and predict on those.

        Args:
            scenes: as the images of :meth:`predict`. A shard holds few scenes.
            tiling: how they are cut; by default into 1024 pixels with 200 of overlap.
            options: as for :meth:`predict`.
            iou_threshold: of :func:`al_rotate.tiling.merge`; by default that of the config's own NMS.
            **changes: as for :meth:`predict`.

        Returns:
            RotatedInstances with one image per scene, boxes in the scene's pixels by descending score.

        Raises:
            ValueError: as :meth:`predict`.
        """
        options, tiling = self._merge(options, changes), tiling or Tiling()
        if iou_threshold is None:
            iou_threshold = configs.nms_threshold(self.config)
        groups = group_scenes(as_pairs(scenes, **options.reading)[0], tiling)
        shards = self._open_shards(options, len(groups), tiling=[repr(tiling), iou_threshold])

        def make_pipeline(n_tiles: int, bar: tqdm) -> InferencePipeline:
            return self._make_pipeline(n_tiles, options, bar)

        return self._collect(iterate_scenes(groups, make_pipeline, iou_threshold, shards, options.progress), shards)

    def save(self, path: str | Path) -> Path:
        """Write the weights and classes as a checkpoint."""
        return write_checkpoint(Path(path), {n: v.cpu() for n, v in self.model.state_dict().items()}, self.classes)

    def _merge(self, options: PredictOptions | None, changes: dict[str, Any]) -> PredictOptions:
        merged = replace(options or PredictOptions(), **changes)
        configs.check_score_thr(self.config, merged.score_thr)
        if self.untrained and not self._warned:
            self._warned = True
            warn_user("the detector's head has random weights: its boxes are noise until it is trained")
        return merged

    def _open_shards(self, options: PredictOptions, count: int | None, tiling: Any = None) -> Shards | None:
        if options.out is None:
            return None
        reading = {name: value and list(value) for name, value in options.reading.items()}
        facts = {
            "model": model_digest(self.config.model, self.model),
            "choice of bands": reading["bands"],
            "stretch": reading["stretch"],
            "pipeline": str(self._prepare if tiling else self._prepare.on(self.device, options)),  # tiles: no nvJPEG
            "precision": self.precision,
            "shard": SHARD,
            "tiling": tiling,
            **options.output._asdict(),
        }
        return Shards(Path(options.out), facts, count)

    def _iterate_shards(
        self, pairs: Iterator[tuple[str, Source]], total: int | None, options: PredictOptions, shards: Shards | None
    ) -> Iterator[Shard]:
        """Yield every shard in order; of those of other processes only the image ids."""
        process = this_process() if shards else Process()
        if total is None:  # an estimate will do: the images of the first shard
            first = list(itertools.islice(pairs, SHARD))
            total, pairs = len(first), itertools.chain(first, pairs)
            del first
        n_images = total
        with progress_bar(n_images, "image", options.progress, process) as bar:
            # Made when the first shard has to be computed: where all are finished, no graph is needed.
            pipeline = cache(lambda: self._make_pipeline(n_images, options, bar))
            yield from iterate_shards(
                batched(pairs, SHARD),
                lambda shard: [(image_id, file_of(source)) for image_id, source in shard],
                lambda shard: pipeline()(shard),
                shards,
                process,
                lambda shard: bar.update(len(shard)),
            )

    def _make_pipeline(self, n_images: int, options: PredictOptions, bar: tqdm) -> InferencePipeline:
        on_cpu = self.device.type == "cpu"
        batch_size = options.batch_size or (8 if on_cpu else 32)
        streams = max(1, min(cores() if on_cpu else 2, _MAX_STREAMS, -(-n_images // batch_size)))
        threads, graph = max(1, cores() // streams), None
        if n_images >= MIN_IMAGES_FOR_GRAPH and self.engine == "onnxruntime":
            digest = model_digest(self.config.model, self.model)
            graph = self._engine.graph(self.model, digest, self._sample, threads)
        resources = (self.device, self.precision, graph, streams, threads)
        forward = Forward(self.model, len(self.classes), options.output, *resources)
        prepare = self._prepare.on(self.device, options)
        return InferencePipeline(prepare, forward, self.classes, batch_size, options.workers, bar)

    def _collect(self, parts: Iterable[Shard], shards: Shards | None) -> RotatedInstances:
        """Join all shards, those of other processes as soon as they are finished."""
        if shards is None:
            finished = [detections for _, detections in parts if detections is not None]
        else:
            finished = list(shards.wait([image_ids for image_ids, _ in parts]))
        joined = RotatedInstances.concat(finished) if finished else RotatedInstances.empty([], self.classes)
        _warn_skipped(joined.skipped)
        return joined

    def _sample(self) -> torch.Tensor:
        """Prepare a small image of noise, as the networks receive it."""
        noise = self._prepare.sample()
        data = self.model.data_preprocessor({k: [noise[k]] for k in ("inputs", "data_samples")})  # type: ignore
        return data["inputs"]


def _count_shards(n_images: int | None) -> int | None:
    return None if n_images is None else -(-n_images // SHARD)


def _warn_skipped(skipped: dict[str, str]) -> None:
    if skipped:
        image_id, reason = next(iter(skipped.items()))
        warn_user(f"{len(skipped)} images could not be read, the first {image_id}: {reason}")
