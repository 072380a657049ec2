"""Peak memory of streaming a pool of 1,000 images and one of 100,000, and of holding all detections at once.

    python experiments/benchmarks/predict_memory.py PATH/TO/vhr10/images

Real photographs, shrunk to 96 px so that it takes minutes and not hours, again and again under other names, and a
narrow detector at 64 px with random weights, 30 boxes an image: what could grow is what is kept of each image. Each
pool in a process of its own.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

from PIL import Image
from predict import peak_mb

from al_rotate.data import images
from al_rotate.detection import detector
from al_rotate.detection.small_models import small_rtmdet

warnings.filterwarnings("ignore")


def work(folder: Path, count: int, whole: bool) -> None:
    shrunk = tempfile.TemporaryDirectory()
    found = []
    for k, file in enumerate(list(images.find(folder).values())[:64]):
        found.append(Path(shrunk.name) / f"{k}.jpg")
        Image.fromarray(images.read(file)).resize((96, 64)).save(found[-1])
    files = {f"{k:06d}": file for k, file in enumerate(itertools.islice(itertools.cycle(found), count))}
    options = {**small_rtmdet(64), "model.test_cfg.score_thr": 0.0, "model.test_cfg.max_per_img": 30}
    options |= {"model.test_cfg.nms_pre": 20}
    made = detector.Detector("rotated_rtmdet_tiny-3x-dota", device="cpu", cfg_options=options)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as out:
        if whole:
            boxes = made.predict(files, progress=False, out=out).n_boxes
        else:
            boxes = sum(part.n_boxes for part in made.stream(files, progress=False, out=out))
    seconds = time.perf_counter() - started
    print(f"{'predict' if whole else 'stream '} {count:7d} images, {boxes} boxes: {peak_mb():.0f} MB, {seconds:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, help="folder of images")
    parser.add_argument("--counts", type=int, nargs="+", default=[1_000, 100_000])
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(args.images, int(args.work[0]), args.work[1] == "predict")
        return
    for count in args.counts:
        command = [sys.executable, __file__, str(args.images), "--work", str(count), "stream"]
        print(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1], flush=True)


if __name__ == "__main__":
    main()
