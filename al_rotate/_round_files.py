"""Tables that a round leaves for people and for the report, and answers cut down to what was asked for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pandas as pd

from ._files import whole
from .annotators import Answer


def write(path: Path, frame: pd.DataFrame) -> None:
    """A CSV file that appears whole or not at all."""
    with whole(path) as file:
        frame.to_csv(file, index=False)


def whys(folder: Path) -> dict[str, str]:
    """image id -> why the round asks for it, as far as it said."""
    path = folder / "selection.csv"
    if not path.exists():
        return {}
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    return dict(zip(table["image_id"], table["why"], strict=True)) if "why" in table else {}


def made_for(folder: Path, note: object) -> None:
    """Empty a folder that a killed query has begun for another strategy, which keeps other things of its detections."""
    file, text = folder.with_suffix(".json"), json.dumps(note, sort_keys=True)
    before = file.read_text(encoding="utf-8") if file.exists() else "{}"
    if folder.exists() and before != text:
        shutil.rmtree(folder)
    with whole(file) as stream:
        stream.write(text)


def keep(folder: Path, answer: Answer) -> None:
    """``corrections.csv`` and ``account.csv``: what this answer tells of its images replaces what was told before."""
    told = {*answer.labels.image_ids, *answer.skipped, *answer.unanswered}
    for name, table in (("corrections", answer.corrections), ("account", answer.account)):
        path = folder / f"{name}.csv"
        if table is None or (table.empty and not path.exists()):
            continue
        parts = [table]
        if path.exists():
            before = pd.read_csv(path, dtype=str, keep_default_na=False)  # a class may be called NA
            # What concerns the project as a whole has no image, and is told anew each time.
            parts.insert(0, before[~before["image_id"].isin(told | {"", *table["image_id"]})])
        write(path, pd.concat([part for part in parts if len(part)] or [table], ignore_index=True))


def asked_for(answer: Answer, asked: Collection[str]) -> Answer:
    """Only answers for images that were asked for; the account names the others, which people may have added."""
    others = sorted({*answer.labels.image_ids, *answer.skipped} - {*asked})
    account = answer.account
    if others:
        detail = "answered, but this loop has not asked for it (yet): its labels are not taken over"
        rows = pd.DataFrame({"image_id": others, "action": "left out", "detail": detail})
        account = rows if account is None else pd.concat([account, rows], ignore_index=True)
    return replace(
        answer,
        labels=answer.labels.subset(i for i in answer.labels.image_ids if i in asked),
        skipped={i: reason for i, reason in answer.skipped.items() if i in asked},
        costs=answer.costs[answer.costs["image_id"].isin(asked)],
        unanswered=[i for i in answer.unanswered if i in asked],
        corrections=None
        if answer.corrections is None
        else answer.corrections[answer.corrections["image_id"].isin(asked)],
        account=account,
    )
