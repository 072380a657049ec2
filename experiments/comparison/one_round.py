r"""Run one more round of a loop with every named strategy, each from the same state.

    al-rotate demo work_dirs/demo --rounds 2
    python -m experiments.comparison.one_round --base work_dirs/demo --work work_dirs/strategies --name scenes \
                                               --iterations 150
    python -m experiments.comparison.one_round --base work_dirs/vhr10 --work work_dirs/strategies_vhr10 --name vhr10 \
                                               --images 52

The base is a workspace with a simulated annotator whose last round is trained. It is copied for each strategy and not
changed. With --iterations, a base of rendered scenes is trained for so long and evaluated; without, the round ends with
the answers. One round and one seed show that a strategy works and which images it selects, **not which one is better**.
After a kill the same command resumes; durations are of strategies that were not interrupted. The table goes to
experiments/results/strategies/NAME.csv.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import al_rotate as al
from al_rotate.cli.demo import SIZE
from al_rotate.detection.small_models import small_rtmdet
from al_rotate.sampling import STRATEGIES, NotCalibrated

from ..paths import RESULTS


def one_round(base: Path, folder: Path, strategy: str, images: int, iterations: int | None) -> dict[str, Any]:
    """Run one round of a strategy.

    Args:
        base: the workspace to copy.
        folder: of the copy.
        strategy: its name.
        images: to query.
        iterations: of the training; None for none.

    Returns:
        A row of the table: what the query asked for, and what the answers brought.
    """
    if not (folder / "copied").exists():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(base, folder, ignore=shutil.ignore_patterns("scenes"))
        (folder / "copied").touch()
    options = {"views": True} if strategy == "hybrid" else {}
    training = small_rtmdet(SIZE, iterations) if iterations else None
    with al.ActiveLoop(
        folder, strategy=strategy, strategy_options=options, budget=images, train_options=training
    ) as loop:
        number = _round_number(loop, folder / "copied")
        _run_round(loop, number, folder / "seconds", train=bool(iterations))
        history, ledger = loop.workspace.history(), loop.workspace.ledger()
        queried = loop.workspace.query(number)["image_id"].tolist()
        labels = loop.workspace.labels()
        n_classes = len(loop.classes)
    selection = pd.read_csv(folder / "rounds" / f"{number:03d}" / "selection.csv")
    answers = ledger[ledger["image_id"].isin(queried)]
    row = {
        "strategy": strategy,
        "images": len(queried),
        **_label_counts(labels, queried, n_classes),
        "corrections": int(answers[["n_added", "n_moved", "n_relabelled", "n_deleted"]].sum().sum()),
        "minutes": answers["seconds"].sum() / 60,
        "expected_minutes": selection["expected_seconds"].sum() / 60,
        "query_s": float((folder / "seconds").read_text()),
    }
    if iterations:
        row |= {"mAP_before": history["mAP"][number - 1], "mAP_after": history["mAP"][number]}
    return {**row, "why_first": selection["why"][0]}


def _round_number(loop: al.ActiveLoop, note: Path) -> int:
    """The number of the added round; it is noted, since a resumed round may be trained already."""
    history = loop.workspace.history()
    number = int((history["stage"] == "trained").sum()) if len(history) else 0
    number = json.loads(note.read_text() or "null") or number
    note.write_text(json.dumps(number))
    return number


def _run_round(loop: al.ActiveLoop, number: int, seconds: Path, train: bool) -> None:
    rounds = loop.workspace.rounds()
    if len(rounds) <= number or rounds[number].stage == "new":
        started = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotCalibrated)
            loop.query()
        seconds.write_text(f"{time.perf_counter() - started:.1f}")
    if loop.workspace.rounds()[number].stage == "queried":
        loop.collect()
    if train and loop.workspace.rounds()[number].stage == "collected":
        loop.train()


def _label_counts(labels: al.RotatedInstances, queried: list[str], n_classes: int) -> dict[str, int]:
    """The labels of the queried images; rare classes have less than half an even share of the labels before."""
    before, answers = labels.subset(i for i in labels.image_ids if i not in {*queried}), labels.subset(queried)
    share = np.bincount(before.labels, minlength=n_classes) / max(before.n_boxes, 1)
    return {
        "empty": int((answers.counts == 0).sum()),
        "boxes": answers.n_boxes,
        "rare_boxes": int(np.isin(answers.labels, np.flatnonzero(share < 0.5 / len(share))).sum()),
        "classes": len({*answers.labels.tolist()}),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True, help="a workspace whose last round is trained")
    parser.add_argument("--work", type=Path, required=True, help="folder for the copies")
    parser.add_argument("--name", required=True, help="of the table")
    parser.add_argument("--images", type=int, default=30)
    parser.add_argument("--iterations", type=int, help="of the training; for the demo's model and size")
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES), choices=list(STRATEGIES))
    parser.add_argument("--results", type=Path, default=RESULTS / "strategies", help="where the table goes")
    args = parser.parse_args()
    rows = []
    table = args.results / f"{args.name}.csv"
    table.parent.mkdir(parents=True, exist_ok=True)
    for strategy in args.strategies:
        rows.append(one_round(args.base, args.work / strategy, strategy, args.images, args.iterations))
        pd.DataFrame(rows).to_csv(table, index=False, float_format="%.4g")
        print(", ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)


if __name__ == "__main__":
    main()
