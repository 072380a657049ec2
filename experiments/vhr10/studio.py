r"""Send corrections through a real Label Studio server: 100 photographs of NWPU VHR-10, a scripted annotator.

    python -m experiments.vhr10.studio --data PATH/TO/vhr10 --loop work_dirs/vhr10 \
                                       --checkpoint work_dirs/vhr10/rounds/003/training/finetuned.pth

The detector is that of experiments.vhr10.loop. Of the pool's images that its loop has not labelled (--loop), the 100
most uncertain are pushed with their predicted boxes, corrected through the API with the real labels, pulled, and
exported. Every label is compared with what was submitted, and the table of corrections with what was done. Results are
in experiments/results/vhr10_studio/.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

import al_rotate as al
from al_rotate.bridge import LocalServer, connect, local_server
from al_rotate.bridge.export import export_workspace
from al_rotate.data import images
from al_rotate.data.formats import coco, dota, yolo_obb
from al_rotate.evaluation import corrections

from ..annotators.corrector import Corrector
from ..learners import dota_folder
from ..learners.dota_folder import DotaFolder
from ..paths import DETECTORS, RESULTS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder in DOTA form with splits/")
    parser.add_argument("--checkpoint", type=Path, required=True, help="of experiments.vhr10.loop")
    parser.add_argument("--loop", type=Path, help="its workspace: images labelled there are left out")
    parser.add_argument("--work", type=Path, default=Path("work_dirs/vhr10_studio"), help="the workspace")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--shown", type=float, default=0.3, help="least score of a box that is pushed")
    parser.add_argument("--venv", type=Path, help="where Label Studio is or shall be installed")
    parser.add_argument("--results", type=Path, default=RESULTS / "vhr10_studio")
    args = parser.parse_args()

    data = dota_folder.read(args.data)
    pool = {*data.train}
    if args.loop:
        with al.Workspace.open(args.loop, read_only=True) as earlier:
            pool -= {*earlier.ids("labelled")}
    detector = al.Detector(DETECTORS / "rtmdet_lite0_320.py", args.checkpoint, classes=data.classes)
    files, _ = data.part(sorted(pool))
    al.ActiveLoop(args.work, files, data.classes, detector, "entropy", budget=args.images).close()

    root = args.data.resolve().parent
    with LocalServer(args.work / "label_studio", root, local_server.install(args.venv)) as server:
        labels, annotator, seconds, report = _round(args.work, server, data, root, args.shown)
    submitted = al.RotatedInstances.concat([annotator.submitted[i] for i in labels.image_ids])
    difference = largest_difference(labels, submitted)
    assert difference < 1e-3, difference
    assert np.array_equal(labels.labels, submitted.labels)
    assert len(labels) == args.images
    table = corrections.read_table(args.work / "rounds" / "000" / "corrections.csv")
    counts = _check_counts(table, annotator)
    exported = _export_and_read(args.work, data.classes)

    args.results.mkdir(parents=True, exist_ok=True)
    table.to_csv(args.results / "corrections.csv", index=False, float_format="%.4f")
    summary = corrections.summary(table)
    summary.to_csv(args.results / "by_class.csv", float_format="%.4f")
    print(summary.to_string(float_format="{:.2f}".format))
    print(f"{len(labels)} images, {labels.n_boxes} boxes; done {dict(annotator.counts)}; table {counts}")
    print(f"labels differ from what was submitted by at most {difference:.1e} px")
    print("written and read again (boxes, largest difference of a corner in px, notes):", exported)
    print("seconds:", {name: round(value, 1) for name, value in seconds.items()}, platform.python_version())
    print(f"report: {report}")


def _round(
    work: Path, server: LocalServer, data: DotaFolder, root: Path, shown: float
) -> tuple[al.RotatedInstances, Corrector, dict[str, float], Path]:
    """Push a query, correct it and collect: the labels, the annotator, the seconds of each step, the report."""
    seconds: dict[str, float] = {}
    options = {"document_root": str(root), "token_file": str(server.token_file.absolute()), "shown": shown}
    connection = connect(work, server.url, server.token, data.classes, "VHR-10", **options)
    annotator = Corrector(server.url, server.token, data.labels)
    with al.ActiveLoop(work) as loop:
        with _timed(seconds, "predict and push"):
            loop.query()
        with _timed(seconds, "correct"):
            parameters = {"project": connection.project, "page_size": 1000, "fields": "all"}
            for task in annotator.http.get("tasks", params=parameters).json()["tasks"]:
                annotator.answer(task, images.size(data.files[task["data"]["al_image_id"]]))
        with _timed(seconds, "collect"):
            status = loop.collect()["status"].value_counts().to_dict()
        assert {*status} == {"labelled"}, status
        return loop.workspace.labels(), annotator, seconds, loop.report()


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - started


def _check_counts(table: pd.DataFrame, annotator: Corrector) -> dict[str, int]:
    """The corrections by kind, which must be those that the annotator made."""
    totals = corrections.counts(table).drop(columns="image_id").sum().rename(lambda name: name.removeprefix("n_"))
    counts = totals.to_dict()
    assert counts == {name: annotator.counts[name] for name in counts}, (counts, annotator.counts)
    return counts


def _export_and_read(work: Path, classes: tuple[str, ...]) -> dict[str, tuple[int, float, int]]:
    """Write each format and read it again: boxes, largest difference in pixels, notes."""
    readers = {
        "dota": lambda folder: dota.read(folder / "labelTxt", classes),
        "coco": lambda folder: coco.read(folder / "annotations.json"),
        "yolo-obb": yolo_obb.read,
    }
    exported = {}
    with al.Workspace.open(work, read_only=True) as workspace:
        for name, read in readers.items():
            export = export_workspace(workspace, name, work / "export" / name)
            again = read(export.folder)
            assert again.n_boxes == export.labels.n_boxes
            exported[name] = (again.n_boxes, largest_difference(again, export.labels), len(export.account))
    return exported


def largest_difference(a: al.RotatedInstances, b: al.RotatedInstances) -> float:
    """The largest distance in pixels between corners of the same boxes, whichever corner is the first."""
    a, b = (instances.subset(sorted(instances.image_ids)) for instances in (a, b))
    corners, others = al.boxes.to_corners(a.boxes), al.boxes.to_corners(b.boxes)
    turned = [np.linalg.norm(corners - np.roll(others, turn, axis=1), axis=2).max(axis=1) for turn in range(4)]
    return float(np.min(turned, axis=0).max())


if __name__ == "__main__":
    main()
