"""Detector: any MMRotate model over many images, in batches, into one container."""

from __future__ import annotations

import hashlib
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import cv2
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

from . import boxes, configs, onnx_network, rotated_ops
from . import precision as _precision
from . import views as _views
from ._forward import Forward, Keep, Prepared, alike
from ._ranks import cores, rank
from ._shards import Shards
from ._sources import Images, Source, ahead, as_pairs, batched, read
from .checkpoints import read_checkpoint, write_checkpoint
from .images import UnreadableImage
from .instances import RotatedInstances
from .views import DIHEDRAL, View

SHARD = 256  # images a shard: what a kill can cost
_WORTH_A_GRAPH = 64  # images: making one takes as long as some dozens of them

rotated_ops.install()


class Detector:
    """An MMRotate detector ready to predict.

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
        gpu = f"cuda:{rank().local % torch.cuda.device_count()}" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(gpu if device == "auto" else device)
        self.precision = _precision.resolve(precision, self.device)
        self.engine = _engine(engine, self.device, self.precision)
        self._told_engine = engine != "auto"
        init_default_scope(self.config.default_scope)
        model = revert_sync_batchnorm(MODELS.build(self.config.model))
        if loaded:
            loaded.into(model)
        else:
            _init_quietly(model)
        self.checkpoint = loaded and loaded.path
        self.model: nn.Module = _channels_last(model.to(self.device).eval())
        self._graph: tuple[str, onnx_network.OnnxNetwork | None] | None = None  # and of which weights it is
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

        Of several processes (torchrun, srun) with one `out` each detects in its share of the shards and returns when
        all are there: the same detections in the same order as one process makes.

        Args:
            images: a folder, files, a mapping image id -> file, or an iterable of arrays (H, W, 3) uint8 BGR or
                of pairs (image id, file or array). Arrays without an id are numbered from "0".
            batch_size: images a forward pass. On a CPU every core makes a pass of its own.
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
        keep = Keep(self._threshold(score_thr), class_scores, features)
        parts: list[RotatedInstances] = []
        count = 0
        for part in self._each(images, batch_size, workers, keep, progress, out):
            count += 1
            if out is None and part is not None:
                parts.append(part)
        if out is not None:
            parts = list(Shards(Path(out), self._notes(keep)).wait(count))
        found = RotatedInstances.concat(parts) if parts else RotatedInstances.empty([], self.classes)
        if found.skipped:
            image_id, reason = next(iter(found.skipped.items()))
            warnings.warn(
                f"{len(found.skipped)} images could not be read, the first {image_id}: {reason}", stacklevel=2
            )
        return found

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
        ``RotatedInstances.stream(out)`` then reads all of them.
        """
        keep = Keep(self._threshold(score_thr), class_scores, features)
        for part in self._each(images, batch_size, workers, keep, progress, out):
            if part is not None:
                yield part

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

    def _each(
        self, images: Images, batch_size: int, workers: int | None, keep: Keep, progress: bool, out: str | Path | None
    ) -> Iterator[RotatedInstances | None]:
        """Every shard in order; None for those of other processes."""
        pairs, total = as_pairs(images)
        count = None if total is None else -(-total // SHARD)
        shards = Shards(Path(out), self._notes(keep), count) if out is not None else None
        me = rank() if shards else rank({})
        with ExitStack() as stack:
            mine = total if total is None or me.total == 1 else len(range(me.number, count or 0, me.total)) * SHARD
            bar = stack.enter_context(tqdm(total=mine, unit="image", disable=not progress, desc="predict"))
            pool = stack.enter_context(ThreadPoolExecutor(workers or min(8, cores())))
            detect = None
            for number, shard in enumerate(batched(pairs, SHARD)):
                if number % me.total != me.number:
                    yield None
                    continue
                found = shards and shards.find(number, (image_id for image_id, _ in shard))
                if found:
                    bar.update(len(shard))
                else:
                    size = len(shard) if total is None else total  # a whole shard is many
                    detect = detect or self._detecting(stack, pool, size, batch_size, keep, bar)
                    found = detect(shard)
                    if shards:
                        shards.add(number, found)
                yield found

    def _detecting(
        self, stack: ExitStack, pool: ThreadPoolExecutor, size: int, batch_size: int, keep: Keep, bar: tqdm
    ) -> Callable[[list[tuple[str, Source]]], RotatedInstances]:
        """What detects in a shard, with the machine's threads shared out for as long as `stack` is open."""
        streams = min(cores(), -(-size // batch_size)) if self.device.type == "cpu" else 1
        graph = self._as_graph() if size >= _WORTH_A_GRAPH and self.engine == "onnxruntime" else None
        forward = Forward(self.model, len(self.classes), keep, self.device, self.precision, graph, streams)
        stack.callback(cv2.setNumThreads, cv2.getNumThreads())
        cv2.setNumThreads(1)  # every decoding thread resizes its own image
        stack.enter_context(forward.ready())

        def detect(shard: list[tuple[str, Source]]) -> RotatedInstances:
            skipped: dict[str, str] = {}

            def readable() -> Iterator[tuple[int, Prepared]]:
                for position, one in enumerate(ahead(pool, self._prepare, shard, 4 * batch_size)):
                    if isinstance(one, UnreadableImage):
                        skipped[shard[position][0]] = str(one)
                        bar.update()
                    else:
                        yield position, one

            results: dict[int, dict[str, Any]] = {}
            for batch, outputs in forward.run(alike(readable(), batch_size)):
                results.update(zip((position for position, _ in batch), outputs, strict=True))
                bar.update(len(batch))
            return self._gather([(shard[p][0], results[p]) for p in sorted(results)], skipped)

        return detect

    def _as_graph(self) -> onnx_network.OnnxNetwork | None:
        """The networks as they are now in ONNX Runtime; None for a model that cannot be."""
        digest = self._digest()
        if self._graph is None or self._graph[0] != digest:
            graph = None
            try:
                blank = self._prepare(("", np.zeros((256, 256, 3), np.uint8)))
                data = self.model.data_preprocessor({k: [blank[k]] for k in ("inputs", "data_samples")})  # type: ignore[operator]
                graph = onnx_network.OnnxNetwork(self.model, data["inputs"])
            except onnx_network.NoGraph as error:
                self.engine = "torch"
                if self._told_engine:
                    warnings.warn(f"{error}; it runs in PyTorch", stacklevel=6)
            self._graph = digest, graph
        return self._graph[1]

    def _prepare(self, pair: tuple[str, Source]) -> dict[str, Any] | UnreadableImage:
        array = read(pair)
        if isinstance(array, UnreadableImage):
            return array
        return self._pipeline({"img": array, "img_id": pair[0]})

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

    def _notes(self, keep: Keep) -> dict[str, Any]:
        """What detections follow from, beside the images."""
        return {
            "model": self._digest(),
            "pipeline": str(self._pipeline),
            "precision": self.precision,
            "shard": SHARD,
            **keep._asdict(),
        }

    def _digest(self) -> str:
        """Of the model's config and weights as they are now."""
        digest = hashlib.sha256(json.dumps(self.config.model.to_dict(), sort_keys=True, default=str).encode())
        for name, values in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            flat = values.cpu().reshape(-1).contiguous()
            digest.update(flat.view(torch.uint8).numpy())
        return digest.hexdigest()


def _engine(wanted: str, device: torch.device, kind: str) -> str:
    if wanted not in ("auto", "torch", "onnxruntime"):
        raise ValueError(f"expected engine auto, torch or onnxruntime, got {wanted!r}")
    fits = device.type == "cpu" and kind == "fp32"
    if wanted == "auto":
        return "onnxruntime" if fits and onnx_network.available() else "torch"
    if wanted == "onnxruntime" and not fits:
        raise ValueError(f"engine onnxruntime computes in fp32 on a CPU, not in {kind} on {device.type}")
    if wanted == "onnxruntime" and not onnx_network.available():
        raise ImportError("engine onnxruntime needs onnx and onnxruntime: pip install onnx onnxruntime")
    return wanted


def _channels_last(model: nn.Module) -> nn.Module:
    """Convolutions whose weights lie channel by channel, as CPUs and GPUs compute them quicker."""
    modules = list(model.modules())
    if not any("DeformConv" in type(part).__name__ for part in modules):  # mmcv's refuses what lies so
        for part in modules:
            if type(part) is nn.Conv2d:
                part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


def _init_quietly(model: Any) -> None:
    """The config's own random start; MMEngine would report on every single weight."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        model.init_weights()
    finally:
        logger.setLevel(level)
