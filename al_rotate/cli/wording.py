"""What several commands say: where a workspace stands, which command comes next, and mAP, always in percent."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..detection.training.schedule import Schedule
from ..loop import SimulatedAnnotator
from ..loop.create import restore_annotator
from ..loop.settings import CONFIGS_OWN, LoopSettings
from ..storage.plurals import many
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


def list_classes(classes: Sequence[str]) -> str:
    """Write how many classes there are, and which."""
    return f"{many(len(classes), 'class')}: {', '.join(classes)}"


def describe_training(schedule: Schedule, n_images: int) -> str:
    """Write how long a training on so many labelled images goes."""
    length = f"{schedule.iterations(n_images):,} iterations on {many(n_images, 'labelled image')}"
    return f"training: {length} (--schedule {CONFIGS_OWN}: as the config says)"


def in_words(counts: Mapping[str, int]) -> str:
    """Write the images of a workspace by status: ``8 not labelled yet, 4 labelled``."""
    return ", ".join(f"{counts[status]} {words}" for status, words in STATUSES.items() if counts.get(status))


def percent(value: float) -> str:
    """Write a share, such as mAP, in percent with one decimal: ``71.2 %``."""
    return f"{100 * value:.1f} %"


def describe_change(what: str, summary: str) -> str:
    """Write a change of a workspace: ``add images: 3 images``."""
    return f"{what.replace('_', ' ')}: {summary}"


def history_table(history: pd.DataFrame) -> str:
    """Write the history of a workspace as a table: totals after each round, the time in hours and mAP in percent."""
    table = history[[name for name in COLUMNS if name in history]].copy()
    for name, factor, digits in (("mAP", 100.0, 1), ("cost", 1 / 3600, 2)):
        if name in table:
            table[name] = [f"{factor * value:.{digits}f}" if pd.notna(value) else "" for value in table[name]]
    table["strategy"] = [strategy or "" for strategy in table["strategy"]]
    return table.rename(columns=COLUMNS).to_string(index=False, na_rep="")


def metrics_text(metrics: Mapping[str, Any]) -> str:
    """Write a training's metrics, one a line: first mAP, then the classes' AP, in percent, then others as they are."""
    shares = {name for name in metrics if re.fullmatch(r"(val_)?m?AP\d*(/.*)?", name)}
    lines = []

    def place(name: str) -> tuple[bool, bool, bool, str]:
        return name not in shares, name != "mAP", "/" in name, name

    for name in sorted(metrics, key=place):
        value = metrics[name]
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


def next_steps(workspace: Workspace, typed: Path) -> list[tuple[str, str]]:
    """Name the commands that come next, the first of which works as it stands.

    Args:
        workspace: at any stage.
        typed: its folder, as the user gave it.

    Returns:
        When to take each command (empty for the first), and the command.
    """
    rounds, counts, work = workspace.rounds(), workspace.counts(), shlex.quote(str(typed))
    is_open = bool(rounds) and not rounds[-1].is_over
    number = rounds[-1].number if is_open else len(rounds)
    train = f"al-rotate train {work}"
    if trains_next(workspace):
        return [("", train)]
    if is_open and rounds[-1].stage == "queried":
        statuses = {*workspace.query(number)["status"]}
        if "queried" not in statuses:
            can_train = "labelled" in statuses or workspace.waits_to_be_trained_on(number)
            return [("", train if can_train else f"al-rotate undo {work}")]
        asking = [("", f"al-rotate collect {work}")]
        training = [("with what is labelled so far", train)] if "labelled" in statuses else []
    elif counts["unlabelled"] or counts["queried"]:
        asking = [("", _ask(workspace, work))]
        training = []
    else:
        more = f"al-rotate add {work} --images FOLDER"
        return [("", f"al-rotate export {work} --to dota"), ("to go on with more images", more)]
    if answered_by(workspace.folder) is None:
        server = ("for a server that runs already", f"al-rotate connect {work} --url ADDRESS")
        asking = [("", f"al-rotate studio {work}"), server]
    if not training and workspace.waits_to_be_trained_on(number):
        training = [("to train on the new labels first", train)]
    return asking + training


def next_commands(workspace: Workspace, typed: Path) -> list[str]:
    """Name the commands of :func:`next_steps` alone, for programs."""
    return [command for _, command in next_steps(workspace, typed)]


def next_step(workspace: Workspace, typed: Path) -> str:
    """Name the next command that will work, for messages of one line."""
    return f"next: {next_steps(workspace, typed)[0][1]}"


def print_next(workspace: Workspace, typed: Path) -> None:
    """Print the commands that come next, each at the end of a line of its own."""
    for when, command in next_steps(workspace, typed):
        print(f"or, {when}: {command}" if when else f"next: {command}")


def _ask(workspace: Workspace, work: str) -> str:
    """Name the command that asks people for labels, or takes the last ones if no image is left to query."""
    if (workspace.folder / "label_studio").is_dir():  # a server of its own, which has to run
        return f"al-rotate studio {work}"
    if not workspace.ids("unlabelled"):
        return f"al-rotate collect {work}"
    images = LoopSettings.from_json(workspace.settings).budget.images
    return f"al-rotate query {work}" + (f" --budget {images}" if images else "")
