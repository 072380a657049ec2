"""Run the active-learning loop on real aerial photographs: NWPU VHR-10, a simulated annotator, 130 test images.

    python -m experiments.vhr10.loop --data PATH/TO/vhr10 --work work_dirs/vhr10

The data are in DOTA form: images/, labelTxt/, splits/train.txt, splits/test.txt. After a kill the same command resumes.
At the end the table of rounds, the curves and pictures of test images are in experiments/results/vhr10/, and the
whole report is in the workspace.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import al_rotate as al
from al_rotate.report.figures import curves_figure, evaluation_figure

from ..learners import dota_folder
from ..paths import DETECTORS, RESULTS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder in DOTA form with splits/")
    parser.add_argument("--work", type=Path, default=Path("work_dirs/vhr10"), help="the workspace")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--images", type=int, default=52, help="images per round (a tenth of the pool)")
    parser.add_argument("--strategy", default="entropy")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS / "vhr10")
    args = parser.parse_args()

    data = dota_folder.read(args.data)
    files, labels = data.part(data.train)
    with al.ActiveLoop(
        args.work,
        images=files,
        classes=data.classes,
        detector=al.Detector(DETECTORS / "rtmdet_lite0_320.py", classes=data.classes),
        strategy=args.strategy,
        budget=args.images,
        annotator=al.SimulatedAnnotator(labels),
        test=data.part(data.test),
        seed=args.seed,
    ) as loop:
        history = loop.run(args.rounds)
        args.results.mkdir(parents=True, exist_ok=True)
        history.to_csv(args.results / "rounds.csv", index=False, float_format="%.4f")
        for name, figure in (
            ("curves", curves_figure(history, loop.classes)),
            ("pictures", evaluation_figure(loop.workspace)),
        ):
            if figure:
                figure.savefig(args.results / f"{name}.jpg", dpi=110, pil_kwargs={"quality": 88})
        print(f"report: {loop.report()}")
    columns = ["round", "strategy", "n_labelled", "n_boxes", "mAP"]
    print(history[columns].to_string(index=False, float_format="{:.3f}".format))
    print(f"table, curves and pictures: {args.results}")


if __name__ == "__main__":
    main()
