"""Seconds per iteration of finetune, against MMRotate's own code in MMEngine's Runner.

    python -m experiments.benchmarks.training PATH/TO/vhr10
    python -m experiments.benchmarks.training PATH/TO/vhr10 --size 640 --workers 8 --iterations 60   # with a GPU

RTMDet-R tiny in batches of 8, from scratch, on a GPU if there is one. In each turn every variant trains a few
iterations, the first of which do not count. The result is the median over the iterations of all turns. --count also
counts operations and synchronisations of one iteration.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmrotate.registry import HOOKS

from al_rotate.detection.openmmlab import uninstalled
from al_rotate.detection.openmmlab.components import RotatedMAP  # noqa: F401 (registers what configs of ours name)
from al_rotate.detection.training.config import training_config

from ..learners import dota_folder
from ..paths import DETECTORS
from .operations import Operations

CONFIG = DETECTORS / "rtmdet_tiny_320.py"
OURS = ("StepTogether", "StopWhenDiverged", "ProgressBar")
MMROTATE, ALL, FORGETFUL = "MMRotate's own", "ours", "ours, no image remembered"
times: list[float] = []
cpu_times: list[float] = []
losses: list[Any] = []


@HOOKS.register_module()
class Stopwatch(Hook):
    """Appends the time, this process's CPU time and the loss after each iteration; reads nothing."""

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        times.append(time.perf_counter())
        cpu_times.append(time.process_time())
        losses.append(outputs["loss"].detach())


def options(size: int, workers: int, iterations: int, extra: dict[str, Any]) -> dict[str, Any]:
    sides = {f"train_dataloader.dataset.pipeline.{step}": (size, size) for step in ("3.scale", "5.size")}
    return {
        "train_cfg.max_iters": iterations,
        "train_cfg.val_interval": iterations,
        "train_dataloader.num_workers": workers,
        "train_dataloader.persistent_workers": workers > 0,
        "default_hooks.checkpoint.interval": iterations + 1,
        **sides,
        **extra,
    }


def train(variant: str, data: dota_folder.DotaFolder, folder: Path, cfg_options: dict[str, Any], *hooks: str) -> None:
    """Train into an empty folder, from the same weights and through the same batches each time."""
    labels = data.labels.subset(data.train)
    config = training_config(CONFIG, data.files, labels, data.classes, folder, cfg_options)
    config.custom_hooks += [{"type": hook} for hook in ("Stopwatch", *hooks)]
    if variant != ALL:
        config.train_dataloader.dataset.remember = 0
    if variant == MMROTATE:
        config.custom_hooks = [hook for hook in config.custom_hooks if hook["type"] not in OURS]
        config.default_hooks.runtime_info = {"type": "RuntimeInfoHook"}
    screen = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    with uninstalled() if variant == MMROTATE else contextlib.nullcontext(), screen[0], screen[1]:
        Runner.from_cfg(config).train()


def count(variant: str, data: dota_folder.DotaFolder, folder: Path, cfg_options: dict[str, Any]) -> tuple[int, int]:
    """Operations and synchronisations of the second iteration, hooks included."""
    counts: list[Operations] = []

    @HOOKS.register_module(force=True)
    class CountOperations(Hook):
        priority = "VERY_HIGH"

        def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
            counts.append(Operations())
            counts[-1].__enter__()

    @HOOKS.register_module(force=True)
    class StopCounting(Hook):
        priority = "LOWEST"

        def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
            counts[-1].__exit__(None, None, None)

    train(variant, data, folder, {**cfg_options, "train_cfg.max_iters": 2}, "CountOperations", "StopCounting")
    return counts[1].total, counts[1].waits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder in DOTA form with splits/")
    parser.add_argument("--size", type=int, default=320, help="side that images are resized to")
    parser.add_argument("--workers", type=int, default=1, help="processes that prepare images")
    parser.add_argument("--iterations", type=int, default=10, help="of each variant and turn, that count")
    parser.add_argument("--skipped", type=int, default=3, help="before those")
    parser.add_argument("--turns", type=int, default=2, help="0 with --count: count alone")
    parser.add_argument("--images", type=int, help="train on the first so many")
    parser.add_argument("--fp16", action="store_true", help="with MMEngine's AmpOptimWrapper (a GPU)")
    parser.add_argument("--count", action="store_true", help="count operations and synchronisations, too")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    data = dota_folder.read(args.data)
    present = [image_id for image_id in data.train if image_id in data.files and image_id in data.labels]
    data = data._replace(train=present[: args.images])
    extra = {"optim_wrapper.type": "AmpOptimWrapper"} if args.fp16 else {}
    settings = options(args.size, args.workers, args.iterations + args.skipped, extra)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} threads"
    print(f"{len(data.train)} images at {args.size} px, {args.workers} workers, {device}", flush=True)

    seconds: dict[str, list[float]] = {name: [] for name in (MMROTATE, ALL, FORGETFUL)}
    cpu_seconds: dict[str, list[float]] = {name: [] for name in seconds}
    curves: dict[str, list[float]] = {}
    counts: dict[str, tuple[int, int]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(args.turns):
            for name in seconds:
                times.clear()
                cpu_times.clear()
                losses.clear()
                train(name, data, Path(folder) / f"{turn}-{name}", settings)
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                    times[-1] = time.perf_counter()
                # The host may run ahead of a GPU: the mean of a turn counts, not single iterations.
                spent = (times[-1] - times[args.skipped - 1]) / args.iterations
                seconds[name].append(spent)
                cpu_seconds[name].append((cpu_times[-1] - cpu_times[args.skipped - 1]) / args.iterations)
                curves.setdefault(name, torch.stack(losses).tolist())
                print(f"turn {turn}, {name}: {spent:.4f} s an iteration", flush=True)
        for name in (MMROTATE, ALL) if args.count else ():
            counts[name] = count(name, data, Path(folder) / f"count-{name}", settings)
            print(f"{name}: {counts[name][0]} operations, {counts[name][1]} synchronisations", flush=True)
    if not args.turns:
        return
    base = statistics.median(seconds[MMROTATE])
    rows = {}
    for name, measured in seconds.items():
        median, apart = statistics.median(measured), _apart(curves[name], curves[MMROTATE])
        cpu = statistics.median(cpu_seconds[name])
        rows[name] = {
            "seconds": median,
            "cpu_seconds": cpu,
            "x": base / median,
            "losses_apart": apart,
            "operations": counts.get(name),
        }
        of_cpu = statistics.median(cpu_seconds[MMROTATE]) / cpu
        spread = f"{min(measured):.4f}-{max(measured):.4f}"
        print(
            f"{name:26} {median:7.4f} s ({spread}) {1 / median:6.2f}/s {base / median:5.2f}x   "
            f"CPU {cpu:.4f} s {of_cpu:5.2f}x   losses apart {apart:.1e}"
        )
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


def _apart(losses: list[float], others: list[float]) -> float:
    """The largest difference of the first twenty losses."""
    return max(abs(a - b) for a, b in zip(losses[:20], others[:20], strict=True))


if __name__ == "__main__":
    main()
