"""What precision and engine change in the results: mAP on test images, scores, and the ranking of images.

    python -m experiments.benchmarks.prediction.parity work_dirs/rtmdet_tiny_320 PATH/TO/vhr10
    python -m experiments.benchmarks.prediction.parity work_dirs/rtmdet_tiny_320 PATH/TO/vhr10 --size 640  # on a GPU

Each variant is compared with float32 in PyTorch: the difference in mAP (points of AP50), the difference between the
scores of the same boxes (same class, rotated IoU above 0.9), the share of boxes with such a partner, and Spearman's
correlation of the images' rankings. On a GPU, which is taken where there is one, the variants are those of PyTorch, and
one decodes by nvJPEG. That says something only where most images are decoded so, which is checked: those of more than
four times the pixels that they are resized to are not.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from mmengine.config import Config
from scipy.stats import spearmanr

import al_rotate as al
from al_rotate.detection.inference.options import PredictOptions
from al_rotate.detection.inference.preparing import Preparation
from al_rotate.evaluation import best_overlaps

from ...learners import dota_folder
from .ways import config_of

VARIANTS: dict[str, dict[str, Any]] = {
    "fp32, PyTorch": {"precision": "fp32", "engine": "torch"},  # the reference
    "fp32, ONNX Runtime": {"precision": "fp32", "engine": "onnxruntime"},
    "bf16, PyTorch": {"precision": "bf16", "engine": "torch"},
}
OF_GPUS: dict[str, dict[str, Any]] = {"bf16, nvJPEG": {"precision": "bf16", "engine": "torch", "nvjpeg": True}}
STRATEGIES = ("entropy", "least-confidence")
PARTNER_IOU = 0.9


class Result(NamedTuple):
    detections: al.RotatedInstances
    mean_ap: float  # in points
    scores: dict[str, pd.Series]  # of images, by strategy


def predict(
    config: Config,
    weights: Path,
    files: dict[str, Path],
    labels: al.RotatedInstances,
    device: str,
    precision: Any,
    engine: Any,
    nvjpeg: bool = False,
) -> Result:
    detector = al.Detector(config, weights, device, precision=precision, engine=engine)
    if nvjpeg:
        check_decoded(Preparation(config).on(detector.device, PredictOptions(nvjpeg=True)), files)
    detections = detector.predict(files, progress=False, nvjpeg=nvjpeg)
    scores = {name: al.rank(detections, strategy=name).set_index("image_id")["score"] for name in STRATEGIES}
    return Result(detections, 100 * al.evaluate(detections, labels).mean_ap, scores)


def check_decoded(prepare: Preparation, files: dict[str, Path]) -> None:
    """Decode images as a prediction does.

    Raises:
        ValueError: unless most of their pixels are on a GPU then.
    """
    pairs = [*files.items()]
    images = prepare.finished(map(prepare, pairs), pairs)
    n_there = sum(isinstance(image, dict) and image["inputs"].pixels.is_cuda for image in images)
    if 2 * n_there <= len(pairs):
        raise ValueError(
            f"expected most images to be decoded on the GPU, got {n_there} of {len(pairs)}; enlarge --size"
        )


def compare(result: Result, reference: Result) -> dict[str, float]:
    overlap, row = best_overlaps(result.detections, reference.detections)
    paired = overlap > PARTNER_IOU
    own, others = result.detections.scores, reference.detections.scores
    assert own is not None
    assert others is not None
    gaps = np.abs(own[paired] - others[row[paired]])
    rankings = {
        name: float(spearmanr(scores, reference.scores[name].loc[scores.index]).statistic)
        for name, scores in result.scores.items()
    }
    return {
        "mean_ap": result.mean_ap,
        "gain": result.mean_ap - reference.mean_ap,
        "boxes": result.detections.n_boxes,
        "paired": float(paired.mean()),
        "apart": float(gaps.mean()),
        "most_apart": float(gaps.max()),
        **rankings,
    }


def as_text(found: dict[str, float]) -> str:
    rankings = ", ".join(f"{name} {found[name]:.4f}" for name in STRATEGIES)
    return (
        f"mAP {found['mean_ap']:.2f} ({found['gain']:+.2f})   {found['boxes']} boxes, "
        f"{100 * found['paired']:.2f} % with a partner, scores {found['apart']:.1e} apart, at most "
        f"{found['most_apart']:.1e}; Spearman {rankings}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="folder of al_rotate.finetune: config.py and finetuned.pth")
    parser.add_argument("data", type=Path, help="folder in DOTA form with splits/")
    found = "cuda:0" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=found, help="such as cpu; by default %(default)s")
    parser.add_argument("--size", type=int, help="side that images are resized to; by default the config's")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    data = dota_folder.read(args.data)
    files, labels = data.part(data.test)
    config, weights = config_of(args.checkpoint, args.size), args.checkpoint / "finetuned.pth"
    reference = None
    rows: dict[str, dict[str, Any]] = {}
    for name, variant in (VARIANTS if args.device == "cpu" else {**VARIANTS, **OF_GPUS}).items():
        if variant["engine"] == "onnxruntime" and args.device != "cpu":
            continue
        try:
            result = predict(config, weights, files, labels, args.device, **variant)
        except (ValueError, RuntimeError) as error:
            if name not in OF_GPUS:
                raise
            rows[name] = {"error": str(error)}  # such as without nvJPEG
            print(f"{name:20} {error}", flush=True)
            continue
        reference = reference or result
        rows[name] = compare(result, reference)
        print(f"{name:20} {as_text(rows[name])}", flush=True)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
