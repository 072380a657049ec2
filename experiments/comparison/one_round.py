"""One more round of a loop, by every named strategy, each from the same state.

    python -m al_rotate demo work_dirs/demo --rounds 2
    python experiments/strategies.py --base work_dirs/demo --work work_dirs/strategies --name scenes --iterations 150
    python experiments/strategies.py --base work_dirs/vhr10 --work work_dirs/strategies_vhr10 --name vhr10 --images 52

The base is a workspace with a simulated annotator whose last round is trained; it is copied for each strategy and left
alone. With --iterations a base of rendered scenes is trained for so long and measured; without the round ends with the
answers. One round and one seed show that a strategy works and what it
asks for, **not which one is better**. Killed, the same command goes on; times are of strategies that it did not have to
resume. The table goes to experiments/results/strategies/NAME.csv.
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

HERE = Path(__file__).resolve().parent


def one_round(base: Path, folder: Path, strategy: str, images: int, iterations: int | None) -> dict[str, Any]:
    """What the round asked for and what it brought."""
    if not (folder / "copied").exists():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(base, folder, ignore=shutil.ignore_patterns("scenes"))
        (folder / "copied").touch()
    options = {"views": True} if strategy == "hybrid" else {}
    training = small_rtmdet(SIZE, iterations) if iterations else None
    with al.ActiveLoop(
        folder, strategy=strategy, strategy_options=options, budget=images, train_options=training
    ) as loop:
        before = loop.workspace.history()
        number = int((before["stage"] == "trained").sum()) if len(before) else 0
        number = json.loads((folder / "copied").read_text() or "null") or number
        (folder / "copied").write_text(json.dumps(number))
        rounds = loop.workspace.rounds()
        if len(rounds) <= number or rounds[number].stage == "new":
            started = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotCalibrated)
                loop.query()
            (folder / "seconds").write_text(f"{time.perf_counter() - started:.1f}")
        if loop.workspace.rounds()[number].stage == "queried":
            loop.collect()
        if iterations and loop.workspace.rounds()[number].stage == "collected":
            loop.train()
        history, ledger = loop.workspace.history(), loop.workspace.ledger()
        asked = loop.workspace.query(number)["image_id"].tolist()
        labels = loop.workspace.labels()
        rest = labels.subset(i for i in labels.image_ids if i not in {*asked})
    selection = pd.read_csv(folder / "rounds" / f"{number:03d}" / "selection.csv")
    got = labels.subset(asked)
    share = np.bincount(rest.labels, minlength=len(loop.classes)) / max(rest.n_boxes, 1)
    mine = ledger[ledger["image_id"].isin(asked)]
    row: dict[str, Any] = {
        "strategy": strategy,
        "images": len(asked),
        "empty": int((got.counts == 0).sum()),
        "boxes": got.n_boxes,
        "rare_boxes": int(np.isin(got.labels, np.flatnonzero(share < 0.5 / len(share))).sum()),
        "classes": len({*got.labels.tolist()}),
        "corrections": int(mine[["n_added", "n_moved", "n_relabelled", "n_deleted"]].sum().sum()),
        "minutes": mine["seconds"].sum() / 60,
        "expected_minutes": selection["expected_seconds"].sum() / 60,
        "query_s": float((folder / "seconds").read_text()),
    }
    if iterations:
        row |= {"mAP_before": history["mAP"][number - 1], "mAP_after": history["mAP"][number]}
    return {**row, "why_first": selection["why"][0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True, help="a workspace whose last round is trained")
    parser.add_argument("--work", type=Path, required=True, help="folder for the copies")
    parser.add_argument("--name", required=True, help="of the table")
    parser.add_argument("--images", type=int, default=30)
    parser.add_argument("--iterations", type=int, help="of the training; for the demo's model and size")
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES), choices=list(STRATEGIES))
    args = parser.parse_args()
    rows = []
    out = HERE / "results" / "strategies" / f"{args.name}.csv"
    out.parent.mkdir(parents=True, exist_ok=True)
    for strategy in args.strategies:
        rows.append(one_round(args.base, args.work / strategy, strategy, args.images, args.iterations))
        pd.DataFrame(rows).to_csv(out, index=False, float_format="%.4g")
        print(", ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)


if __name__ == "__main__":
    main()
