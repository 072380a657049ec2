"""What precision and engine change in the result: mAP on test images, scores, and the ranking of images.

    python experiments/benchmarks/parity.py work_dirs/rtmdet_tiny_320 PATH/TO/vhr10

Each variant is held against float32 in PyTorch: the difference in mAP (points of AP50), how far the scores of the same
boxes (same class, rotated IoU above 0.9) lie apart, which share of boxes has such a partner, and Spearman's
correlation of the images' rankings by entropy.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

import al_rotate as al

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a config may name lite0
warnings.filterwarnings("ignore")

VARIANTS: dict[str, dict[str, Any]] = {
    "fp32, PyTorch": {"precision": "fp32", "engine": "torch"},
    "fp32, ONNX Runtime": {"precision": "fp32", "engine": "onnxruntime"},
    "bf16, PyTorch": {"precision": "bf16", "engine": "torch"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="folder of al_rotate.finetune: config.py and finetuned.pth")
    parser.add_argument("data", type=Path, help="folder in DOTA form with splits/")
    args = parser.parse_args()

    labels = al.dota.read(args.data / "labelTxt")
    test = (args.data / "splits" / "test.txt").read_text().split()
    files = al.images.find(args.data / "images")
    chosen, truth = {image_id: files[image_id] for image_id in test}, labels.subset(test)
    reference = None
    for name, how in VARIANTS.items():
        detector = al.Detector(args.checkpoint / "config.py", args.checkpoint / "finetuned.pth", "cpu", **how)
        found = detector.predict(chosen, progress=False)
        figure = 100 * al.evaluate(found, truth).mean_ap
        scores = {s: al.rank(found, strategy=s).set_index("image_id")["score"] for s in ("entropy", "least-confidence")}
        reference = reference or (found, figure, scores)
        overlap, row = al.evaluation.best_overlaps(found, reference[0])
        same = overlap > 0.9
        apart = np.abs(found.scores[same] - reference[0].scores[row[same]])
        agreement = [spearmanr(scores[s], reference[2][s].loc[scores[s].index]).statistic for s in scores]
        print(
            f"{name:20} mAP {figure:.2f} ({figure - reference[1]:+.2f})   {found.n_boxes} boxes, "
            f"{100 * same.mean():.2f} % with a partner, scores {apart.mean():.1e} apart, at most {apart.max():.1e}; "
            f"Spearman {', '.join(f'{s} {a:.4f}' for s, a in zip(scores, agreement, strict=True))}",
            flush=True,
        )


if __name__ == "__main__":
    main()
