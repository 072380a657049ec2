"""Train a checkpoint on NWPU VHR-10's training images, for the benchmarks of prediction.

    python -m experiments.vhr10.checkpoint --data PATH/TO/vhr10

The data are in DOTA form: images/, labelTxt/, splits/train.txt, splits/test.txt. After a kill the same command resumes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import al_rotate as al

from ..learners import dota_folder
from ..paths import DETECTORS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder in DOTA form with splits/")
    parser.add_argument("--config", type=Path, default=DETECTORS / "rtmdet_tiny_320.py")
    parser.add_argument("--out", type=Path, help="by default work_dirs/CONFIG")
    parser.add_argument("--iterations", type=int, help="by default the config's")
    args = parser.parse_args()

    data = dota_folder.read(args.data)
    test_files, test_labels = data.part(data.test)
    options = {} if args.iterations is None else {"train_cfg.max_iters": args.iterations}
    out = args.out or Path("work_dirs") / args.config.stem
    labels = data.labels.subset(data.train)
    result = al.finetune(args.config, data.files, labels, data.classes, out, cfg_options=options)
    detections = al.Detector(result.config, result.checkpoint).predict(test_files)
    evaluation = al.evaluate(detections, test_labels)
    print(f"{result.checkpoint}: mAP {evaluation.mean_ap:.3f} on {len(test_files)} test images")
    print(evaluation.per_class.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
