"""The config that a training runs: a detector's own, with our data, hooks and metric in place."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import get_world_size

from ...data import RotatedInstances, dataset
from ...data.images import resolve
from ...evaluation.pseudo_labels import PseudoLabelled
from .. import configs
from . import pseudo as pseudo_dataset
from .schedule import LOWEST_RATE, Schedule

OUR_HOOKS = ("StepTogether", "StopWhenDiverged", "ProgressBar")


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
    schedule: Schedule | None = None,
    pseudo: PseudoLabelled | None = None,
) -> Config:
    """Write the labels and ``config.py`` to `work_dir`, and return the complete config of the training.

    :func:`~al_rotate.finetune` runs it, and has the same arguments; MMRotate's own ``tools/train.py`` runs it too.

    Raises:
        ValueError: for labels without an image, of other classes or without a box; for a config that lacks what a
            training needs.
    """
    cfg = configs.load(config, cfg_options)
    configs.require(cfg, "training", "train_dataloader", "train_cfg", "optim_wrapper")
    if val is not None:
        configs.require(cfg, "an evaluation while training", "val_dataloader", "val_cfg", "val_evaluator")
    configs.set_classes(cfg, classes)
    cfg.work_dir = str(work_dir)
    cfg.custom_imports = {"imports": ["al_rotate.detection.openmmlab.components"], "allow_failed_imports": False}
    slurm = "SLURM_PROCID" in os.environ and int(os.environ.get("SLURM_NTASKS", 1)) > 1
    cfg.launcher = "pytorch" if "LOCAL_RANK" in os.environ else "slurm" if slurm else "none"
    cfg.randomness = {"seed": seed, **(cfg.get("randomness") or {})}
    cfg.resume = not cfg.get("load_from")  # from work_dir, if it has a checkpoint
    # A config that was written by an earlier training has ours already.
    theirs = [hook for hook in cfg.get("custom_hooks") or [] if configs.kind(hook) not in OUR_HOOKS]
    cfg.custom_hooks = [*theirs, *({"type": name} for name in OUR_HOOKS)]
    cfg.default_hooks = {"runtime_info": {"type": "LossesOnDemand"}, **(cfg.get("default_hooks") or {})}

    files = resolve(images)
    if not labels.n_boxes:
        raise ValueError(f"expected labels with at least one box to train on, got {labels!r}")
    train = dataset.write(work_dir / "data" / "train.parquet", files, labels, classes)
    _use_data(cfg.train_dataloader, train, classes, {"filter_empty_gt": not keep_empty})
    if schedule is not None:
        _follow(schedule, cfg, len(labels))
    if pseudo is not None:
        _add_pseudo_labelled(cfg, pseudo, files, classes, work_dir / "data")
    if val is None:
        cfg.val_dataloader = cfg.val_evaluator = cfg.val_cfg = None
    else:
        data = dataset.write(work_dir / "data" / "val.parquet", files, val, classes)
        _use_data(cfg.val_dataloader, data, classes, None)
        # MMRotate's metric starts four processes for every evaluation; ours computes the same figures without them.
        for evaluator in cfg.val_evaluator if isinstance(cfg.val_evaluator, list) else [cfg.val_evaluator]:
            if configs.kind(evaluator) == "DOTAMetric":
                evaluator["type"] = "RotatedMAP"
    if not torch.cuda.is_available():
        # SyncBN needs a GPU; in a single process it is BN anyway.
        _replace_types(cfg.model, "SyncBN", "BN")
        cfg.env_cfg = {**(cfg.get("env_cfg") or {}), "dist_cfg": {"backend": "gloo"}}
        if cfg.launcher != "none":
            unused = cfg.get("find_unused_parameters", False)
            wrapper = {"type": "MMDistributedDataParallel", "find_unused_parameters": unused}
            cfg.model_wrapper_cfg = {**(cfg.get("model_wrapper_cfg") or wrapper), "device_ids": None}
            if cfg.model.type.endswith("RTMDet"):
                cfg.model.use_syncbn = False  # by default it converts every BN when there are two processes
    work_dir.mkdir(parents=True, exist_ok=True)
    cfg.dump(work_dir / "config.py")
    return cfg


def unfinished_warm_up(cfg: Config, n_images: int) -> str | None:
    """Say how far the learning rate of an epoch-based training comes if it ends during the warm-up; None: it does not.

    Warm-ups are counted in iterations, for the thousands of images of a published data set; a loop has fewer.
    """
    if cfg.train_cfg.get("type") != "EpochBasedTrainLoop":
        return None
    a_batch = cfg.train_dataloader.get("batch_size", 1) * get_world_size()
    iterations = cfg.train_cfg.max_epochs * math.ceil(n_images / a_batch)
    schedulers = cfg.param_scheduler if isinstance(cfg.get("param_scheduler"), list) else []
    warm_ups = [each for each in schedulers if configs.kind(each) == "LinearLR" and not each.get("by_epoch", True)]
    longest = max([each.get("end", 0) for each in warm_ups if not each.get("begin")], default=0)
    if iterations >= longest:
        return None
    return (
        f"the learning rate rises for {longest} iterations, and this training has {iterations}: it ends at "
        f"{100 * iterations / longest:.0f} % of the warm-up. A schedule that follows the number of images is made for "
        f"that: --schedule per_image=4, or schedule=al_rotate.Schedule()"
    )


def _use_data(loader: dict[str, Any], path: Path, classes: Sequence[str], filter_cfg: dict[str, Any] | None) -> None:
    pipeline = copy.deepcopy(configs.innermost(loader["dataset"]).get("pipeline"))
    if not pipeline:
        raise ValueError("expected a dataset with a pipeline in every dataloader of the config, got one without")
    for step in pipeline:
        if configs.kind(step) == "LoadImageFromFile":
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


def _follow(schedule: Schedule, cfg: Config, n_images: int) -> None:
    """Put a schedule in the place of the config's own length, learning rates and sampler."""
    iterations = schedule.iterations(n_images)
    cfg.train_cfg = {"type": "IterBasedTrainLoop", "max_iters": iterations, "val_interval": iterations}
    rising = schedule.warm_up_iterations(iterations)
    cosine = {"type": "CosineAnnealingLR", "by_epoch": False, "begin": rising, "end": iterations}
    cfg.param_scheduler = [{**cosine, "T_max": max(1, iterations - rising), "eta_min_ratio": LOWEST_RATE}]
    if rising > 1:
        line = {"type": "LinearLR", "by_epoch": False, "begin": 0, "end": rising, "start_factor": 1 / rising}
        cfg.param_scheduler.insert(0, line)
    if schedule.rate != 1:
        cfg.optim_wrapper.optimizer.lr *= schedule.rate
    loader = cfg.train_dataloader
    loader.sampler = {"type": "InfiniteSampler", "shuffle": True}  # MMEngine resumes it at the image where it was
    if schedule.balance:
        wrapper = {"type": "ClassBalancedDataset", "oversample_thr": schedule.balance}
        loader.dataset = {**wrapper, "dataset": loader.dataset}
    hooks = cfg.get("default_hooks") or {}
    # Two, because the Runner deletes the older checkpoint before it has written the newer one.
    kept = {"by_epoch": False, "interval": max(1, iterations // 3), "max_keep_ckpts": 2}
    checkpoint = {**(hooks.get("checkpoint") or {"type": "CheckpointHook"}), **kept}
    cfg.default_hooks = {**hooks, "checkpoint": checkpoint}
    cfg.log_processor = {**(cfg.get("log_processor") or {"type": "LogProcessor"}), "by_epoch": False}
    if schedule.ema:
        mean = {"type": "EMAHook", "ema_type": "ExponentialMovingAverage", "update_buffers": True, "priority": 49}
        mean["momentum"] = min(0.5, 1 / (schedule.ema * iterations))
        cfg.custom_hooks = [*(hook for hook in cfg.custom_hooks if configs.kind(hook) != "EMAHook"), mean]


def _add_pseudo_labelled(
    cfg: Config, pseudo: PseudoLabelled, files: Mapping[str, Path], classes: Sequence[str], folder: Path
) -> None:
    """Put pseudo-labelled images beside the labelled ones; a sampler that balances classes counts the latter alone."""
    cfg.custom_imports["imports"].append(pseudo_dataset.__name__)
    loader = cfg.train_dataloader
    more = copy.deepcopy(configs.innermost(loader.dataset))
    kinds = [configs.kind(step) for step in more["pipeline"]]
    if "LoadImageAsShown" not in kinds:
        raise ValueError(
            f"{configs.name_of(cfg)}: expected a training pipeline with LoadImageFromFile, for pseudo-labels, got "
            f"{', '.join(kinds)}"
        )
    more["pipeline"].insert(kinds.index("LoadImageAsShown") + 1, {"type": "EraseIgnored"})
    ignored = pseudo.ignored.save(folder / "pseudo_ignored.parquet")
    ann_file = dataset.write(folder / "pseudo.parquet", files, pseudo.labels, classes)
    more.update(type="PseudoLabelledDataset", ann_file=str(ann_file), ignored_file=str(ignored))
    loader.dataset = {"type": "ConcatDataset", "datasets": [loader.dataset, more]}


def _replace_types(value: Any, old: str, new: str) -> None:
    if isinstance(value, dict):
        if value.get("type") == old:
            value["type"] = new
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            _replace_types(item, old, new)
