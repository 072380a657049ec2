"""Seconds per iteration of finetune on a CPU, one change after the other.

    python -m experiments.benchmarks.training PATH/TO/vhr10

RTMDet-R tiny at 320 px in batches of 8, from scratch. In each turn every variant trains a few iterations, the first
three of which do not count. The result is the median over the iterations of all turns.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmrotate.registry import HOOKS

import al_rotate as al
from al_rotate.detection.networks.precision import channels_last
from al_rotate.detection.openmmlab import rotated_ops

from ..learners import dota_folder
from ..paths import DETECTORS

CONFIG = DETECTORS / "rtmdet_tiny_320.py"
SKIPPED = 3  # iterations at the start of each training
VARIANTS: dict[str, tuple[bool, list[str]]] = {  # whether our IoU is installed, and hooks
    "mmcv's IoU": (False, []),
    "our IoU": (True, []),
    "our IoU, channels last": (True, ["ChannelsLast"]),
}
times: list[float] = []
losses: list[float] = []


@HOOKS.register_module()
class ChannelsLast(Hook):
    def before_train(self, runner: Any) -> None:
        channels_last(runner.model)


@HOOKS.register_module()
class Stopwatch(Hook):
    """Appends the time and the loss after each iteration to `times` and `losses`."""

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        times.append(time.perf_counter())
        losses.append(float(outputs["loss"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder in DOTA form with splits/")
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--turns", type=int, default=2)
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    data = dota_folder.read(args.data)
    labels = data.labels.subset(data.train)

    seconds: dict[str, list[float]] = {name: [] for name in VARIANTS}
    last_losses: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(args.turns):
            for name, (ours, hooks) in VARIANTS.items():
                times.clear()
                losses.clear()
                custom_hooks = [{"type": hook} for hook in [*hooks, "Stopwatch"]]
                options = {"train_cfg.max_iters": args.iterations + SKIPPED, "custom_hooks": custom_hooks}
                work = Path(folder) / f"{turn}-{name}"
                with contextlib.nullcontext() if ours else rotated_ops.uninstalled():
                    al.finetune(CONFIG, data.files, labels, data.classes, work, cfg_options=options)
                seconds[name] += [b - a for a, b in zip(times[SKIPPED - 1 :], times[SKIPPED:], strict=False)]
                last_losses.setdefault(name, losses[-1])
                print(f"turn {turn}, {name}: {statistics.median(seconds[name]):.2f} s per iteration", flush=True)
    base = statistics.median(seconds["mmcv's IoU"])
    for name, measured in seconds.items():
        median = statistics.median(measured)
        spread = f"{min(measured):.2f}-{max(measured):.2f}"
        print(f"{name:26} {median:6.2f} s ({spread}) {base / median:5.2f}x   last loss {last_losses[name]:.5f}")


if __name__ == "__main__":
    main()
