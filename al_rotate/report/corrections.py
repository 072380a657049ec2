"""The report's section on what people changed: tables by round and by class, a figure, and each round's account."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from ..evaluation import corrections
from ..sampling import ShowingRule
from ..storage.user_warnings import warn_user
from ..workspace import IMPORTED, REVIEW, Round, Workspace
from ..workspace.artefacts import read_showing_rule
from .paths import without_folders
from .plots import KIND_COLOURS, OKABE_ITO, without_frame

ACCOUNT_ROWS = 20  # shown of an account

_COUNTS = ["boxes", "added", "moved", "relabelled", "deleted"]
# column of corrections.summary -> its heading and format
_MEASURES = {
    "iou": ("IoU", "{:.2f}"),
    "centre_shift": ("shift, px", "{:.1f}"),
    "size_ratio": ("size ratio", "{:.2f}"),
    "angle_error": ("angle, °", "{:.1f}"),
}
_HEADINGS = [heading for heading, _ in _MEASURES.values()]
# What became of a predicted box -> its colour; hatches tell what colours do not.
_FATES = {
    "kept": (KIND_COLOURS["kept"], ""),
    "changed": (KIND_COLOURS["moved"], "//"),
    "deleted": (KIND_COLOURS["deleted"], "xx"),
}


def current_corrections(workspace: Workspace) -> pd.DataFrame:
    """Load the corrections that led to the current answers, with the ``round`` of each; empty if none were kept."""
    tables = [
        corrections.read_table(file).assign(round=r.number)
        for r in workspace.rounds()
        if (file := r.folder / "corrections.csv").exists()
    ]
    if not tables:
        return pd.DataFrame(columns=[*corrections.COLUMNS, "round"])
    # An image may have been answered in several rounds: only the round of its current answer counts.
    return pd.concat(tables, ignore_index=True).merge(workspace.ledger()[["image_id", "round"]])


def table_by_round(workspace: Workspace, table: pd.DataFrame) -> str | None:
    """Return what each round's answers took and changed, as HTML; None before there are any.

    Imported labels are no answers: a column of their own counts them.
    """
    ledger = workspace.ledger()
    if not len(ledger):
        return None
    is_imported = ledger["annotator"] == IMPORTED
    imported, ledger = ledger[is_imported]["round"].value_counts(), ledger[~is_imported]
    rounds = ledger.groupby("round")
    rows = rounds[[f"n_{name}" for name in _COUNTS]].sum(min_count=1).set_axis(_COUNTS, axis="columns")
    rows.insert(0, "images", rounds.size())
    rows["minutes"] = (rounds["seconds"].sum(min_count=1) / 60).round(1)
    rows["s/image"] = rounds["seconds"].mean().round(1)
    if len(table):
        rows = rows.join(_readable(corrections.summary(table, "round"))[["predicted", "kept, %", *_HEADINGS]])
    if len(imported):
        rows = rows.reindex(rows.index.union(imported.index, sort=True))
        rows["images"] = rows["images"].fillna(0).astype(int)
        rows.insert(1, "imported", imported.reindex(rows.index, fill_value=0))
        rows = rows.astype(object)
        rows.loc[rows["images"] == 0, rows.columns[2:]] = ""  # nobody worked on these
    return rows.reset_index().to_html(index=False, border=0, na_rep="unknown")


def savings_by_round(workspace: Workspace, table: pd.DataFrame) -> pd.DataFrame:
    """Count what the predicted boxes saved: each answer as it was made, and as if every box had been drawn.

    Both ways by the same seconds for each kind of correction, those that the round was set to when it queried
    (:class:`~al_rotate.CostModel`; older rounds: the default ones), so that a slow person or a break is no saving. What
    Label Studio measured is beside it in :func:`table_by_round`. Labels that were imported or reviewed do not count,
    nor answers of which it is not known what was corrected, nor, with a warning, rounds whose times are damaged.

    Args:
        workspace: of the loop.
        table: of :func:`current_corrections`.

    Returns:
        One row per round with such answers, and a last one for ``all`` of them: ``round``, ``images``, ``boxes`` that
        the labels hold, ``corrected`` and ``from_nothing`` in seconds, and the share that was ``saved``, negative
        where correcting took longer than drawing.
    """
    ledger = workspace.ledger()
    ledger = ledger[(ledger["status"] == "labelled") & (ledger["annotator"] != IMPORTED)].dropna(subset=["n_added"])
    is_told = ledger["image_id"].isin(table["image_id"]) | (ledger["n_boxes"] + ledger["n_deleted"] == 0)
    rows = []
    for past in workspace.rounds():
        answers = ledger[is_told & (ledger["round"] == past.number)]
        if past.strategy == REVIEW or not len(answers) or (rule := showing_rule(past)) is None:
            continue
        counts = corrections.counts(table[table["round"] == past.number], answers["image_id"])
        drawn = rule.cost.from_nothing(answers["n_boxes"]).sum()
        rows.append((past.number, len(answers), answers["n_boxes"].sum(), rule.cost.seconds(counts).sum(), drawn))
    out = pd.DataFrame(rows, columns=["round", "images", "boxes", "corrected", "from_nothing"])
    if len(out):
        total = out.drop(columns="round").sum().to_frame().T.assign(round="all")
        out = pd.concat([out.astype({"round": object}), total], ignore_index=True)
    out = out.astype({"images": int, "boxes": int, "corrected": float, "from_nothing": float})
    return out.assign(saved=1 - out["corrected"] / out["from_nothing"])


def showing_rule(past: Round) -> ShowingRule | None:
    """Return the rule of what people were shown in a round; None, with a warning, if it is damaged."""
    try:
        return read_showing_rule(past.folder)
    except ValueError as error:
        warn_user(f"{error}; the report goes without what it said of round {past.number}")
        return None


def table_of_savings(savings: pd.DataFrame) -> str | None:
    """Return a table of :func:`savings_by_round` in minutes and percent, as HTML; None without a row."""
    if not len(savings):
        return None
    rows = savings[["round", "images", "boxes"]].copy()
    rows["corrected, min"] = [f"{seconds / 60:.1f}" for seconds in savings["corrected"]]
    rows["drawn from nothing, min"] = [f"{seconds / 60:.1f}" for seconds in savings["from_nothing"]]
    rows["saved, %"] = [_text("{:.0f}", 100 * share) for share in savings["saved"]]
    return rows.to_html(index=False, border=0)


def table_by_class(table: pd.DataFrame) -> str | None:
    """Return what was changed of each class, as HTML; None without corrections."""
    if not len(table):
        return None
    rows = _readable(corrections.summary(table))[["predicted", "kept, %", *_COUNTS[1:], *_HEADINGS]]
    return rows.reset_index().to_html(index=False, border=0)


def corrections_figure(table: pd.DataFrame) -> Figure | None:
    """Draw what became of the predicted boxes, and how far the moved ones were off; None if none was moved."""
    moved = table[table["moved"].astype(bool)]
    if not len(moved):
        return None
    figure = Figure(figsize=(11, 2.6), layout="constrained")
    axes = figure.subplots(1, 3)
    predicted = table[table["what"] != "added"]
    shares = pd.crosstab(predicted["round"], predicted["what"], normalize="index")
    shares = shares.reindex(columns=list(_FATES), fill_value=0)
    bottom = 0 * shares["kept"]
    look = {"edgecolor": "white", "lw": 0, "width": 0.6}
    for part, (colour, hatch) in _FATES.items():
        axes[0].bar(
            shares.index.astype(str), shares[part], bottom=bottom, color=colour, hatch=hatch, label=part, **look
        )
        bottom = bottom + shares[part]
    axes[0].set(xlabel="round", ylabel="share of predicted boxes", ylim=(0, 1))
    axes[0].legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    for ax, name, label in (
        (axes[1], "centre_shift", "centres moved by, pixels"),
        (axes[2], "angle_error", "turned by, degrees"),
    ):
        limit = moved[name].quantile(0.98)
        # The few that are further off are counted in the last bar: they would flatten the others.
        ax.hist(moved[name].clip(upper=limit), bins=25, range=(0, limit or 1), color=OKABE_ITO[0])
        ax.set(xlabel=label, ylabel="moved boxes")
    for ax in axes:
        without_frame(ax)
    return figure


def account_table(folder: Path) -> tuple[str, int] | None:
    """Return the first rows of a round's ``account.csv`` as HTML, and how many it has; None without one."""
    file = folder / "account.csv"
    if not file.exists():
        return None
    rows = pd.read_csv(file, dtype=str, keep_default_na=False)
    filled = [name for name in rows if (rows[name] != "").any()]
    shown = rows[filled].head(ACCOUNT_ROWS)
    if "detail" in shown:
        shown = shown.assign(detail=shown["detail"].map(without_folders))
    return shown.to_html(index=False, border=0, classes="account"), len(rows)


def _readable(summary: pd.DataFrame) -> pd.DataFrame:
    rows = summary.drop(columns=[*_MEASURES, "kept_share"])
    rows["kept, %"] = [_text("{:.0f}", 100 * share) for share in summary["kept_share"]]
    for name, (heading, form) in _MEASURES.items():
        rows[heading] = [_text(form, value) for value in summary[name]]
    return rows


def _text(form: str, value: float) -> str:
    return "" if pd.isna(value) else form.format(value)
