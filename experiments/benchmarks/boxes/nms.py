"""Rotated NMS and IoU on a CPU: ours against mmcv's, with results that are equal to the bit.

    python -m experiments.benchmarks.boxes.nms work_dirs/rtmdet_tiny_320 PATH/TO/dota

Boxes that lie as in a real scene (a harbour of 531 ships, each detected four times), what a trained detector suppresses
in it at 1024 px, and the 6,000 candidates of an untrained one, with the forward pass of the same image. Median of
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
from mmcv.transforms import Compose

from al_rotate.data import images
from al_rotate.data.formats import dota
from al_rotate.detection import Detector, configs
from al_rotate.detection.openmmlab import rotated_ops

TURNS = 3
Arguments = tuple[torch.Tensor, torch.Tensor, float]  # of NMS: boxes, scores, threshold


def median_seconds(function: Callable[[], Any]) -> float:
    times = []
    for _ in range(TURNS):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def compare_nms(name: str, arguments: Arguments) -> None:
    theirs, ours = rotated_ops.mmcv_nms(*arguments)[1], rotated_ops.nms_rotated(*arguments)[1]
    assert torch.equal(theirs, ours)
    a = median_seconds(lambda: rotated_ops.mmcv_nms(*arguments))
    b = median_seconds(lambda: rotated_ops.nms_rotated(*arguments))
    kept = f"{len(arguments[0])} boxes, {len(ours)} kept"
    print(f"NMS, {name}: {kept}: mmcv {1e3 * a:.1f} ms, ours {1e3 * b:.1f} ms, {a / b:.0f}x")


def compare_iou(name: str, boxes: torch.Tensor) -> None:
    assert torch.equal(rotated_ops.mmcv_iou(boxes, boxes), rotated_ops.box_iou_rotated(boxes, boxes))
    a = median_seconds(lambda: rotated_ops.mmcv_iou(boxes, boxes))
    b = median_seconds(lambda: rotated_ops.box_iou_rotated(boxes, boxes))
    print(f"IoU, {len(boxes)} x {len(boxes)} boxes {name}: mmcv {a:.2f} s, ours {b:.3f} s, {a / b:.0f}x")


def nms_arguments(detector: Detector, image: Path) -> tuple[Arguments, float]:
    """The arguments that NMS receives for an image, and the seconds of the forward pass."""
    calls: list[Arguments] = []
    module: Any = import_module("mmcv.ops.nms")
    original = module.nms_rotated

    def record(dets: torch.Tensor, scores: torch.Tensor, iou_threshold: float, **options: Any) -> Any:
        calls.append((dets.clone(), scores.clone(), iou_threshold))
        return original(dets, scores, iou_threshold, **options)

    module.nms_rotated = record
    detector.predict(image, progress=False)
    module.nms_rotated = original
    model: Any = detector.model
    pipeline = Compose(configs.array_pipeline(detector.config))
    prepared = pipeline({"img": images.read(image, "BGR"), "img_id": image.stem})
    data = model.data_preprocessor({key: [prepared[key]] for key in ("inputs", "data_samples")})
    with torch.no_grad():
        seconds = median_seconds(lambda: model.bbox_head(model.extract_feat(data["inputs"])))
    return calls[0], seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="folder of al_rotate.finetune")
    parser.add_argument("dota", type=Path, help="folder with images/ID.png and labelTxt/ID.txt")
    parser.add_argument("--image", default="P0706", help="id of the scene")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")

    rng = np.random.default_rng(0)
    ships = dota.read(args.dota / "labelTxt" / f"{args.image}.txt").boxes
    n = min(2000, 4 * len(ships))
    rows = np.repeat(ships, 4, axis=0)[:2000] + rng.normal(0, [1.5, 1.5, 1, 0.5, 0.03], (n, 5))
    boxes = torch.from_numpy(np.abs(rows) * [1, 1, 1, 1, 0] + rows * [0, 0, 0, 0, 1]).float()
    scores = torch.from_numpy(rng.random(len(boxes))).float()
    spread = boxes.clone()
    spread[:, :2] *= 4  # over a scene of 4,400 pixels, as real scenes are
    for threshold in (0.1, 0.5):
        compare_nms(f"a harbour's ships, each four times, threshold {threshold}", (boxes, scores, threshold))
    compare_nms("the same over four times the length", (spread, scores, 0.1))
    compare_iou("in the harbour", boxes)
    compare_iou("over four times the length", spread)

    size = {f"test_dataloader.dataset.pipeline.{k}": (1024, 1024) for k in ("1.scale", "2.size")}
    config = configs.load(args.checkpoint / "config.py")
    config.merge_from_dict(size, allow_list_keys=True)
    image = args.dota / "images" / f"{args.image}.png"
    torch.manual_seed(0)
    for name, weights in (("trained", args.checkpoint / "finetuned.pth"), ("untrained", None)):
        options = {} if weights else {"model.test_cfg.score_thr": 0.0}
        arguments, seconds = nms_arguments(Detector(config, weights, "cpu", options, precision="fp32"), image)
        compare_nms(f"candidates of the {name} detector", arguments)
        print(f"  the forward pass of that image: {1e3 * seconds:.0f} ms")


if __name__ == "__main__":
    main()
