"""Rotated NMS and IoU on a CPU, ours against mmcv's, bit for bit the same answers.

    python experiments/benchmarks/rotated_nms.py work_dirs/rtmdet_tiny_320 PATH/TO/dota

Boxes that lie as in a real scene (a harbour of 531 ships, each found four times), what a trained detector suppresses
in it at 1024 px, and the 6,000 candidates of an untrained one, beside the forward pass of the same image. Median of
several turns, interleaved.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from al_rotate.data.formats import dota
from al_rotate.detection import configs
from al_rotate.detection.detector import Detector
from al_rotate.detection.openmmlab import rotated_ops

TURNS = 3
Given = tuple[torch.Tensor, torch.Tensor, float]
warnings.filterwarnings("ignore")


def median(function: Callable[[], Any]) -> float:
    times = []
    for _ in range(TURNS):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def compare(name: str, given: Given) -> None:
    theirs, ours = rotated_ops.mmcv_nms(*given)[1], rotated_ops.nms_rotated(*given)[1]
    assert torch.equal(theirs, ours)
    a, b = median(lambda: rotated_ops.mmcv_nms(*given)), median(lambda: rotated_ops.nms_rotated(*given))
    kept = f"{len(given[0])} boxes, {len(ours)} kept"
    print(f"NMS, {name}: {kept}: mmcv {1e3 * a:.1f} ms, ours {1e3 * b:.1f} ms, {a / b:.0f}x")


def suppressed(detector: Detector, image: Path) -> tuple[Given, float]:
    """What NMS is given for an image, and the seconds of the forward pass."""
    seen: list[Given] = []
    module: Any = import_module("mmcv.ops.nms")
    own = module.nms_rotated

    def note(dets: torch.Tensor, scores: torch.Tensor, iou_threshold: float, **options: Any) -> Any:
        seen.append((dets.clone(), scores.clone(), iou_threshold))
        return own(dets, scores, iou_threshold, **options)

    module.nms_rotated = note
    detector.predict(image, progress=False)
    module.nms_rotated = own
    made = detector._prepare((image.stem, image))
    data = detector.model.data_preprocessor({k: [made[k]] for k in ("inputs", "data_samples")})  # type: ignore
    with torch.no_grad():
        seconds = median(lambda: detector.model.bbox_head(detector.model.extract_feat(data["inputs"])))  # type: ignore
    return seen[0], seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="folder of al_rotate.finetune")
    parser.add_argument("dota", type=Path, help="folder with images/P0706.png and labelTxt/P0706.txt")
    args = parser.parse_args()

    rng = np.random.default_rng(0)
    ships = dota.read(args.dota / "labelTxt" / "P0706.txt").boxes
    found = np.repeat(ships, 4, axis=0)[:2000] + rng.normal(0, [1.5, 1.5, 1, 0.5, 0.03], (min(2000, 4 * len(ships)), 5))
    boxes = torch.from_numpy(np.abs(found) * [1, 1, 1, 1, 0] + found * [0, 0, 0, 0, 1]).float()
    scores = torch.from_numpy(rng.random(len(boxes))).float()
    for threshold in (0.1, 0.5):
        compare(f"a harbour's ships, each four times, threshold {threshold}", (boxes, scores, threshold))
    spread = boxes.clone()
    spread[:, :2] *= 4  # over a scene of 4,400 pixels: a real scene's spread
    compare("the same over four times the length", (spread, scores, 0.1))

    for name, some in (("in the harbour", boxes), ("over four times the length", spread)):
        assert torch.equal(rotated_ops.mmcv_iou(some, some), rotated_ops.box_iou_rotated(some, some))
        a = median(lambda some=some: rotated_ops.mmcv_iou(some, some))
        b = median(lambda some=some: rotated_ops.box_iou_rotated(some, some))
        print(f"IoU, {len(some)} x {len(some)} boxes {name}: mmcv {a:.2f} s, ours {b:.3f} s, {a / b:.0f}x")

    size = {f"test_dataloader.dataset.pipeline.{k}": (1024, 1024) for k in ("1.scale", "2.size")}
    config = configs.load(args.checkpoint / "config.py")
    config.merge_from_dict(size, allow_list_keys=True)
    image = args.dota / "images" / "P0706.png"
    torch.manual_seed(0)
    for name, weights in (("trained", args.checkpoint / "finetuned.pth"), ("untrained", None)):
        options = {} if weights else {"model.test_cfg.score_thr": 0.0}
        given, seconds = suppressed(Detector(config, weights, "cpu", options, precision="fp32"), image)
        compare(f"candidates of the {name} detector", given)
        print(f"  the forward pass of that image: {1e3 * seconds:.0f} ms")


if __name__ == "__main__":
    main()
