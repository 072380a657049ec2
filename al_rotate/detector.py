"""Detector: any MMRotate model over many images, in batches, into one container."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from mmcv.transforms import Compose
from mmdet.utils import get_test_pipeline_cfg
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.model.utils import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmrotate.registry import MODELS
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm.auto import tqdm

from . import boxes, class_scores, configs, images
from .checkpoints import read_checkpoint, write_checkpoint
from .instances import RotatedInstances

Source = Path | NDArray[np.uint8]
Images = str | Path | Sequence[str | Path] | Mapping[str, str | Path] | Iterable[Any]

SHARD = 256  # images a shard: what a kill can cost


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
        if known and len(known) != len(self.classes):
            raise ValueError(
                f"expected the {len(known)} classes of {checkpoint}, got {len(self.classes)}: {self.classes}"
            )
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
        self._pipeline = self._build_pipeline()

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
            are in ``skipped`` with the reason, and warned of.

        Raises:
            ValueError: when `out` holds detections of another model, of other settings or of other images.
        """
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        workers = workers or min(8, cores)
        threshold = self._threshold(score_thr)
        out = None if out is None else Path(out)
        if out is not None:
            self._claim(out, {"score_thr": threshold, "class_scores": class_scores, "features": features})
        sources, total = _as_pairs(images)
        shards, number = [], 0
        with ExitStack() as stack:
            bar = stack.enter_context(tqdm(total=total, unit="image", disable=not progress, desc="predict"))
            pool = stack.enter_context(ThreadPoolExecutor(workers))
            for number, shard in enumerate(_batched(sources, SHARD)):
                file = out and out / f"part-{number:05d}.parquet"
                if file and file.is_file():
                    _same_images(file, shard)
                else:
                    found = self._predict_shard(shard, pool, batch_size, threshold, class_scores, features, bar)
                    if file:
                        found.save(file)
                    else:
                        shards.append(found)
                    bar.update(-len(shard))  # the batches have moved it already
                bar.update(len(shard))
        if out is not None:
            extra = [file for file in sorted(out.glob("part-*.parquet"))[number + 1 :]]
            if extra:
                raise ValueError(f"expected the shards of {number + 1} parts in {out}, got more: {extra[0].name}, …")
            found = RotatedInstances.load(out) if number or sorted(out.glob("*.parquet")) else RotatedInstances.empty()
        else:
            found = RotatedInstances.concat(shards) if shards else RotatedInstances.empty([], self.classes)
        if found.skipped:
            image_id, reason = next(iter(found.skipped.items()))
            warnings.warn(
                f"{len(found.skipped)} images could not be read, the first {image_id}: {reason}", stacklevel=2
            )
        return found

    def save(self, path: str | Path) -> Path:
        """Write the weights and classes as a checkpoint."""
        return write_checkpoint(Path(path), {n: v.cpu() for n, v in self.model.state_dict().items()}, self.classes)

    def _predict_shard(
        self,
        shard: list[tuple[str, Source]],
        pool: ThreadPoolExecutor,
        batch_size: int,
        threshold: float | None,
        with_scores: bool,
        with_features: bool,
        bar: tqdm,
    ) -> RotatedInstances:
        results: dict[int, dict[str, Any]] = {}
        skipped: dict[str, str] = {}
        waiting: dict[tuple[int, ...], list[tuple[int, dict[str, Any]]]] = {}

        def run(batch: list[tuple[int, dict[str, Any]]]) -> None:
            outputs = self._forward([inputs for _, inputs in batch], threshold, with_scores, with_features)
            results.update(zip((position for position, _ in batch), outputs, strict=True))
            bar.update(len(batch))

        for position, inputs in enumerate(_ahead(pool, self._decode, shard, 4 * batch_size)):
            if isinstance(inputs, images.UnreadableImage):
                skipped[shard[position][0]] = str(inputs)
                bar.update()
                continue
            same = waiting.setdefault(tuple(inputs["inputs"].shape), [])
            same.append((position, inputs))
            if len(same) == batch_size:
                run(waiting.pop(tuple(inputs["inputs"].shape)))
        for batch in waiting.values():
            run(batch)
        return self._gather([(shard[p][0], results[p]) for p in sorted(results)], skipped, with_scores)

    @torch.no_grad()
    def _forward(
        self, batch: list[dict[str, Any]], threshold: float | None, with_scores: bool, with_features: bool
    ) -> list[dict[str, Any]]:
        levels: list[tuple[Tensor, ...]] = []
        with ExitStack() as stack:
            if with_scores:
                stack.enter_context(class_scores.kept(self.model))
            if self.precision == "bf16":
                stack.enter_context(_bf16(self.model, self.device.type))
            if with_features:
                part = getattr(self.model, "neck", self.model.backbone)
                stack.callback(part.register_forward_hook(lambda _m, _i, output: levels.append(output)).remove)
            data = {"inputs": [b["inputs"] for b in batch], "data_samples": [b["data_samples"] for b in batch]}
            samples = self.model.test_step(data)
        outputs = []
        for i, sample in enumerate(samples):
            found = sample.pred_instances
            if threshold is not None:
                found = found[found.scores >= threshold]
            rotated = getattr(found.bboxes, "tensor", found.bboxes).float()
            output = {"rotated": rotated.cpu().numpy(), "size": sample.ori_shape[1::-1]}
            output.update(scores=found.scores.float().cpu().numpy(), labels=found.labels.cpu().numpy())
            if with_scores:
                kept = found.class_scores.float().cpu().numpy() if "class_scores" in found else None
                output["class_scores"] = kept if kept is not None else np.zeros((0, len(self.classes)))
            if with_features:
                output.update(_pooled([level[i].float() for level in levels[0]], rotated, sample))
            outputs.append(output)
        return outputs

    def _gather(
        self, found: list[tuple[str, dict[str, Any]]], skipped: dict[str, str], with_scores: bool
    ) -> RotatedInstances:
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
        try:
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
        except ValueError as error:
            raise ValueError(f"the model's predictions are unusable (has its training diverged?): {error}") from error

    def _decode(self, source: Source) -> dict[str, Any] | images.UnreadableImage:
        try:
            array = images.read(source)[..., ::-1] if isinstance(source, Path) else source
        except images.UnreadableImage as error:
            return error
        if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
            raise ValueError(f"expected image arrays (H, W, 3) uint8 BGR, got {array.dtype} {array.shape}")
        return self._pipeline(dict(img=np.ascontiguousarray(array), img_id=0))

    def _build_pipeline(self) -> Compose:
        pipeline = [dict(step) for step in get_test_pipeline_cfg(self.config)]
        if pipeline[0]["type"].split(".")[-1] not in ("LoadImageFromFile", "LoadImageAsShown"):
            raise ValueError(f"expected a test pipeline that begins with LoadImageFromFile, got {pipeline[0]['type']}")
        # We decode ourselves, so that files look as in Label Studio and a broken one is noticed.
        pipeline[0] = {"type": "mmdet.LoadImageFromNDArray"}
        # A config without a test set of its own tests on its validation set, whose labels we do not have.
        labels = ("LoadAnnotations", "ConvertBoxType")
        return Compose([step for step in pipeline if step["type"].split(".")[-1] not in labels])

    def _threshold(self, wanted: float | None) -> float | None:
        test_cfg = self.config.model.get("test_cfg") or {}
        own = (test_cfg.get("rcnn") or test_cfg).get("score_thr")
        if wanted is not None and own is not None and wanted < own:
            raise ValueError(
                f"expected a score_thr of at least the config's {own}, got {wanted}; lower it with "
                f"cfg_options={{'model.test_cfg.{'rcnn.' if 'rcnn' in test_cfg else ''}score_thr': {wanted}}}"
            )
        return wanted

    def _claim(self, out: Path, options: dict[str, Any]) -> None:
        """Note in `out` whose detections these are; refuse a folder that holds another model's."""
        digest = hashlib.sha256(json.dumps(self.config.model.to_dict(), sort_keys=True, default=str).encode())
        for name, values in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(values.cpu().contiguous().view(torch.uint8).numpy() if values.ndim else str(values).encode())
        pipeline = str(self._pipeline)
        notes = {
            "model": digest.hexdigest(),
            "pipeline": pipeline,
            "precision": self.precision,
            "shard": SHARD,
            **options,
        }
        file = out / "detections.json"
        if file.is_file():
            there = json.loads(file.read_text())
            if changed := [name for name in notes if there.get(name) != notes[name]]:
                raise ValueError(
                    f"{out} holds detections with another {', '.join(changed)}; choose another folder or delete it"
                )
            return
        if any(out.glob("*.parquet")):
            raise ValueError(f"expected {out} to be empty or to hold this detector's shards, got other Parquet files")
        out.mkdir(parents=True, exist_ok=True)
        scratch = out / f".detections.{os.getpid()}.tmp"
        scratch.write_text(json.dumps(notes, indent=1))
        os.replace(scratch, file)


