"""finetune(): a detector trained by MMEngine's Runner on labels from our own container."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import json
import logging
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import barrier, broadcast_object_list, get_rank, is_distributed
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from . import configs, labelled
from ._files import sha256, whole
from .checkpoints import read_checkpoint, write_checkpoint
from .images import resolve
from .instances import RotatedInstances
from .registered import TrainingDiverged

__all__ = ["Finetuned", "TrainingDiverged", "finetune", "training_config"]

_NUMBERED = re.compile(r"(?:epoch|iter)_(\d+)\.pth")  # the Runner's own checkpoints


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
        ValueError: for labels without an image, with other classes or with nothing to train on; for a `work_dir` of
            a training with other settings, labels or start, before anything in it is changed.
        ConnectionError: when the config starts from a pretrained backbone that cannot be fetched.
        TrainingDiverged: when the loss is no longer finite.
    """
    work_dir = Path(work_dir).absolute()
    done = work_dir / "finetuned.json"
    result = Finetuned(work_dir / "finetuned.pth", work_dir / "config.py", {})
    if str(checkpoint) == "zoo":
        checkpoint = configs.published_weights(config)
    settings = configs.load(config, cfg_options).to_dict(), list(classes), seed, keep_empty
    _claim(
        work_dir,
        {
            "config": hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest(),
            "labels": _digest(labels),
            "val": None if val is None else _digest(val),
            "checkpoint": None if checkpoint is None else sha256(Path(checkpoint)),
        },
    )
    if done.is_file():
        return replace(result, metrics=json.loads(done.read_text(encoding="utf-8"))["metrics"])

    cfg = training_config(config, images, labels, classes, work_dir, cfg_options, val, keep_empty, seed)
    last, reached = _last_checkpoint(work_dir)
    cfg.resume = last is not None
    if last is not None or checkpoint is not None:
        cfg.load_from = last and str(last)
        configs.without_pretrained(cfg)
    if cfg.launcher == "pytorch" and not torch.cuda.is_available() and not is_distributed():
        torch.distributed.init_process_group("gloo")  # MMEngine would ask CUDA for this process's device
    runner = _quiet_runner(cfg)
    if last is None:
        _start(runner, checkpoint)
    try:
        runner.train()
        end = runner.max_epochs if last and last.name.startswith("epoch") else runner.max_iters
        if val is not None and reached >= end:
            runner.val_loop.run()  # the kill came after the last iteration, before its evaluation was over
    finally:
        _stop_workers(runner)

    figures = [_metrics(runner)]
    broadcast_object_list(figures)  # each rank has its own losses
    if get_rank() == 0:
        state = _ema_state(runner) or _unwrapped(runner.model).state_dict()
        write_checkpoint(result.checkpoint, {n: v.cpu() for n, v in state.items()}, tuple(classes))
        with whole(done) as file:
            json.dump({"metrics": figures[0]}, file, indent=1)
    barrier()
    return replace(result, metrics=figures[0])


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
    slurm = "SLURM_PROCID" in os.environ and int(os.environ.get("SLURM_NTASKS", 1)) > 1
    cfg.launcher = "pytorch" if "LOCAL_RANK" in os.environ else "slurm" if slurm else "none"
    cfg.randomness = {"seed": seed, **(cfg.get("randomness") or {})}
    cfg.resume = not cfg.get("load_from")  # from work_dir, if a checkpoint is there
    cfg.custom_hooks = [*(cfg.get("custom_hooks") or []), {"type": "StopWhenDiverged"}, {"type": "ProgressBar"}]

    files = resolve(images)
    if not labels.n_boxes:
        raise ValueError(f"expected labels with at least one box to train on, got {labels!r}")
    train = labelled.write(work_dir / "data" / "train.parquet", files, labels, classes)
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
        if cfg.launcher != "none":
            unused = cfg.get("find_unused_parameters", False)
            wrapper = {"type": "MMDistributedDataParallel", "find_unused_parameters": unused}
            cfg.model_wrapper_cfg = {**(cfg.get("model_wrapper_cfg") or wrapper), "device_ids": None}
            if cfg.model.type.endswith("RTMDet"):
                cfg.model.use_syncbn = False  # by itself it converts all BN as soon as there are two processes
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


def _digest(labels: RotatedInstances) -> str:
    arrays = (labels.offsets, labels.labels, labels.boxes)
    parts = [*(image_id.encode() for image_id in labels.image_ids), *(array.tobytes() for array in arrays)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _claim(work_dir: Path, request: dict[str, str | None]) -> None:
    """Note in `work_dir` what is trained there; refuse one in which something else was."""
    file = work_dir / "request.json"
    there = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else request
    changed = [name for name in request if there.get(name) != request[name]]
    if changed and any(work_dir.glob("*.pth")):
        raise ValueError(f"{work_dir} holds a training with another {', '.join(changed)}; choose another work_dir")
    with whole(file) as text:
        json.dump(request, text, indent=1)


def _last_checkpoint(work_dir: Path) -> tuple[Path | None, int]:
    """The newest of the Runner's checkpoints that is whole, and its number: a kill may leave a part of one."""
    named = [(int(match[1]), file) for file in work_dir.glob("*.pth") if (match := _NUMBERED.fullmatch(file.name))]
    for number, file in sorted(named, reverse=True):
        with contextlib.suppress(ValueError):
            return read_checkpoint(file).path, number
    return None, 0


def _start(runner: Runner, checkpoint: str | Path | None) -> None:
    """The config's own start, and over it the weights of `checkpoint` that fit."""
    model = _unwrapped(runner.model)
    try:
        model.init_weights()
    except OSError as error:
        raise ConnectionError(
            f"could not fetch the pretrained weights that the config starts from ({error}). Put the file into "
            f"{torch.hub.get_dir()}/checkpoints, start from a checkpoint, or start at random with "
            "cfg_options={'model.backbone.init_cfg': None}"
        ) from error
    if checkpoint is not None:
        unfitting = read_checkpoint(checkpoint).warm_start(model)
        runner.logger.info(f"warm start from {checkpoint}; new weights: {', '.join(unfitting) or 'none'}")
    # The Runner initialises the weights once more when training starts, unless told that it is done.
    model.init_weights = lambda: None


def _stop_workers(runner: Runner) -> None:
    """End the data loaders' processes; left to the garbage collector they linger, and then take 5 s each to end."""
    for loop in (runner._train_loop, runner._val_loop):
        for holder in (getattr(loop, "dataloader", None), getattr(loop, "dataloader_iterator", None)):
            iterator: Any = getattr(holder, "_iterator", None)
            if hasattr(iterator, "_shutdown_workers"):
                iterator._shutdown_workers()


def _metrics(runner: Runner) -> dict[str, float]:
    scalars = runner.message_hub.log_scalars
    metrics = {"iterations": float(runner.iter)}
    for name, values in scalars.items():
        kind, _, short = name.partition("/")
        if (kind == "val" and not short.endswith("time")) or (kind == "train" and "loss" in short):
            metrics[short if kind == "val" else f"last_{short}"] = float(values.current())
    return metrics


def _unwrapped(model: Any) -> Any:
    return model.module if is_model_wrapper(model) else model


def _ema_state(runner: Runner) -> dict[str, Any] | None:
    """The averaged weights, where the config's EMA hook keeps them: those are what MMEngine evaluates and saves."""
    for hook in runner.hooks:
        if hasattr(hook, "ema_model"):
            return hook.ema_model.module.state_dict()
    return None
