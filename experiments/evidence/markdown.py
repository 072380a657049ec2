"""The summary of a comparison, and its figures in words: points of mAP, with what is significant marked."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .analysis import AXES, REFERENCE, areas, budget_axis, savings
from .asked import queried


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """One row per strategy, best first by AULC on the budget's own axis.

    Columns: ``AXIS: …`` of :func:`~experiments.evidence.analysis.areas` and
    :func:`~experiments.evidence.analysis.savings` on each axis, and :func:`~experiments.evidence.asked.queried`.
    """
    own = budget_axis(table)
    columns = {}
    for axis in (own, *(a for a in AXES if a != own)):
        measured = areas(table, axis).join(savings(table, axis))
        columns |= {f"{axis}: {column}": measured[column] for column in measured}
    rows = pd.concat([pd.DataFrame(columns), queried(table)], axis=1).rename_axis("strategy")
    return rows.sort_values(f"{own}: difference", ascending=False, kind="stable")


def markdown(rows: pd.DataFrame, own: str, n_seeds: int) -> str:
    """The table of one comparison: AULC on the budget's axis, and its difference from random's on each, in points.

    Args:
        rows: see :func:`summary`.
        own: the budget's axis.
        n_seeds: of the comparison.
    """
    lines = [f"| strategy | AULC, {own} | " + " | ".join(f"less random's, {axis}" for axis in AXES)]
    lines = [f"{lines[0]} | saving, {own} | end |", "|---" * 7 + "|"]
    for name, row in rows.iterrows():
        cells = [f"{100 * row[f'{own}: aulc']:.1f}", *(difference(row, f"{axis}: ", "**") for axis in AXES)]
        cells += [saving(row, own, n_seeds), f"{100 * row['mAP_end']:.1f}"]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def difference(row: pd.Series, prefix: str = "", bold: str = "") -> str:
    """A difference with its interval, and its share of random's range where that is not all of it.

    Args:
        row: of :func:`summary` or :func:`~experiments.evidence.analysis.areas`.
        prefix: of the columns.
        bold: put before and after a significant difference.
    """
    if row.name == REFERENCE and row[f"{prefix}difference"] == 0:
        return ""
    low, high = (100 * row[f"{prefix}{part}"] for part in ("low", "high"))
    covered = f" ({100 * row[f'{prefix}covered']:.0f} %)" if row[f"{prefix}covered"] < 0.795 else ""
    return f"{marked(row, prefix, bold)} [{low:+.1f}, {high:+.1f}]{covered}"


def marked(row: pd.Series, prefix: str = "", bold: str = "") -> str:
    """A difference, with a dagger if it remains at a false discovery rate of 5 % over the strategies of a column."""
    mark = bold if verdict(row, prefix) else ""
    return f"{mark}{100 * row[f'{prefix}difference']:+.1f}{mark}{'†' if row[f'{prefix}q'] < 0.05 else ''}"


def verdict(row: pd.Series, prefix: str = "") -> str:
    """``better`` or ``worse`` if the interval excludes zero, else nothing."""
    return "better" if row[f"{prefix}low"] > 0 else "worse" if row[f"{prefix}high"] < 0 else ""


def saving(row: pd.Series, axis: str, n_seeds: int) -> str:
    """The share of labels saved, and in how many seeds random's end is reached."""
    if row.name == REFERENCE:
        return ""
    saved = row[f"{axis}: saving"]
    return f"{'not reached' if np.isnan(saved) else f'{100 * saved:+.0f} %'} ({row[f'{axis}: reached']:.0f}/{n_seeds})"
