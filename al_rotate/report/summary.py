"""What a person wants to know of a loop first: is it better, what did it cost, go on or not, and what to do next."""

from __future__ import annotations

import math
import shlex
from typing import NamedTuple

import pandas as pd

from ..storage.plurals import many
from ..workspace import IMPORTED, Workspace
from ..workspace.progress import advise_on, trains_next
from .corrections import current_corrections, savings_by_round


class Answer(NamedTuple):
    """One answer: the figure that says it, and a sentence with the rest."""

    question: str
    figure: str
    sentence: str
    command: str = ""


def answers(workspace: Workspace) -> list[Answer]:
    """Answer the four questions, in their order."""
    history = workspace.history()
    advice = advise_on(workspace)
    verdict, _, reason = advice.reason.partition(": ")
    return [
        _better(history),
        _cost(workspace, history),
        Answer("Is another round worth it?", verdict, f"{reason[:1].upper()}{reason[1:]}"),
        _next(workspace),
    ]


def _better(history: pd.DataFrame) -> Answer:
    question = "Is it getting better?"
    values = 100 * history["mAP"].dropna().astype(float) if "mAP" in history else pd.Series(dtype=float)
    if not len(values):
        trained = (history["stage"] == "trained").any()
        why = "give the loop a test set" if trained else "no round has been evaluated; it takes a test set"
        return Answer(
            question, "not measured", f"To see mAP and learning curves, {why}." if trained else f"So far {why}."
        )
    sentence = "mAP at rotated IoU 0.5"
    if len(values) == 1:
        return Answer(question, f"{values.iloc[-1]:.1f} %", f"{sentence} after the first round.")
    gain = values.iloc[-1] - values.iloc[-2]
    return Answer(
        question,
        f"{values.iloc[-1]:.1f} %",
        f"{sentence}: {gain:+.1f} points in the last round, {values.iloc[0]:.1f} % after the first round.",
    )


def _cost(workspace: Workspace, history: pd.DataFrame) -> Answer:
    question = "What did it cost?"
    ledger = workspace.ledger()
    answered = ledger[ledger["annotator"] != IMPORTED]
    if not len(ledger):
        return Answer(question, "nothing yet", "No image is answered.")
    n_imported = len(ledger) - len(answered)
    imported = f" {many(n_imported, 'image')} had labels already." if n_imported else ""
    boxes = int(answered["n_boxes"].sum())
    sentence = f"{many(len(answered), 'image')} answered, with {many(boxes, 'box')}."
    seconds = answered["seconds"]
    if not seconds.notna().any():
        return Answer(question, f"{len(answered)} images", f"{sentence} How long they took is not known.{imported}")
    by_round = answered.groupby("round")["seconds"].mean().dropna()
    pace = f" {by_round.iloc[-1]:.0f} s an image in the last round"
    pace += f", {by_round.iloc[0]:.0f} s in the first." if len(by_round) > 1 else "."
    return Answer(question, _duration(float(seconds.sum())), sentence + pace + _saved(workspace) + imported)


def _saved(workspace: Workspace) -> str:
    """Say what the predicted boxes saved, counted correction by correction; empty if that is not known."""
    savings = savings_by_round(workspace, current_corrections(workspace))
    share = savings["saved"].iloc[-1] if len(savings) else math.nan
    if not math.isfinite(share) or round(100 * share) == 0:
        return ""
    if share < 0:
        return f" Correcting predicted boxes took {-100 * share:.0f} % longer than drawing every box."
    return f" Predicted boxes saved {100 * share:.0f} % of the time of drawing every box."


def _next(workspace: Workspace) -> Answer:
    question, name = "What to do next?", shlex.quote(workspace.folder.name)
    rounds, counts = workspace.rounds(), workspace.counts()
    is_waiting = bool(rounds) and rounds[-1].stage == "queried"
    if trains_next(workspace) or (is_waiting and not counts["queried"] and counts["labelled"]):
        return Answer(
            question, "Train", "The labels are in, and the detector has not seen them.", f"al-rotate train {name}"
        )
    if is_waiting or (counts["queried"] and not counts["unlabelled"]):
        wait = "waits" if counts["queried"] == 1 else "wait"
        sentence = f"{many(counts['queried'], 'image')} {wait} for an answer. Then collect."
        return Answer(question, "Label", sentence, f"al-rotate collect {name}")
    if counts["unlabelled"]:
        sentence = f"Ask for labels of the most useful of {many(counts['unlabelled'], 'image')} left."
        ask = "studio" if (workspace.folder / "label_studio").is_dir() else "query"  # its own server has to run
        return Answer(question, "Query", sentence, f"al-rotate {ask} {name}")
    return Answer(question, "Export", "Every image is answered.", f"al-rotate export {name} --to dota")


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min"
