"""Files that a round leaves in its folder, for people and for the report."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ..storage.files import atomic_write


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write a CSV file that appears whole or not at all."""
    with atomic_write(path) as file:
        frame.to_csv(file, index=False)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file that appears whole or not at all; NumPy's numbers become floats."""
    with atomic_write(path) as file:
        json.dump(value, file, indent=1, default=float)


def read_explanations(folder: Path) -> dict[str, str]:
    """Return image id -> why the round of this folder chose it; empty where the round did not say."""
    path = folder / "selection.csv"
    if not path.exists():
        return {}
    selection = pd.read_csv(path, dtype=str, keep_default_na=False)
    return dict(zip(selection["image_id"], selection["why"], strict=True)) if "why" in selection else {}


def clear_unless_made_for(folder: Path, outputs: Mapping[str, bool]) -> None:
    """Delete a folder of detections that a killed query began with other outputs, for another strategy.

    Args:
        folder: of the detections; ``FOLDER.json`` says what they hold.
        outputs: what they shall hold besides boxes, such as ``{"features": True}``.
    """
    note, text = folder.with_suffix(".json"), json.dumps(outputs, sort_keys=True)
    text_before = note.read_text(encoding="utf-8") if note.exists() else "{}"
    if folder.exists() and text_before != text:
        shutil.rmtree(folder)
    with atomic_write(note) as file:
        file.write(text)


def update_tables(folder: Path, tables: Mapping[str, pd.DataFrame | None], image_ids: Collection[str]) -> None:
    """Update ``NAME.csv`` of each table: its rows replace those that an earlier answer left for the same images.

    Args:
        folder: of the round.
        tables: name -> rows with an ``image_id``; None leaves a file as it is.
        image_ids: all images that the answer reports on, whether or not they have rows.
    """
    for name, table in tables.items():
        path = folder / f"{name}.csv"
        if table is None or (table.empty and not path.exists()):
            continue
        parts = [table]
        if path.exists():
            earlier = pd.read_csv(path, dtype=str, keep_default_na=False)  # a class may be called NA
            # Rows on the project as a whole have no image; every answer brings its own.
            parts.insert(0, earlier[~earlier["image_id"].isin({*image_ids, "", *table["image_id"]})])
        write_csv(path, pd.concat([part for part in parts if len(part)] or [table], ignore_index=True))
