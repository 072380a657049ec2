"""Seconds per iteration of the demo's training by how OpenMP's threads wait, on idle cores and beside other processes.

    python -m experiments.benchmarks.openmp

Threads that spin while they wait for each other take the cores that the others need, once something else runs there.
``al_rotate.detection`` sets GOMP_SPINCOUNT=1000 before torch is loaded, unless the user has set it or OMP_WAIT_POLICY.
Each setting trains in a process of its own, all in turns. The busy processes, one for each core, run an empty loop. Run
this on a machine that is idle otherwise: it says how busy the machine was when it began.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

SETTINGS: dict[str, dict[str, str]] = {
    "PyTorch's default": {},
    "GOMP_SPINCOUNT=0": {"GOMP_SPINCOUNT": "0"},
    "GOMP_SPINCOUNT=1000, ours": {"GOMP_SPINCOUNT": "1000"},
    "GOMP_SPINCOUNT=100000": {"GOMP_SPINCOUNT": "100000"},
    "OMP_WAIT_POLICY=passive": {"OMP_WAIT_POLICY": "passive"},
    "OMP_NUM_THREADS=1": {"OMP_NUM_THREADS": "1"},
}
# torch comes first, so that OpenMP reads what this benchmark set and not what al_rotate sets.
TRAIN = """
import sys, tempfile, time, warnings, contextlib, io
import torch
from pathlib import Path
warnings.filterwarnings("ignore")
from mmengine.hooks import Hook
from mmrotate.registry import HOOKS
import al_rotate as al
from al_rotate.detection.small_models import small_rtmdet

times = []

@HOOKS.register_module()
class Stopwatch(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        times.append(time.perf_counter())

iterations = int(sys.argv[1])
with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
    labels = al.synthetic.write_dataset(Path(folder) / "data", 16, 128, seed=0)
    options = {**small_rtmdet(128, iterations + 2), "custom_hooks": [{"type": "Stopwatch"}]}
    options["default_hooks.checkpoint.interval"] = iterations + 3
    data, work = Path(folder) / "data/images", Path(folder) / "work"
    al.finetune("rotated_rtmdet_tiny-3x-dota", data, labels, al.synthetic.CLASSES, work, cfg_options=options)
print((times[-1] - times[1]) / iterations)
"""


@contextlib.contextmanager
def busy(n: int) -> Iterator[None]:
    """While open, `n` processes keep cores busy."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(n)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def train(setting: dict[str, str], iterations: int) -> float:
    """Seconds per iteration in a process of its own."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, str(iterations)], env={**env, **setting}, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--settings", default=",".join(map(str, range(len(SETTINGS)))), help="numbers, such as 0,2")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    args = parser.parse_args()
    settings = {name: SETTINGS[name] for name in (list(SETTINGS)[int(number)] for number in args.settings.split(","))}
    cores = len(os.sched_getaffinity(0))
    print(f"{cores} cores, load {os.getloadavg()[0]:.1f} before it began", flush=True)

    seconds: dict[tuple[int, str], list[float]] = {(n, name): [] for n in (0, cores) for name in settings}
    for turn in range(args.turns):
        for (n, name), measured in seconds.items():
            with busy(n):
                measured.append(train(settings[name], args.iterations))
            print(f"turn {turn}, {n} busy processes, {name}: {measured[-1]:.2f} s an iteration", flush=True)
    rows = []
    for n in (0, cores):
        base = statistics.median(seconds[n, next(iter(settings))])
        for name in settings:
            median, low, high = (f(seconds[n, name]) for f in (statistics.median, min, max))
            rows.append({"busy": n, "setting": name, "seconds": median, "x": base / median})
            print(f"{n} busy, {name:26} {median:6.2f} s ({low:.2f}-{high:.2f}) {base / median:5.2f}x")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
