"""finetune(): a detector trained by MMEngine's Runner on labels from our own container."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner, find_latest_checkpoint

from . import configs, labelled, rotated_iou_cpu
from .checkpoints import read_checkpoint, write_checkpoint
from .images import resolve
from .instances import RotatedInstances
from .registered import TrainingDiverged

__all__ = ["Finetuned", "TrainingDiverged", "finetune", "training_config"]


@dataclass(frozen=True)
class Finetuned:
    """What :func:`finetune` leaves behind.

    Attributes:
        checkpoint: weights and classes, for ``Detector(result.config, result.checkpoint)``.
        config: the config that was run, complete.
        metrics: the evaluator's figures on `val` (empty without), the last losses, and how many iterations ran.
    """

    checkpoint: Path
    config: Path
    metrics: dict[str, float]


def finetune(
    config: str | Path | Config,
    images: str | Path | Mapping[str, str | Path],
    labels: RotatedInstances,
    classes: Sequence[str],
    work_dir: str | Path,
    checkpoint: str | Path | None = None,
    cfg_options: dict[str, Any] | None = None,
    val: RotatedInstances | None = None,
    keep_empty: bool = True,
    seed: int = 0,
) -> Finetuned:
    """Train an MMRotate config on `labels`, with the config's own pipeline, schedule, hooks and visualiser.

    Killed at any moment, the same call goes on from the last checkpoint in `work_dir`; finished, it returns at
    once. Under ``torchrun`` or SLURM every rank makes the same call.

    Args:
        config: path, ``mmengine.Config``, or name of a config shipped with MMRotate.
        images: a folder or a mapping image id -> file that holds the labelled images.
        labels: the labels; images without a box are negatives.
        classes: class names; the heads get that many classes.
        work_dir: where logs, checkpoints, the config and the data go.
        checkpoint: weights to start from (``"zoo"`` for the published ones). Those of another class count
            start everything but the last layers. None: the config's own start, pretrained backbones included.
        cfg_options: dotted key -> value, e.g. ``{"train_cfg.max_epochs": 12}``.
        val: labels to evaluate on, as the config's own evaluator does.
        keep_empty: train on images without a box too; MMRotate's configs leave them out.
        seed: of the Runner.

    Raises:
        ValueError: for labels without an image, with other classes or with nothing to train on.
        TrainingDiverged: when the loss is no longer finite.
    """
    work_dir = Path(work_dir).absolute()
    done = work_dir / "finetuned.json"
    result = Finetuned(work_dir / "finetuned.pth", work_dir / "config.py", {})
    cfg = training_config(config, images, labels, classes, work_dir, cfg_options, val, keep_empty, seed)
    request = _request(cfg, checkpoint)
    if done.is_file():
        finished = json.loads(done.read_text())
        if finished["request"] != request:
            raise ValueError(
                f"{work_dir} holds a finished training with other settings or labels; choose another work_dir"
            )
        return Finetuned(result.checkpoint, result.config, finished["metrics"])

    if checkpoint is not None:
        configs.without_pretrained(cfg)
    rotated_iou_cpu.install()
    runner = _quiet_runner(cfg)
    last = find_latest_checkpoint(str(work_dir))
    if last is None and checkpoint is not None:
        path = configs.published_weights(config) if str(checkpoint) == "zoo" else checkpoint
        weights = read_checkpoint(path)
        runner.model.init_weights()
        unfitting = weights.warm_start(_unwrapped(runner.model))
        runner.logger.info(f"warm start from {path}; new weights: {', '.join(unfitting) or 'none'}")
        # The Runner initialises the weights once more when training starts, unless told that it is done.
        runner.model.init_weights = lambda: None
    model = runner.train()

    metrics = _metrics(runner)
    if get_rank() == 0:
        state = _ema_state(runner) or _unwrapped(model).state_dict()
        write_checkpoint(result.checkpoint, {n: v.cpu() for n, v in state.items()}, tuple(classes))
        scratch = done.with_suffix(f".{os.getpid()}.tmp")
        scratch.write_text(json.dumps({"request": request, "metrics": metrics}, indent=1))
        os.replace(scratch, done)
    return Finetuned(result.checkpoint, result.config, metrics)


def training_config(
    config: str | Path | Config,
    images: str | Path | Mapping[str, str | Path],
    labels: RotatedInstances,
    classes: Sequence[str],
    work_dir: Path,
    cfg_options: dict[str, Any] | None = None,
    val: RotatedInstances | None = None,
    keep_empty: bool = True,
    seed: int = 0,
) -> Config:
    """The complete config that :func:`finetune` runs; MMRotate's own ``tools/train.py`` runs it too."""
    cfg = configs.load(config, cfg_options)
    configs.set_classes(cfg, classes)
    cfg.work_dir = str(work_dir)
    cfg.custom_imports = {"imports": ["al_rotate.registered"], "allow_failed_imports": False}
    cfg.launcher = "pytorch" if "LOCAL_RANK" in os.environ else "slurm" if "SLURM_PROCID" in os.environ else "none"
    cfg.randomness = {"seed": seed, **(cfg.get("randomness") or {})}
    cfg.resume = True  # from work_dir, if a checkpoint is there
    cfg.custom_hooks = [*(cfg.get("custom_hooks") or []), {"type": "StopWhenDiverged"}, {"type": "ProgressBar"}]

    files = resolve(images)
    train = labelled.write(work_dir / "data" / "train.parquet", files, labels, classes)
    if not labels.n_boxes:
        raise ValueError(f"expected labels with at least one box to train on, got {labels!r}")
    _use_data(cfg.train_dataloader, train, classes, {"filter_empty_gt": not keep_empty})
    if val is None:
        cfg.val_dataloader = cfg.val_evaluator = cfg.val_cfg = None
    else:
        data = labelled.write(work_dir / "data" / "val.parquet", files, val, classes)
        _use_data(cfg.val_dataloader, data, classes, None)
        # MMRotate's metric starts four processes for every evaluation; ours gives the same figures in this one.
        for evaluator in cfg.val_evaluator if isinstance(cfg.val_evaluator, list) else [cfg.val_evaluator]:
            if evaluator["type"] == "DOTAMetric":
                evaluator["type"] = "RotatedMAP"
    if not torch.cuda.is_available():
        # SyncBN needs a GPU; on one process it is BN anyway.
        _replace_types(cfg.model, "SyncBN", "BN")
        cfg.env_cfg.dist_cfg = {"backend": "gloo"}
    work_dir.mkdir(parents=True, exist_ok=True)
    cfg.dump(work_dir / "config.py")
    return cfg


