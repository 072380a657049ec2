"""Train a detector without pretrained weights on the labels that experiments.vhr10.loop collected.

python -m experiments.vhr10.scratch --work work_dirs/vhr10
"""

from __future__ import annotations

import argparse
from pathlib import Path

import al_rotate as al
from al_rotate.data import dataset
from al_rotate.detection.small_models import small_rtmdet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("work_dirs/vhr10"), help="the loop's workspace")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/vhr10_scratch"))
    parser.add_argument("--iterations", type=int, default=700)
    args = parser.parse_args()

    with al.Workspace.open(args.work, read_only=True) as workspace:
        labels, classes = workspace.labels(), workspace.classes
        files = workspace.paths(labels.image_ids)
    options = {**small_rtmdet(320, args.iterations), "model.backbone.init_cfg": None}
    result = al.finetune("rotated_rtmdet_tiny-3x-dota", files, labels, classes, args.out, cfg_options=options)
    test_labels, test_files = dataset.read(args.work / "test.parquet")
    detections = al.Detector(result.config, result.checkpoint).predict(test_files)
    evaluation = al.evaluate(detections, test_labels)
    print(f"{len(labels)} images, {args.iterations} iterations: mAP {evaluation.mean_ap:.3f}")
    print(evaluation.per_class.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
