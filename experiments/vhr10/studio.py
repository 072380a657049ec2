r"""Corrections go round a real Label Studio server: 100 photographs of NWPU VHR-10, corrected by somebody scripted.

    python experiments/vhr10_studio.py --data PATH/TO/vhr10 --loop work_dirs/vhr10 \
                                       --checkpoint work_dirs/vhr10/rounds/001/training/finetuned.pth

The detector is the one of experiments/vhr10_loop.py; of the pool's images that its loop has not labelled (--loop), the
100 most uncertain are pushed with their predicted boxes, corrected through the API as the page does it from the real
labels, pulled, and exported. Every label is compared with what was submitted, and the table of corrections with what
was done. Results are in experiments/results/vhr10_studio/.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from pathlib import Path

import numpy as np
from people import Corrector

import al_rotate as al
from al_rotate.bridge import annotator, local_server
from al_rotate.bridge.export import export_workspace
from al_rotate.data.formats import coco, dota, yolo_obb
from al_rotate.evaluation import corrections

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # the config names lite0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder in DOTA form with splits/")
    parser.add_argument("--checkpoint", type=Path, required=True, help="of experiments/vhr10_loop.py")
    parser.add_argument("--loop", type=Path, help="its workspace: images labelled there are left out")
    parser.add_argument("--work", type=Path, default=Path("work_dirs/vhr10_studio"), help="the workspace")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--shown", type=float, default=0.3, help="least score of a box that is pushed")
    parser.add_argument("--venv", type=Path, help="where Label Studio is or shall be installed")
    parser.add_argument("--results", type=Path, default=HERE / "results" / "vhr10_studio")
    args = parser.parse_args()

    truth = al.dota.read(args.data / "labelTxt")
    files = al.images.find(args.data / "images")
    pool = set((args.data / "splits" / "train.txt").read_text().split())
    if args.loop:
        with al.Workspace.open(args.loop, read_only=True) as before:
            pool -= {*before.ids("labelled")}
    detector = al.Detector(HERE / "configs" / "rtmdet_lite0_320.py", args.checkpoint, classes=truth.classes)
    al.ActiveLoop(
        args.work, {i: files[i] for i in sorted(pool)}, truth.classes, detector, "entropy", budget=args.images
    ).close()

    seconds: dict[str, float] = {}
    root = args.data.resolve().parent
    with local_server.LocalServer(args.work / "label_studio", root, local_server.install(args.venv)) as server:
        where = {"document_root": str(root), "token_file": str(server.token_file.absolute()), "shown": args.shown}
        made = annotator.connect(args.work, server.url, server.token, truth.classes, "VHR-10", **where)
        with al.ActiveLoop(args.work) as loop:
            start = time.perf_counter()
            loop.query()
            seconds["predict and push"] = _since(start)
            start = time.perf_counter()
            people = Corrector(server.url, server.token, truth)
            tasks = people.http.get("tasks", params={"project": made.project, "page_size": 1000, "fields": "all"})
            for task in tasks.json()["tasks"]:
                people.answer(task, al.images.size(files[task["data"]["al_image_id"]]))
            seconds["correct"] = _since(start)
            start = time.perf_counter()
            status = loop.collect()["status"].value_counts().to_dict()
            seconds["collect"] = _since(start)
            labels = loop.workspace.labels()
            report = loop.report()
    assert status == {"labelled": args.images}, status

    wanted = al.RotatedInstances.concat([people.submitted[i] for i in labels.image_ids])
    off = _apart(labels, wanted)
    assert off < 1e-3, off
    assert np.array_equal(labels.labels, wanted.labels)
    table = corrections.read_table(args.work / "rounds" / "000" / "corrections.csv")
    counted = corrections.counts(table).drop(columns="image_id").sum().rename(lambda name: name.removeprefix("n_"))
    assert counted.to_dict() == {name: people.made[name] for name in counted.index}, (counted, people.made)

    # Each format is read again, and has the same boxes.
    readers = {"dota": lambda folder: dota.read(folder / "labelTxt", truth.classes)}
    readers |= {"coco": lambda folder: coco.read(folder / "annotations.json"), "yolo-obb": yolo_obb.read}
    exported = {}
    with al.Workspace.open(args.work, read_only=True) as workspace:
        for form, read in readers.items():
            done = export_workspace(workspace, form, args.work / "export" / form)
            again = read(done.folder)
            assert again.n_boxes == done.labels.n_boxes
            exported[form] = (done.labels.n_boxes, _apart(again, done.labels), len(done.account))
    args.results.mkdir(parents=True, exist_ok=True)
    table.to_csv(args.results / "corrections.csv", index=False, float_format="%.4f")
    summary = corrections.summary(table)
    summary.to_csv(args.results / "by_class.csv", float_format="%.4f")
    print(summary.to_string(float_format="{:.2f}".format))
    print(f"{len(labels)} images, {labels.n_boxes} boxes; done {dict(people.made)}; table {counted.to_dict()}")
    print(f"labels differ from what was submitted by at most {off:.1e} px")
    print("written and read again (boxes, largest difference of a corner in px, notes):", exported)
    print("seconds:", {name: round(value, 1) for name, value in seconds.items()}, platform.python_version())
    print(f"report: {report}")


def _since(start: float) -> float:
    return time.perf_counter() - start


def _apart(a: al.RotatedInstances, b: al.RotatedInstances) -> float:
    """The largest distance between corners of the same boxes, whichever is the first."""
    a, b = (one.subset(sorted(one.image_ids)) for one in (a, b))
    one, other = al.boxes.to_corners(a.boxes), al.boxes.to_corners(b.boxes)
    apart = [np.linalg.norm(one - np.roll(other, turn, axis=1), axis=2).max(axis=1) for turn in range(4)]
    return float(np.min(apart, axis=0).max())


if __name__ == "__main__":
    main()
