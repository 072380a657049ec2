"""Train a detector with MMEngine's Runner on labels from our container."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import itertools
import json
import logging
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import barrier, broadcast_object_list, get_rank, is_distributed
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from ...data import RotatedInstances
from ...data.columns import as_classes
from ...data.images import resolve
from ...evaluation.pseudo_labels import PseudoLabelled
from ...storage.files import atomic_write, sha256
from ...storage.manifest import claim
from ...storage.user_warnings import warn_user
from .. import configs, models
from ..checkpoints import read_checkpoint, write_checkpoint
from ..checkpoints.class_rows import OtherClasses, adapt, fits
from ..checkpoints.fetching import fetch_pretrained
from ..openmmlab import ops
from ..openmmlab.components import TrainingDiverged
from .config import training_config, unfinished_warm_up
from .data import readable, usable
from .schedule import Schedule

__all__ = ["Finetuned", "TrainingDiverged", "finetune"]

_NUMBERED = re.compile(r"(?:epoch|iter)_(\d+)\.pth")  # the Runner's own checkpoints, to resume from
_OWN = re.compile(rf"(?:best_.+_)?{_NUMBERED.pattern}")  # and its copies of the best of them

_RUNNERS = itertools.count(1)


@dataclass(frozen=True)
class Finetuned:
    """The result of :func:`finetune`.

    Attributes:
        checkpoint: weights and classes, for ``Detector(result.config, result.checkpoint)``.
        config: the complete config of the training.
        metrics: the number of iterations, the last losses, and the evaluator's figures if there was a `val`; also
            images_left_out and boxes_left_out, if any were.
        left_out: image id -> why the image, or some of its boxes, could not be trained or evaluated on.
    """

    checkpoint: Path
    config: Path
    metrics: dict[str, float]
    left_out: dict[str, str] = field(default_factory=dict)


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
    keep_checkpoints: bool = True,
    class_map: Mapping[str, str] | None = None,
    schedule: Schedule | None = None,
    pseudo: PseudoLabelled | None = None,
) -> Finetuned:
    """Train an MMRotate config on `labels`, with the config's own pipelines, hooks and visualiser.

    After a kill the same call resumes from the last checkpoint in `work_dir`; once finished, it returns at once.
    Under ``torchrun`` or SLURM every rank makes the same call.

    Args:
        config: path, ``mmengine.Config``, or name of a config shipped with MMRotate.
        images: a folder or a mapping image id -> file with the labelled images. Those that cannot be decoded are left
            out, with a warning and an account.
        labels: the labels; images without a box are negatives. Boxes outside of their images or without an area are
            left out likewise, and so are images whose boxes are all of that kind.
        classes: class names; the heads get as many classes.
        work_dir: folder for logs, checkpoints, the config and the data.
        checkpoint: weights to start from (``"zoo"`` for the published ones). Each class takes those of the checkpoint's
            class of that name; the others start at random, with a warning that names them. None starts as the config
            says, pretrained backbones included.
        cfg_options: dotted key -> value, e.g. ``{"train_cfg.max_epochs": 12}``.
        val: labels to evaluate on, with the config's own evaluator.
        keep_empty: train on images without a box too; MMRotate's configs leave them out.
        seed: of the Runner.
        keep_checkpoints: keep the Runner's own checkpoints (``iter_300.pth``, ``best_...``), each several times as
            large as the weights. False deletes them once the training has succeeded.
        class_map: class of the checkpoint -> class that takes its weights: ``{"large-vehicle": "truck"}``.
        schedule: how long, at what rates, and how often each image, in place of what the config and `cfg_options` say
            of that; None: as they say.
        pseudo: unlabelled images to train on beside the labelled ones; `images` has their files, too. A schedule does
            not count them. Those that cannot be decoded are left out.

    Raises:
        ValueError: for labels without an image, of other classes or without a box, or most of whose boxes are not in
            their images; for a config that lacks what a training needs; for a `work_dir` of a training with other
            settings, labels or start, before anything in it changes.
        ConnectionError: when the config starts from a pretrained backbone that cannot be downloaded.
        TrainingDiverged: when the loss is no longer finite.
    """
    work_dir, names = Path(work_dir).absolute(), as_classes(classes) or ()
    done = work_dir / "finetuned.json"
    result = Finetuned(work_dir / "finetuned.pth", work_dir / "config.py", {})
    if str(checkpoint) == "zoo":
        checkpoint = configs.published_weights(config)
    settings = [configs.load(config, cfg_options).to_dict(), list(names), seed, keep_empty]
    settings += [asdict(schedule)] if schedule else []
    request = {
        "config": hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest(),
        "labels": _digest(labels, *([pseudo.labels, pseudo.ignored] if pseudo else [])),
        "val": None if val is None else _digest(val),
        "checkpoint": None if checkpoint is None else sha256(Path(checkpoint)),
        **({"class_map": dict(class_map)} if class_map else {}),  # earlier versions recorded none
    }
    trained = any(work_dir.glob("*.pth"))
    claim(work_dir / "request.json", request, "a training", "choose another work_dir", in_use=trained)
    if done.is_file():
        if not keep_checkpoints:
            _delete_checkpoints(work_dir)  # a kill may have come before the earlier call did so
        recorded = json.loads(done.read_text(encoding="utf-8"))
        return replace(result, metrics=recorded["metrics"], left_out=recorded.get("left_out", {}))

    files = resolve(images)
    train, test = usable(files, labels), None if val is None else usable(files, val, "evaluated")
    cfg = training_config(
        config,
        files,
        train.labels,
        names,
        work_dir,
        cfg_options,
        test.labels if test else None,
        keep_empty,
        seed,
        schedule,
        readable(files, pseudo) if pseudo else None,
    )
    if get_rank() == 0 and (slow := unfinished_warm_up(cfg, len(train.labels))):
        warn_user(slow)
    last, reached = _last_checkpoint(work_dir)
    cfg.resume = last is not None
    if last is not None or checkpoint is not None:
        cfg.load_from = last and str(last)
        configs.without_pretrained(cfg)
    if cfg.launcher == "pytorch" and not torch.cuda.is_available() and not is_distributed():
        torch.distributed.init_process_group("gloo")  # MMEngine would look for this process's GPU
    runner = _quiet_runner(cfg)
    ops.require(runner.model, next(runner.model.parameters()).device)
    if last is None:
        _init_weights(runner, checkpoint, names, class_map)
    try:
        # The Runner builds data, optimizer and hooks only now.
        with configs.explained(cfg, "a config that can be trained", (KeyError, TypeError, AttributeError)):
            runner.train()
        end = runner.max_epochs if last and last.name.startswith("epoch") else runner.max_iters
        if val is not None and reached >= end:
            runner.val_loop.run()  # the kill came between the last iteration and the end of its evaluation
    finally:
        _stop_workers(runner)

    metrics = [{**_metrics(runner), **train.metrics}]
    left_out = {**train.left_out, **(test.left_out if test else {})}
    broadcast_object_list(metrics)  # each rank has its own losses
    if get_rank() == 0:
        state = _ema_state(runner) or _unwrapped(runner.model).state_dict()
        write_checkpoint(result.checkpoint, {n: v.cpu() for n, v in state.items()}, names)
        with atomic_write(done) as file:
            json.dump({"metrics": metrics[0], "left_out": left_out}, file, indent=1)
        if not keep_checkpoints:
            _delete_checkpoints(work_dir)
    barrier()
    return replace(result, metrics=metrics[0], left_out=left_out)


def _quiet_runner(cfg: Config) -> Runner:
    """Make a Runner that logs to its file in work_dir, and only errors to the screen (a config alone is 300 lines)."""
    with contextlib.redirect_stdout(io.StringIO()), configs.explained(cfg, "a config that can be trained"):
        cfg = copy.deepcopy(cfg)
        if isinstance(cfg.get("visualizer"), dict):  # one of an old name would go on writing into the old folder
            cfg.visualizer["name"] = f"training {next(_RUNNERS)} of this process"
        runner = Runner.from_cfg(cfg)
    for handler in runner.logger.handlers:
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            handler.setStream(sys.stderr)
            handler.setLevel(logging.ERROR)
    return runner


def _digest(*sets: RotatedInstances) -> str:
    parts: list[bytes] = []
    for labels in sets:
        arrays = (labels.offsets, labels.labels, labels.boxes)
        parts += [*(image_id.encode() for image_id in labels.image_ids), *(array.tobytes() for array in arrays)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _delete_checkpoints(work_dir: Path) -> None:
    for file in work_dir.glob("*.pth"):
        if _OWN.fullmatch(file.name):
            file.unlink(missing_ok=True)  # another rank may delete it too


def _last_checkpoint(work_dir: Path) -> tuple[Path | None, int]:
    """Find the Runner's newest complete checkpoint, and its number: a kill may leave an incomplete one."""
    numbered = [(int(match[1]), file) for file in work_dir.glob("*.pth") if (match := _NUMBERED.fullmatch(file.name))]
    for number, file in sorted(numbered, reverse=True):
        with contextlib.suppress(ValueError):
            return read_checkpoint(file).path, number
    return None, 0


