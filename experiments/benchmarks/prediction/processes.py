"""Throughput of several processes beside that of one: images a second of the whole machine.

    python experiments/benchmarks/predict_ranks.py work_dirs/rtmdet_tiny_320 PATH/TO/vhr10/images

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

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a config may name lite0
warnings.filterwarnings("ignore")
detector.SHARD = 32


def work(folder: Path, files: dict[str, Path], out: Path) -> None:
    me = this_process()
    made = detector.Detector(folder / "config.py", folder / "finetuned.pth", "cpu")
    made.predict(dict(list(files.items())[:64]), progress=False)
    (out / f"ready{me.number}").touch()
    while len(list(out.glob("ready*"))) < me.total:
        time.sleep(0.01)
    started = time.perf_counter()
    made.predict(files, progress=False, out=out / "found")
    if me.number == 0:
        (out / "seconds").write_text(str(time.perf_counter() - started))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="folder of al_rotate.finetune: config.py and finetuned.pth")
    parser.add_argument("images", type=Path, help="folder of images")
    parser.add_argument("--count", type=int, default=384, help="how many images")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    files = dict(list(images.find(args.images).items())[: args.count])
    if args.work:
        work(args.checkpoint, files, args.work)
        return

    best: dict[int, float] = {}
    first = None
    for _ in range(args.turns):
        for processes in args.processes:
            with tempfile.TemporaryDirectory() as out:
                launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
                own = [__file__, str(args.checkpoint), str(args.images), "--count", str(args.count), "--work", out]
                subprocess.run([sys.executable, *launch, *own], check=True, capture_output=True)
                speed = len(files) / float((Path(out) / "seconds").read_text())
                found = RotatedInstances.load(Path(out) / "found")
            first = first or found
            best[processes] = max(best.get(processes, 0), speed)
            print(f"{processes} processes: {speed:.2f} images/s, the same detections: {found == first}", flush=True)
    for processes, speed in best.items():
        print(f"{processes} processes, best: {speed:.2f} images/s, {speed / best[args.processes[0]]:.2f} of one's")


if __name__ == "__main__":
    main()
