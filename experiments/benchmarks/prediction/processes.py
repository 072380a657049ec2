"""Throughput of several processes against that of one: images per second of the whole machine.

    python -m experiments.benchmarks.prediction.processes work_dirs/rtmdet_tiny_320 PATH/TO/vhr10/images

Each number of processes is started by torchrun. All make their detectors and predict once to warm up; the clock runs
from when the last is ready until all shards are there. At the end the detections are compared.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

from al_rotate import RotatedInstances
from al_rotate.data import images
from al_rotate.detection import detector
from al_rotate.detection.inference.processes import this_process

MODULE = "experiments.benchmarks.prediction.processes"


def predict_as_one_of_many(checkpoint: Path, files: dict[str, Path], out: Path) -> None:
    """Run in each process: predict when all processes are ready; the first notes the seconds."""
    warnings.filterwarnings("ignore")
    detector.SHARD = 32
    process = this_process()
    own = detector.Detector(checkpoint / "config.py", checkpoint / "finetuned.pth", "cpu")
    own.predict(dict(list(files.items())[:64]), progress=False)
    (out / f"ready{process.number}").touch()
    while len(list(out.glob("ready*"))) < process.total:
        time.sleep(0.01)
    started = time.perf_counter()
    own.predict(files, progress=False, out=out / "detections")
    if process.number == 0:
        (out / "seconds").write_text(str(time.perf_counter() - started))


def measure(args: argparse.Namespace, n_processes: int, n_images: int) -> tuple[float, RotatedInstances]:
    """Images per second, and the detections."""
    with tempfile.TemporaryDirectory() as out:
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(n_processes), "-m", MODULE]
        own = [str(args.checkpoint), str(args.images), "--count", str(args.count), "--out", out]
        subprocess.run([sys.executable, *launch, *own], check=True, capture_output=True)
        speed = n_images / float((Path(out) / "seconds").read_text())
        return speed, RotatedInstances.load(Path(out) / "detections")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="folder of al_rotate.finetune: config.py and finetuned.pth")
    parser.add_argument("images", type=Path, help="folder of images")
    parser.add_argument("--count", type=int, default=384, help="how many images")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)  # given by the launcher
    args = parser.parse_args()
    files = dict(list(images.find(args.images).items())[: args.count])
    if args.out:
        predict_as_one_of_many(args.checkpoint, files, args.out)
        return

    best: dict[int, float] = {}
    first = None
    for _ in range(args.turns):
        for n_processes in args.processes:
            speed, detections = measure(args, n_processes, len(files))
            first = first or detections
            best[n_processes] = max(best.get(n_processes, 0), speed)
            same = detections == first
            print(f"{n_processes} processes: {speed:.2f} images/s, the same detections: {same}", flush=True)
    for n_processes, speed in best.items():
        print(f"{n_processes} processes, best: {speed:.2f} images/s, {speed / best[args.processes[0]]:.2f} of one's")


if __name__ == "__main__":
    main()