def _init_quietly(model: nn.Module) -> None:
    """The config's own random start; MMEngine would report on every single weight."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        model.init_weights()
    finally:
        logger.setLevel(level)


def _bf16(model: nn.Module, device: str) -> ExitStack:
    """Autocast inside backbone, neck and the heads' layers only: decoding and NMS must see float32."""
    stack = ExitStack()
    parts = [getattr(model, name) for name in ("backbone", "neck", "bbox_head", "rpn_head") if hasattr(model, name)]
    if hasattr(model, "roi_head"):
        head = model.roi_head.bbox_head
        parts += list(head) if isinstance(head, nn.ModuleList) else [head]
    for part in parts:
        original = part.forward

        def forward(*args: Any, _original: Any = original, **kwargs: Any) -> Any:
            with torch.autocast(device, dtype=torch.bfloat16):
                return _to_float(_original(*args, **kwargs))

        part.forward = forward
        stack.callback(part.__dict__.pop, "forward")
    return stack


def _to_float(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.float()
    return type(value)(map(_to_float, value)) if isinstance(value, (list, tuple)) else value


def _pooled(levels: list[Tensor], rotated: Tensor, sample: Any) -> dict[str, NDArray]:
    """The image's and the boxes' feature vectors from one image's levels, each (C, h, w)."""
    if len({level.shape[0] for level in levels}) > 1:
        raise NotImplementedError("features need a neck whose levels have the same number of channels")
    scale = rotated.new_tensor(sample.scale_factor)
    height, width = sample.batch_input_shape
    centres = rotated[:, :2] * scale / rotated.new_tensor([width, height]) * 2 - 1
    if rotated.shape[1] == 8:
        corners = rotated.view(-1, 4, 2).mean(dim=1)
        centres = corners * scale / rotated.new_tensor([width, height]) * 2 - 1
    grid = centres.view(1, -1, 1, 2)
    at_boxes = [
        F.grid_sample(level[None], grid, align_corners=False, padding_mode="border")[0, ..., 0] for level in levels
    ]
    return {
        "image_features": torch.stack([level.mean(dim=(1, 2)) for level in levels]).mean(dim=0).cpu().numpy(),
        "box_features": torch.stack(at_boxes).mean(dim=0).T.cpu().numpy(),
    }


def _as_pairs(given: Images) -> tuple[Iterator[tuple[str, Source]], int | None]:
    """(image id, file or array) one after the other, and how many if that is known."""
    if isinstance(given, (str, Path, Mapping)) or (
        isinstance(given, Sequence) and all(isinstance(i, (str, Path)) for i in given)
    ):
        files = images.resolve(given)  # type: ignore[arg-type]
        return iter(files.items()), len(files)
    total = len(given) if isinstance(given, Sequence) else None

    def pairs() -> Iterator[tuple[str, Source]]:
        for position, item in enumerate(given):
            image_id, source = item if isinstance(item, tuple) else (None, item)
            if isinstance(source, (str, Path)):
                yield image_id or Path(source).stem, Path(source)
            else:
                yield image_id or str(position), np.asarray(source)

    return pairs(), total


def _batched(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


def _ahead(pool: ThreadPoolExecutor, function: Any, shard: list[tuple[str, Source]], depth: int) -> Iterator[Any]:
    """function(source) in order, at most `depth` of them under way or waiting, so that memory stays bounded."""
    sources = iter(source for _, source in shard)
    pending = [pool.submit(function, source) for source in itertools.islice(sources, depth)]
    while pending:
        yield pending.pop(0).result()
        pending += [pool.submit(function, source) for source in itertools.islice(sources, 1)]


def _same_images(file: Path, shard: list[tuple[str, Source]]) -> None:
    there = RotatedInstances.load(file)
    expected = {image_id for image_id, _ in shard}
    if {*there.image_ids, *there.skipped} != expected:
        raise ValueError(
            f"{file} holds detections of other images than these; choose another `out` folder or delete it"
        )