def _init_weights(
    runner: Runner, checkpoint: str | Path | None, classes: tuple[str, ...], class_map: Mapping[str, str] | None
) -> None:
    """Start as the config says, then load the weights of `checkpoint` that fit."""
    model = _unwrapped(runner.model)
    try:
        fetch_pretrained(configs.dicts(runner.cfg.model))
        model.init_weights()
    except OSError as error:
        raise ConnectionError(
            f"could not load the pretrained weights that the config starts from: {error}. Or start from a checkpoint, "
            "or at random with cfg_options={'model.backbone.init_cfg': None}"
        ) from error
    if checkpoint is not None:
        weights = read_checkpoint(checkpoint)
        if class_map or not fits(weights, model, classes):
            adapted = adapt(weights, model, classes, lambda count: models.build(runner.cfg, count), class_map)
            weights = adapted.checkpoint
            if adapted.said and get_rank() == 0:
                warn_user(adapted.said, OtherClasses)
        remaining = weights.load_fitting(model)
        runner.logger.info(f"warm start from {checkpoint}; new weights: {', '.join(remaining) or 'none'}")
    # The Runner would initialise the weights again when training starts.
    model.init_weights = lambda: None


def _stop_workers(runner: Runner) -> None:
    """End the data loaders' processes; left to the garbage collector they live on, and then take 5 s each to end."""
    for loop in (runner._train_loop, runner._val_loop):
        for holder in (getattr(loop, "dataloader", None), getattr(loop, "dataloader_iterator", None)):
            iterator: Any = getattr(holder, "_iterator", None)
            if hasattr(iterator, "_shutdown_workers"):
                iterator._shutdown_workers()


def _metrics(runner: Runner) -> dict[str, float]:
    """Return the iterations, the evaluator's figures and the last losses."""
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
    """Return the averaged weights if the config has an EMA hook: MMEngine evaluates and saves those."""
    for hook in runner.hooks:
        if hasattr(hook, "ema_model"):
            return hook.ema_model.module.state_dict()
    return None
