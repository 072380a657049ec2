"""What precision and engine change in the results: mAP on test images, scores, and the ranking of images.

    python -m experiments.benchmarks.prediction.parity work_dirs/rtmdet_tiny_320 PATH/TO/vhr10

Each variant is compared with float32 in PyTorch: the difference in mAP (points of AP50), the difference between the
scores of the same boxes (same class, rotated IoU above 0.9), the share of boxes with such a partner, and Spearman's
correlation of the images' rankings. On a GPU, which is taken where there is one, the variants are those of PyTorch.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr

import al_rotate as al
from al_rotate.evaluation import best_overlaps

from ...learners import dota_folder

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
    checkpoint: Path, files: dict[str, Path], labels: al.RotatedInstances, device: str, variant: dict[str, Any]
) -> Result:
    options = {name: variant[name] for name in ("nvjpeg",) if name in variant}
    run = {name: value for name, value in variant.items() if name not in options}
    detector = al.Detector(checkpoint / "config.py", checkpoint / "finetuned.pth", device, **run)
    detections = detector.predict(files, progress=False, **options)
    scores = {name: al.rank(detections, strategy=name).set_index("image_id")["score"] for name in STRATEGIES}
    return Result(detections, 100 * al.evaluate(detections, labels).mean_ap, scores)


def compare(result: Result, reference: Result) -> str:
    overlap, row = best_overlaps(result.detections, reference.detections)
    paired = overlap > PARTNER_IOU
    own, others = result.detections.scores, reference.detections.scores
    assert own is not None
    assert others is not None
    gaps = np.abs(own[paired] - others[row[paired]])
    rankings = (
        f"{name} {spearmanr(scores, reference.scores[name].loc[scores.index]).statistic:.4f}"
        for name, scores in result.scores.items()
    )
    return (
        f"mAP {result.mean_ap:.2f} ({result.mean_ap - reference.mean_ap:+.2f})   {result.detections.n_boxes} boxes, "
        f"{100 * paired.mean():.2f} % with a partner, scores {gaps.mean():.1e} apart, at most {gaps.max():.1e}; "
        f"Spearman {', '.join(rankings)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="folder of al_rotate.finetune: config.py and finetuned.pth")
    parser.add_argument("data", type=Path, help="folder in DOTA form with splits/")
    found = "cuda:0" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=found, help="such as cpu; by default %(default)s")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    data = dota_folder.read(args.data)
    files, labels = data.part(data.test)
    reference = None
    for name, variant in (VARIANTS if args.device == "cpu" else {**VARIANTS, **OF_GPUS}).items():
        if variant["engine"] == "onnxruntime" and args.device != "cpu":
            continue
        result = predict(args.checkpoint, files, labels, args.device, variant)
        reference = reference or result
        print(f"{name:20} {compare(result, reference)}", flush=True)


if __name__ == "__main__":
    main()
