"""Tables that a round leaves in its folder, for people and for the report."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

import pandas as pd

from ..storage.files import atomic_write


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """A CSV file that appears whole or not at all."""
    with atomic_write(path) as file:
        frame.to_csv(file, index=False)


def read_explanations(folder: Path) -> dict[str, str]:
    """image id -> why the round asks for it, as far as it said."""
    path = folder / "selection.csv"
    if not path.exists():
        return {}
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    return dict(zip(table["image_id"], table["why"], strict=True)) if "why" in table else {}


def clear_unless_made_for(folder: Path, note: object) -> None:
    """Empty a folder that a killed query has begun for another strategy, which keeps other things of its detections."""
    file, text = folder.with_suffix(".json"), json.dumps(note, sort_keys=True)
    before = file.read_text(encoding="utf-8") if file.exists() else "{}"
    if folder.exists() and before != text:
        shutil.rmtree(folder)
    with atomic_write(file) as stream:
        stream.write(text)


def update_tables(folder: Path, tables: Mapping[str, pd.DataFrame | None], told: Collection[str]) -> None:
    """Update ``NAME.csv`` of each table: its rows replace those that an earlier answer left for the same images.

    Args:
        folder: of the round.
        tables: name -> rows with an ``image_id``; None leaves a file as it is.
        told: ids of all images that the answer tells of, whether or not they have rows.
    """
    for name, table in tables.items():
        path = folder / f"{name}.csv"
        if table is None or (table.empty and not path.exists()):
            continue
        parts = [table]
        if path.exists():
            before = pd.read_csv(path, dtype=str, keep_default_na=False)  # a class may be called NA
            # What concerns the project as a whole has no image, and is told anew each time.
            parts.insert(0, before[~before["image_id"].isin({*told, "", *table["image_id"]})])
        write_csv(path, pd.concat([part for part in parts if len(part)] or [table], ignore_index=True))