def _quiet_runner(cfg: Config) -> Runner:
    """A Runner whose log goes to its file in work_dir; the screen gets errors only (a config alone is 300 lines)."""
    with contextlib.redirect_stdout(io.StringIO()):
        runner = Runner.from_cfg(cfg)
    for handler in runner.logger.handlers:
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            handler.setStream(sys.stderr)
            handler.setLevel(logging.ERROR)
    return runner


def _use_data(loader: dict[str, Any], path: Path, classes: Sequence[str], filter_cfg: dict[str, Any] | None) -> None:
    pipeline = copy.deepcopy(configs.innermost(loader["dataset"])["pipeline"])
    for step in pipeline:
        if step["type"].split(".")[-1] == "LoadImageFromFile":
            step.clear()
            step["type"] = "LoadImageAsShown"
    loader["dataset"] = {
        "type": "RotatedInstancesDataset",
        "ann_file": str(path),
        "metainfo": {"classes": tuple(classes)},
        "pipeline": pipeline,
        "test_mode": filter_cfg is None,
        "filter_cfg": filter_cfg,
    }
    if loader.get("num_workers") == 0:
        loader["persistent_workers"] = False


def _replace_types(value: Any, old: str, new: str) -> None:
    if isinstance(value, dict):
        if value.get("type") == old:
            value["type"] = new
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            _replace_types(item, old, new)


def _request(cfg: Config, checkpoint: str | Path | None) -> dict[str, str]:
    """What a finished training is recognised by."""
    data = Path(cfg.train_dataloader.dataset.ann_file)
    text = cfg.pretty_text.replace(cfg.work_dir, "")
    labels = RotatedInstances.load(data)
    parts = [
        labels.boxes.tobytes(),
        labels.labels.tobytes(),
        labels.offsets.tobytes(),
        *(i.encode() for i in labels.image_ids),
    ]
    digest = hashlib.sha256(b"\0".join(parts))
    return {
        "config": hashlib.sha256(text.encode()).hexdigest(),
        "labels": digest.hexdigest(),
        "checkpoint": str(checkpoint),
    }


def _metrics(runner: Runner) -> dict[str, float]:
    scalars = runner.message_hub.log_scalars
    metrics = {"iterations": float(runner.iter)}
    for name, values in scalars.items():
        kind, _, short = name.partition("/")
        if kind == "val" or (kind == "train" and "loss" in short):
            metrics[short if kind == "val" else f"last_{short}"] = float(values.current())
    return metrics


def _unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    return model.module if is_model_wrapper(model) else model


def _ema_state(runner: Runner) -> dict[str, Any] | None:
    """The averaged weights, where the config's EMA hook keeps them: those are what MMEngine evaluates and saves."""
    for hook in runner.hooks:
        if hasattr(hook, "ema_model"):
            return hook.ema_model.module.state_dict()
    return None
