"""What is done batch by batch, against the same image by image: decoding, normalising, post-processing.

    python -m experiments.benchmarks.prediction.batches work_dirs/rtmdet_tiny_320 PATH/TO/vhr10/images --size 640
    python -m experiments.benchmarks.prediction.batches ... --device cuda:0

Decoding is measured with 1, 2, 4, ... threads: where it scales, the interpreter's lock does not hold it. Normalising is
compared with MMDetection's data preprocessor, post-processing with MMRotate's heads with mmcv's NMS and, on a CPU, with
ours. Each comparison is made in turns, and says whether the results are equal.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import torch

from al_rotate.data import images
from al_rotate.detection import Detector
from al_rotate.detection.inference.preparing import Preparation
from al_rotate.detection.inference.processes import cores
from al_rotate.detection.networks import batched_heads, normalising
from al_rotate.detection.openmmlab import rotated_ops

from .ways import Ways, collate


def in_turns(runs: dict[str, Callable[[], Any]], turns: int, per: int, device: str) -> None:
    """Print the milliseconds per image of each, by the median turn, and how often as fast as the first it is."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(turns + 1):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            if device != "cpu":
                torch.cuda.synchronize()
            if turn:  # the first is to get warm
                seconds[name].append(time.perf_counter() - started)
    first = statistics.median(next(iter(seconds.values())))
    for name, times in seconds.items():
        median, low, high = (1e3 * f(times) / per for f in (statistics.median, min, max))
        print(f"  {name:44} {median:8.3f} ms ({low:.3f}-{high:.3f})  {first * 1e3 / per / median:6.2f} x", flush=True)


def decoding(preparation: Preparation, files: list[Path], turns: int) -> None:
    """Print the milliseconds per image with more and more threads."""

    def by(threads: int) -> Callable[[], None]:
        def run() -> None:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(preparation, [(str(file), file) for file in files]))

        return run

    counts = [2**k for k in range(8) if 2**k <= cores()]
    in_turns({f"{n} threads": by(n) for n in counts}, turns, len(files), "cpu")


def head_outputs(model: Any, batch: dict[str, Any]) -> dict[str, Any]:
    """What a detector's head is given to post-process."""
    noted: dict[str, Any] = {}

    def note(*args: Any, **kwargs: Any) -> Any:
        noted.update(args=args, kwargs=kwargs)
        return own(*args, **kwargs)

    own, model.bbox_head.predict_by_feat = model.bbox_head.predict_by_feat, note
    model.test_step(batch)
    del model.bbox_head.predict_by_feat
    return noted


def equal(ours: list[Any], theirs: list[Any]) -> str:
    """How many boxes there are, and of how many images the labels and the boxes to a thousandth of a pixel are."""
    same = sum(
        torch.equal(a.labels.cpu(), b.labels.cpu())
        and torch.allclose(a.bboxes.tensor.cpu(), b.bboxes.tensor.cpu(), rtol=0, atol=1e-3)
        for a, b in zip(ours, theirs, strict=True)
    )
    return f"{sum(map(len, theirs)) / len(theirs):.0f} boxes an image, {same} of {len(theirs)} images equal"


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="folder of al_rotate.finetune: config.py and finetuned.pth")
    parser.add_argument("images", type=Path, help="folder of images")
    parser.add_argument("--size", type=int, help="side that images are resized to; by default the config's")
    parser.add_argument("--count", type=int, default=32, help="how many images, one batch")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--score-thr", type=float, help="of the candidates; by default the config's")
    parser.add_argument("--device", default="cpu", help="such as cuda:0")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    cv2.setNumThreads(1)
    available = list(images.find(args.images).values())
    files = available[:: max(1, len(available) // args.count)][: args.count]
    ways = Ways(args.checkpoint, {str(file): file for file in files}, args.size, args.device)
    detector = Detector(ways.config, ways.checkpoint, args.device, precision="fp32", engine="torch")
    model: Any = detector.model
    preparation = Preparation(detector.config)

    print(f"{len(files)} images; decoding and test pipeline, ms an image")
    decoding(preparation, files, args.turns)

    prepared: list[Any] = [preparation((str(file), file)) for file in files]
    batch = collate(prepared)

    def normalise() -> torch.Tensor:
        return model.data_preprocessor({**batch})["inputs"]

    def normalise_together() -> torch.Tensor:
        with normalising.in_batches(model):
            return normalise()

    def normalise_many() -> None:
        with normalising.in_batches(model):
            for _ in range(4):
                normalise()

    print(f"normalising on {args.device}, equal: {torch.equal(normalise(), normalise_together())}")
    runs = {"MMDetection": lambda: [normalise() for _ in range(4)], "in batches": normalise_many}
    in_turns(runs, args.turns, 4 * len(files), args.device)

    if args.score_thr is not None:
        model.bbox_head.test_cfg.score_thr = args.score_thr
    given = head_outputs(model, {**batch})

    def own() -> list[Any]:
        return model.bbox_head.predict_by_feat(*given["args"], **given["kwargs"])

    def own_of_mmcv() -> list[Any]:
        with rotated_ops.uninstalled():
            return own()

    def together() -> list[Any]:
        with batched_heads.in_batches(model):
            return own()

    print(f"post-processing on {args.device}: {equal(together(), own_of_mmcv())}")
    runs = {"MMRotate": own_of_mmcv, "MMRotate's head with our NMS (on a CPU)": own, "in batches": together}
    in_turns(runs, args.turns, len(files), args.device)


if __name__ == "__main__":
    main()
