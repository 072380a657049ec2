"""Files that a round leaves in its folder, for people and for the report."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ..data import RotatedInstances
from ..sampling import ShowingRule
from ..storage import manifest
from ..storage.files import atomic_write
from ..storage.parquet import SHARDS_NOTE, shards
from ..storage.user_warnings import warn_user

SHOWN = "shown.json"  # the rule of which predicted boxes people are shown


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write a CSV file that appears whole or not at all."""
    with atomic_write(path) as file:
        frame.to_csv(file, index=False)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file that appears whole or not at all; NumPy's numbers become floats."""
    with atomic_write(path) as file:
        json.dump(value, file, indent=1, default=float)


def read_explanations(folder: Path) -> dict[str, str]:
    """Return image id -> why the round of this folder chose it; empty where the round did not say, or is damaged."""
    selection = read_selection(folder)
    return dict(zip(selection["image_id"], selection["why"], strict=True)) if "why" in selection else {}


def read_selection(folder: Path) -> pd.DataFrame:
    """Return the images that the round of this folder chose, all as text, with ``why`` where it said so.

    A damaged file causes a warning: the round goes on without what it said.
    """
    path = folder / "selection.csv"
    nothing = pd.DataFrame({"image_id": []})
    if not path.exists():
        return nothing
    try:
        return read_csv(path)
    except ValueError as error:
        warn_user(
            f"{error}; the round goes on without saying why each image was chosen, delete the file to be rid of this"
        )
        return nothing


def read_showing_rule(folder: Path) -> ShowingRule:
    """Return the rule of what people are shown that the round of this folder queried with.

    Rounds of earlier versions kept none. They get the default, but its ``why`` is empty: their annotator may have been
    set to another score.

    Raises:
        ValueError: for a damaged file; names it.
    """
    path = folder / SHOWN
    if not path.exists():
        return ShowingRule(why="")
    try:
        return ShowingRule.from_json(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): delete it, and boxes of a score of 0.3 are shown") from error


def read_csv(path: Path) -> pd.DataFrame:
    """Read a table of a round, all as text: a class may be called NA.

    Raises:
        ValueError: for a file that is empty or damaged, as an older version may have left it in a power cut; names it.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except ValueError as error:  # of pandas, or of UTF-8
        raise ValueError(f"{path} is empty or damaged ({error})") from None
    if "image_id" not in table:
        raise ValueError(f"{path} is damaged (it has no column image_id)")
    return table


def set_aside(path: Path) -> Path:
    """Give a damaged file or folder another name, so that it can be made again; return that name."""
    for number in itertools.count(1):
        aside = path.with_name(f"{path.name}.damaged-{number}")
        if not aside.exists():
            return path.rename(aside)
    raise AssertionError


def clear_unless_made_for(
    folder: Path, outputs: Mapping[str, bool], image_ids: Iterable[str] = (), weights: str | None = None
) -> None:
    """Delete a folder of detections that a killed query began for another strategy, on another pool, or by others.

    Args:
        folder: of the detections; ``FOLDER.json`` says what they hold. Damaged ones are deleted in any case.
        outputs: what they shall hold besides boxes, such as ``{"features": True}``.
        image_ids: of the images to detect on.
        weights: the version of the weights that detect.
    """
    note, wanted = folder.with_suffix(".json"), dict[str, Any](outputs)
    if ids := "\n".join(image_ids):
        wanted["images"] = hashlib.sha256(ids.encode()).hexdigest()[:20]
    if weights is not None:
        wanted["weights"] = weights
    try:
        made_for = json.loads(note.read_text(encoding="utf-8")) if note.exists() else {}
    except ValueError:
        made_for = {"damaged": True}
    unrecorded = {name: wanted[name] for name in ("images", "weights") if name in wanted}  # by al_rotate 0.2
    if folder.exists() and {**unrecorded, **made_for} != wanted:
        shutil.rmtree(folder)
    discard_damaged(folder)
    write_json(note, wanted)


def discard_damaged(folder: Path) -> None:
    """Delete shards of detections that cannot be read, and all if their manifest cannot: they are made again.

    A power cut may leave such files where a step was not finished.
    """
    for note in [*folder.rglob(SHARDS_NOTE)]:
        try:
            manifest.read(note)
        except ValueError:
            shutil.rmtree(note.parent)
    for shard in folder.rglob("*.parquet"):
        try:
            RotatedInstances.load(shard)
        except ValueError:
            shard.unlink()


def discard_unfinished(folder: Path) -> None:
    """Delete detections of a query that was killed, once its round goes on without that query."""
    try:
        for _ in shards(folder):
            pass
    except (ValueError, FileNotFoundError):
        for shard in folder.glob("*.parquet"):
            shard.unlink()  # before the manifest, without which those that are left would seem to be all
        shutil.rmtree(folder, ignore_errors=True)


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
            try:
                earlier = read_csv(path)
            except ValueError as error:
                warn_user(f"{error}: what it said of earlier answers is lost, and it is kept as {set_aside(path).name}")
            else:
                # Rows on the project as a whole have no image; every answer brings its own.
                parts.insert(0, earlier[~earlier["image_id"].isin({*image_ids, "", *table["image_id"]})])
        write_csv(path, pd.concat([part for part in parts if len(part)] or [table], ignore_index=True))
