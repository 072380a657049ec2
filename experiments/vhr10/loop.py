"""The active-learning loop on real aerial photographs: NWPU VHR-10, simulated annotator, 130 test images.

    python experiments/vhr10_loop.py --data PATH/TO/vhr10 --work work_dirs/vhr10

The data are in DOTA form: images/, labelTxt/, splits/train.txt, splits/test.txt. Killed, the same command goes on.
At the end the table of rounds, the curves and pictures of test images are in experiments/results/vhr10/, and the
whole report in the workspace.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import al_rotate as al
from al_rotate import report

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # the config names lite0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder in DOTA form with splits/")
    parser.add_argument("--work", type=Path, default=Path("work_dirs/vhr10"), help="the workspace")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--images", type=int, default=52, help="images a round (a tenth of the pool)")
    parser.add_argument("--strategy", default="entropy")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=HERE / "results" / "vhr10")
    args = parser.parse_args()

    labels = al.dota.read(args.data / "labelTxt")
    train, test = ((args.data / "splits" / f"{name}.txt").read_text().split() for name in ("train", "test"))
    files = al.images.find(args.data / "images")
    detector = al.Detector(HERE / "configs" / "rtmdet_lite0_320.py", classes=labels.classes)
    with al.ActiveLoop(
        args.work,
        images={image_id: files[image_id] for image_id in train},
        classes=labels.classes,
        detector=detector,
        strategy=args.strategy,
        budget=args.images,
        annotator=al.SimulatedAnnotator(labels.subset(train)),
        test=({image_id: files[image_id] for image_id in test}, labels.subset(test)),
        seed=args.seed,
    ) as loop:
        history = loop.run(args.rounds)
        args.results.mkdir(parents=True, exist_ok=True)
        history.to_csv(args.results / "rounds.csv", index=False, float_format="%.4f")
        for name, figure in (
            ("curves", report.curves_figure(history, loop.classes)),
            ("pictures", report.tested_figure(loop.workspace)),
        ):
            if figure:
                figure.savefig(args.results / f"{name}.jpg", dpi=110, pil_kwargs={"quality": 88})
        print(f"report: {loop.report()}")
    columns = ["round", "strategy", "n_labelled", "n_boxes", "mAP"]
    print(history[columns].to_string(index=False, float_format="{:.3f}".format))
    print(f"table, curves and pictures: {args.results}")


if __name__ == "__main__":
    main()
