"""What several commands say: where a workspace stands, which command comes next, and mAP, always in percent."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..loop import SimulatedAnnotator
from ..loop.create import restore_annotator
from ..workspace import Workspace
from ..workspace.progress import trains_next

STATUSES = {
    "unlabelled": "not labelled yet",
    "queried": "waiting for an answer",
    "labelled": "labelled",
    "skipped": "skipped",
}
STAGES = {
    "new": "has not asked for labels yet",
    "queried": "is waiting for answers",
    "collected": "has its labels and is not trained yet",
    "trained": "is trained",
    "undone": "is undone",
}
COLUMNS = {  # of a workspace's history -> of the table printed
    "round": "round",
    "stage": "stage",
    "strategy": "strategy",
    "n_labelled": "images",
    "n_boxes": "boxes",
    "cost": "hours",
    "mAP": "mAP %",
}


def many(count: int, noun: str) -> str:
    """Write a count and its noun: ``1 image``, ``3 images``, ``2 boxes``."""
    return f"{count} {noun}" + ("" if count == 1 else "es" if noun.endswith(("x", "s")) else "s")


def list_classes(classes: Sequence[str]) -> str:
    """Write how many classes there are, and which."""
    return f"{many(len(classes), 'class')}: {', '.join(classes)}"


def in_words(counts: Mapping[str, int]) -> str:
    """Write the images of a workspace by status: ``8 not labelled yet, 4 labelled``."""
    return ", ".join(f"{counts[status]} {words}" for status, words in STATUSES.items() if counts.get(status))


def percent(value: float) -> str:
    """Write a share, such as mAP, in percent with one decimal: ``71.2 %``."""
    return f"{100 * value:.1f} %"


def history_table(history: pd.DataFrame) -> str:
    """Write the history of a workspace as a table: totals after each round, the time in hours and mAP in percent."""
    table = history[[name for name in COLUMNS if name in history]].copy()
    for name, factor in (("mAP", 100.0), ("cost", 1 / 3600)):
        if name in table:
            table[name] = [f"{factor * value:.1f}" if pd.notna(value) else "" for value in table[name]]
    return table.rename(columns=COLUMNS).to_string(index=False, na_rep="")


def metrics_text(metrics: Mapping[str, Any]) -> str:
    """Write a training's metrics, one a line: first mAP and the classes' AP, in percent, then others as they are."""
    shares = {name for name in metrics if re.fullmatch(r"(val_)?m?AP\d*(/.*)?", name)}
    lines = []
    for name, value in sorted(metrics.items(), key=lambda pair: (pair[0] not in shares, pair[0] != "mAP")):
        text = percent(value) if name in shares else f"{value:.4g}" if isinstance(value, float) else str(value)
        lines.append(f"{name}: {text}")
    return "\n".join(lines)


def answered_by(folder: Path) -> str | None:
    """Say who answers a workspace's queries; None: nobody so far."""
    annotator = restore_annotator(folder.absolute())
    if annotator is None:
        return None
    if isinstance(annotator, SimulatedAnnotator):
        return "labels that are held back"
    connection = getattr(annotator, "connection", None)
    return f"people at {connection.url}/projects/{connection.project}/data" if connection else type(annotator).__name__


def next_step(workspace: Workspace, typed: Path) -> str:
    """Name the next command that will work, with the folder as the user typed it."""
    rounds, counts = workspace.rounds(), workspace.counts()
    stage = rounds[-1].stage if rounds and not rounds[-1].is_over else "new"
    if trains_next(workspace):
        return f"al-rotate train {typed}"
    if stage == "new" and not counts["unlabelled"]:
        return (
            f"al-rotate export {typed} --to dota; no image is left to label, al-rotate add {typed} --images adds some"
        )
    number = len(rounds) if not rounds or rounds[-1].is_over else rounds[-1].number
    first = ""
    if stage != "queried" and workspace.waits_to_be_trained_on(number):
        first = f", or to train on the added labels first: al-rotate train {typed}"
    if answered_by(workspace.folder) is None:
        server = f"or for a server that runs already: al-rotate connect {typed} --url ADDRESS"
        return f"al-rotate studio {typed}, {server}{first}"
    if stage == "queried":
        answered = workspace.query(rounds[-1].number)["status"].isin(["labelled"]).any()
        return f"al-rotate collect {typed}" + (f", or with what is there: al-rotate train {typed}" if answered else "")
    if (workspace.folder / "label_studio").is_dir():  # a server of its own, which has to run
        return f"al-rotate studio {typed}{first}"
    return f"al-rotate query {typed} --budget 50{first}"
