"""Train one checkpoint on NWPU VHR-10's training images: what the benchmarks of experiments/benchmarks/ detect with.

    python experiments/vhr10_checkpoint.py --data PATH/TO/vhr10 --config experiments/configs/rtmdet_tiny_320.py

The data are in DOTA form: images/, labelTxt/, splits/train.txt, splits/test.txt. Killed, the same command goes on.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import al_rotate as al

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # one config names lite0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder in DOTA form with splits/")
    parser.add_argument("--config", type=Path, default=HERE / "configs" / "rtmdet_tiny_320.py")
    parser.add_argument("--out", type=Path, help="by default work_dirs/CONFIG")
    parser.add_argument("--iterations", type=int, help="by default the config's")
    args = parser.parse_args()

    labels = al.dota.read(args.data / "labelTxt")
    train, test = ((args.data / "splits" / f"{name}.txt").read_text().split() for name in ("train", "test"))
    files = al.images.find(args.data / "images")
    options = {} if args.iterations is None else {"train_cfg.max_iters": args.iterations}
    out = args.out or Path("work_dirs") / args.config.stem
    result = al.finetune(args.config, files, labels.subset(train), labels.classes, out, cfg_options=options)
    found = al.Detector(result.config, result.checkpoint).predict({image_id: files[image_id] for image_id in test})
    figures = al.evaluate(found, labels.subset(test))
    print(f"{result.checkpoint}: mAP {figures.mean_ap:.3f} on {len(test)} test images")
    print(figures.per_class.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
