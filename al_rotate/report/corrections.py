"""The report's section on what people changed: tables by round and by class, a figure, and each round's account."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from ..evaluation import corrections
from ..workspace import Workspace

TOLD = 20  # rows of an account

_COUNTED = ["boxes", "added", "moved", "relabelled", "deleted"]
# column of corrections.summary -> its heading and format
_MEASURED = {
    "iou": ("IoU", "{:.2f}"),
    "centre_shift": ("shift, px", "{:.1f}"),
    "size_ratio": ("size ratio", "{:.2f}"),
    "angle_error": ("angle, °", "{:.1f}"),
}
_PARTS = {"kept": "#4ade80", "changed": "#ffb000", "deleted": "#ff5d8f"}


def current(workspace: Workspace) -> pd.DataFrame:
    """The corrections that led to the current answers, with the ``round`` each came in; empty where none were kept."""
    parts = [
        corrections.read_table(file).assign(round=r.number)
        for r in workspace.rounds()
        if (file := r.folder / "corrections.csv").exists()
    ]
    if not parts:
        return pd.DataFrame(columns=[*corrections.COLUMNS, "round"])
    # An image may have been answered in several rounds; what is told again later changes no answer.
    return pd.concat(parts, ignore_index=True).merge(workspace.ledger()[["image_id", "round"]])


def by_round(workspace: Workspace, table: pd.DataFrame) -> str | None:
    """What each round's answers took and changed, as HTML; None before there are any."""
    ledger = workspace.ledger()
    if not len(ledger):
        return None
    rounds = ledger.groupby("round")
    out = rounds[[f"n_{name}" for name in _COUNTED]].sum(min_count=1).set_axis(_COUNTED, axis="columns")
    out.insert(0, "images", rounds.size())
    out["minutes"] = (rounds["seconds"].sum(min_count=1) / 60).round(1)
    out["s/image"] = rounds["seconds"].mean().round(1)
    if len(table):
        out = out.join(_readable(corrections.summary(table, "round"))[["predicted", "kept, %", *_headings()]])
    return out.reset_index().to_html(index=False, border=0, na_rep="not known")


def by_class(table: pd.DataFrame) -> str | None:
    """What was changed of each class, as HTML; None where nothing is known."""
    if not len(table):
        return None
    out = _readable(corrections.summary(table))[["predicted", "kept, %", *_COUNTED[1:], *_headings()]]
    return out.reset_index().to_html(index=False, border=0)


def figure(table: pd.DataFrame) -> Figure | None:
    """What became of the predicted boxes, and how far those moved were off; None where none was moved."""
    moved = table[table["moved"].astype(bool)]
    if not len(moved):
        return None
    drawn = Figure(figsize=(11, 2.6), layout="constrained")
    axes = drawn.subplots(1, 3)
    seen = table[table["what"] != "added"]
    shares = pd.crosstab(seen["round"], seen["what"], normalize="index").reindex(columns=list(_PARTS), fill_value=0)
    below = 0 * shares["kept"]
    for part, colour in _PARTS.items():
        axes[0].bar(shares.index.astype(str), shares[part], bottom=below, color=colour, label=part, width=0.6)
        below = below + shares[part]
    axes[0].set(xlabel="round", ylabel="share of predicted boxes", ylim=(0, 1))
    axes[0].legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    for ax, name, label in (
        (axes[1], "centre_shift", "centres moved by, pixels"),
        (axes[2], "angle_error", "turned by, degrees"),
    ):
        far = moved[name].quantile(0.98)
        # The few that are further off stand in the last bar: they would flatten the others.
        ax.hist(moved[name].clip(upper=far), bins=25, range=(0, far or 1), color="#0a6cff")
        ax.set(xlabel=label, ylabel="moved boxes")
    for ax in axes:
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
    return drawn


def account(folder: Path) -> tuple[str, int] | None:
    """The first rows of a round's ``account.csv`` as HTML, and how many there are in all; None where there is none."""
    file = folder / "account.csv"
    if not file.exists():
        return None
    rows = pd.read_csv(file, dtype=str, keep_default_na=False)
    filled = [name for name in rows if (rows[name] != "").any()]
    return rows[filled].head(TOLD).to_html(index=False, border=0, classes="account"), len(rows)


def _headings() -> list[str]:
    return [heading for heading, _ in _MEASURED.values()]


def _readable(summary: pd.DataFrame) -> pd.DataFrame:
    out = summary.drop(columns=[*_MEASURED, "kept_share"])
    out["kept, %"] = [_text("{:.0f}", 100 * share) for share in summary["kept_share"]]
    for name, (heading, form) in _MEASURED.items():
        out[heading] = [_text(form, value) for value in summary[name]]
    return out


def _text(form: str, value: float) -> str:
    return "" if pd.isna(value) else form.format(value)
