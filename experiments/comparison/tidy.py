"""The tidy table of a comparison: one row per cell, kept when the workspaces are gone.

Columns: ``name`` of the arm, ``seed``, ``round``, what was labelled by then (``images``, ``boxes``, estimated
``seconds``), ``mAP``, ``AP/CLASS``, ``resampled`` (bootstrap values of mAP), ``asked`` (image ids of the query) and
counts of its answers, ``asked_photographs`` and ``asked_objects`` (what these are of whole photographs), the same of
what was ``known`` before, ``image_seconds`` to look an image over, durations, all of the config that the cell depends
on, ``versions``, and the digests ``code`` and ``cell``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd

from al_rotate.storage.files import temporary_sibling

from .config import depends_on, digest, list_cells, n_rounds, result_file, run_as

KEYS = ["name", "seed", "round"]  # of a row
_SAME_START = ["seed", "training", "loop"]
_NO_CELLS = pd.DataFrame(columns=KEYS).astype({"seed": int, "round": int})


def read_table(path: Path, config: dict[str, Any]) -> pd.DataFrame:
    """Read the table of an earlier run, with rows of arms and seeds that are no longer in the config.

    Raises:
        ValueError: if rows depend on something else than the config says.
    """
    if not path.exists():
        return _NO_CELLS
    table = pd.read_parquet(path)
    for name, rows in table.groupby("name"):
        expected = _as_text(depends_on(config, str(name)))
        got = {key: rows[key].unique().tolist() if key in rows else [] for key in expected}
        if wrong := [key for key, value in expected.items() if [*map(_parsed, got[key])] != [_parsed(value)]]:
            wanted, had = ({key: values[key] for key in wrong} for values in (expected, got))
            raise ValueError(
                f"expected in {path} for {name!r} {wanted}, got {had}: give the changed config another name, or move "
                "its table away"
            )
    return table


def finished_runs(table: pd.DataFrame, config: dict[str, Any]) -> set[tuple[str, int]]:
    """The pairs of arm and seed all of whose rounds are in a table: they need no workspace any more."""
    finished = table.groupby(["name", "seed"])["round"].nunique() >= n_rounds(config)
    return {*finished.index[finished]}


def write_table(work: Path, config: dict[str, Any], path: Path, finished: set[tuple[str, int]]) -> pd.DataFrame:
    """Write all finished cells; rows that are there already, `finished` or of other machines, stay as they are.

    Args:
        work: where the workspaces are.
        config: of the comparison.
        path: of the table.
        finished: see :func:`finished_runs`.

    Returns:
        The table.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    before, rows = read_table(path, config), _finished_cells(work, config)
    _check_start(path, before, rows)
    rows = rows[~pd.MultiIndex.from_frame(rows[["name", "seed"]]).isin(finished)]
    own = pd.MultiIndex.from_frame(rows[KEYS])
    rest = before[~pd.MultiIndex.from_frame(before[KEYS]).isin(own)]
    table = pd.concat([rows, rest], ignore_index=True) if len(rest) else rows.reset_index(drop=True)
    scratch = temporary_sibling(path)
    table.to_parquet(scratch, index=False)
    os.replace(scratch, path)
    return table


def _finished_cells(work: Path, config: dict[str, Any]) -> pd.DataFrame:
    """One row per finished cell in the workspaces; shared ones appear once per arm."""
    rows = []
    for cell in list_cells(config):
        file = result_file(work, config, run_as(config, cell))
        if file.exists():
            about = depends_on(config, cell.arm)
            row = {"name": cell.arm, **json.loads(file.read_text(encoding="utf-8")), **_as_text(about)}
            rows.append({**row, "cell": digest(about, cell.seed, cell.round)})
    return pd.DataFrame(rows) if rows else _NO_CELLS


def _check_start(path: Path, before: pd.DataFrame, rows: pd.DataFrame) -> None:
    """Check that each seed starts as in the earlier table: only then can its arms be paired.

    Raises:
        ValueError: if a first round differs.
    """
    if before.empty:
        return
    both = rows[rows["round"] == 0].merge(before[before["round"] == 0], on=_SAME_START, suffixes=("", "_before"))
    for row in both.itertuples():
        if row.mAP != row.mAP_before or [*row.asked] != [*row.asked_before]:
            raise ValueError(
                f"expected seed {row.seed} to start as in {path}, with mAP {row.mAP_before:.4f}, got {row.mAP:.4f}: "
                "another machine or another state of the code; take other seeds, or move the table away"
            )


def _as_text(about: dict[str, Any]) -> dict[str, str]:
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in about.items()}


def _parsed(value: str) -> Any:
    """The value behind a text, so that the order of options makes no difference."""
    try:
        return json.loads(value)
    except ValueError:
        return value
