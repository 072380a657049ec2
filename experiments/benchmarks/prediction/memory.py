"""Peak memory of streaming a pool of 1,000 images and one of 100,000.

    python -m experiments.benchmarks.prediction.memory PATH/TO/vhr10/images

Real photographs, shrunk to 96 px so that it takes minutes and not hours, repeated under other names, and a narrow
detector at 64 px with random weights, 30 boxes per image: what could grow is what is kept of each image. Each pool in a
process of its own. With --whole, Detector.predict holds all detections at once.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
import warnings
from pathlib import Path

from PIL import Image

from al_rotate.data import images
from al_rotate.detection import Detector
from al_rotate.detection.small_models import small_rtmdet

from ..isolated import alone


def detect(folder: Path, count: int, whole: bool) -> tuple[int, float]:
    """Detect in `count` images; the number of boxes, and the seconds."""
    warnings.filterwarnings("ignore")
    options = {**small_rtmdet(64), "model.test_cfg.score_thr": 0.0, "model.test_cfg.max_per_img": 30}
    options |= {"model.test_cfg.nms_pre": 20}
    with tempfile.TemporaryDirectory() as shrunk, tempfile.TemporaryDirectory() as out:
        sources = []
        for k, file in enumerate(list(images.find(folder).values())[:64]):
            sources.append(Path(shrunk) / f"{k}.jpg")
            Image.fromarray(images.read(file)).resize((96, 64)).save(sources[-1])
        files = {f"{k:06d}": file for k, file in enumerate(itertools.islice(itertools.cycle(sources), count))}
        detector = Detector("rotated_rtmdet_tiny-3x-dota", device="cpu", cfg_options=options)
        started = time.perf_counter()
        if whole:
            n_boxes = detector.predict(files, progress=False, out=out).n_boxes
        else:
            n_boxes = sum(shard.n_boxes for shard in detector.stream(files, progress=False, out=out))
        return n_boxes, time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, help="folder of images")
    parser.add_argument("--counts", type=int, nargs="+", default=[1_000, 100_000])
    parser.add_argument("--whole", action="store_true", help="predict instead of stream")
    args = parser.parse_args()
    for count in args.counts:
        (n_boxes, seconds), peak = alone(detect, args.images, count, args.whole)
        way = "predict" if args.whole else "stream "
        print(f"{way} {count:7d} images, {n_boxes} boxes: {peak:.0f} MB, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
