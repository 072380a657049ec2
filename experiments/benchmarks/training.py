"""Seconds an iteration of finetune on a CPU, one change after the other, and the split of where they go.

    python experiments/benchmarks/train.py PATH/TO/vhr10

RTMDet-R tiny at 320 px in batches of 8, from scratch. In each turn every variant trains a few iterations, the first
three of which are not counted; the figure is the median over the iterations of all turns.
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
from al_rotate.detection import training
from al_rotate.detection.networks.precision import channels_last
from al_rotate.detection.openmmlab import rotated_ops

HERE = Path(__file__).resolve().parent
CONFIG = HERE.parent / "configs" / "rtmdet_tiny_320.py"
SKIPPED = 3
warnings.filterwarnings("ignore")
times: list[float] = []
losses: list[float] = []


@HOOKS.register_module()
class ChannelsLast(Hook):
    def before_train(self, runner: Any) -> None:
        channels_last(runner.model)


@HOOKS.register_module()
class Stopwatch(Hook):
    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        times.append(time.perf_counter())
        losses.append(float(outputs["loss"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder in DOTA form with splits/")
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--turns", type=int, default=2)
    args = parser.parse_args()
    labels = al.dota.read(args.data / "labelTxt")
    train = labels.subset((args.data / "splits" / "train.txt").read_text().split())
    files = al.images.find(args.data / "images")

    variants: dict[str, tuple[bool, list[str]]] = {
        "mmcv's IoU": (False, []),
        "our IoU": (True, []),
        "our IoU, channels last": (True, ["ChannelsLast"]),
    }
    spent: dict[str, list[float]] = {name: [] for name in variants}
    first: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(args.turns):
            for name, (ours, hooks) in variants.items():
                times.clear()
                losses.clear()
                wanted = [{"type": hook} for hook in [*hooks, "Stopwatch"]]
                options = {"train_cfg.max_iters": args.iterations + SKIPPED, "custom_hooks": wanted}
                work = Path(folder) / f"{turn}-{name}"
                with contextlib.nullcontext() if ours else rotated_ops.uninstalled():
                    training.finetune(CONFIG, files, train, labels.classes, work, cfg_options=options)
                spent[name] += [b - a for a, b in zip(times[SKIPPED - 1 :], times[SKIPPED:], strict=False)]
                first.setdefault(name, losses[-1])
                print(f"turn {turn}, {name}: {statistics.median(spent[name]):.2f} s an iteration", flush=True)
    base = statistics.median(spent["mmcv's IoU"])
    for name, seconds in spent.items():
        median = statistics.median(seconds)
        spread = f"{min(seconds):.2f}-{max(seconds):.2f}"
        print(f"{name:26} {median:6.2f} s ({spread}) {base / median:5.2f}x   last loss {first[name]:.5f}")


if __name__ == "__main__":
    main()
