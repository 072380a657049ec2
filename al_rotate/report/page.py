"""One self-contained HTML page for one loop: what a person wants to know first, then pictures, then tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from ..data import SHOWN_SCORE, RotatedInstances
from ..storage.files import atomic_write
from ..workspace import IMPORTED, LATE, REVIEW, Round, Workspace
from .calibration import describe_scores, judge_scores, reliability_figure
from .corrections import (
    ACCOUNT_ROWS,
    account_table,
    corrections_figure,
    current_corrections,
    savings_by_round,
    showing_rule,
    table_by_class,
    table_by_round,
    table_of_savings,
)
from .figures import curves_figure, data_url, evaluation_figure, pool_figure
from .gallery import Gallery
from .gallery.collecting import read_ranking
from .gallery.gallery import environment
from .paths import without_folders
from .summary import answers

UNREADABLE_IMAGES = 20  # named per round
GALLERY_IMAGES, GALLERY_SIDE = 120, 360
GALLERY_BYTES, GALLERY_BOXES = 2_500_000, 12_000  # a report can be sent by mail
GALLERY_PAGE = 20  # images before "Show more"


def write_report(workspace: Workspace, path: str | Path | None = None) -> Path:
    """Write the report of a workspace, by default to ``report.html`` in it: one file, below 5 MB for any pool."""
    path = Path(path) if path else workspace.folder / "report.html"
    page = environment().get_template("page.html.j2").render(**_content(workspace))
    with atomic_write(path) as file:
        file.write(page)
    return path


def _content(workspace: Workspace) -> dict[str, Any]:
    history = workspace.history()
    history = history[history["stage"] != "new"]  # nothing has happened in a new round
    rounds = [r for r in workspace.rounds() if r.stage != "new" and r.strategy not in (IMPORTED, LATE)]
    changes = current_corrections(workspace)
    judged = judge_scores(workspace)
    gallery = Gallery.of(
        workspace,
        most=GALLERY_IMAGES,
        side=GALLERY_SIDE,
        most_bytes=GALLERY_BYTES,
        most_boxes=GALLERY_BOXES,
        judged=judged,
    )
    return {
        "name": workspace.folder.name,
        "classes": workspace.classes,
        "counts": workspace.counts(),
        "answers": answers(workspace),
        "shown_score": SHOWN_SCORE,
        "curves": data_url(curves_figure(history, workspace.classes), "png"),
        "gallery": gallery.to_json(),
        "gallery_page": GALLERY_PAGE,
        "test_images": data_url(evaluation_figure(workspace), "webp"),
        "scores": describe_scores(judged) if judged else None,
        "reliability": data_url(reliability_figure(judged), "png") if judged else None,
        "pool": data_url(pool_figure(workspace), "png"),
        "history": _history_table(history),
        "class_aps": _class_table(history, workspace.classes),
        "n_unreadable_test_images": max((r.metrics.get("test_images_skipped", 0) for r in rounds), default=0),
        "changes_by_round": table_by_round(workspace, changes),
        "changes_by_class": table_by_class(changes),
        "savings": table_of_savings(savings_by_round(workspace, changes)),
        "changes_figure": data_url(corrections_figure(changes), "png"),
        "rounds": [_round_content(workspace, r) for r in rounds],
        "account_rows": ACCOUNT_ROWS,
    }


def _round_content(workspace: Workspace, current: Round) -> dict[str, Any]:
    is_review = current.strategy == REVIEW  # which detects on nothing
    skipped = {} if is_review else _unreadable(current.folder / "detections")
    rule = None if is_review else showing_rule(current)
    return {
        "number": current.number,
        "strategy": current.strategy,
        "n_queried": len(workspace.query(current.number)),
        "n_ranked": len(read_ranking(current)),
        "again": is_review,
        "untrained": not is_review and not (current.folder / "detections").exists(),
        "showing": rule.why if rule else None,
        "n_unreadable": len(skipped),
        "unreadable": list(skipped.items())[:UNREADABLE_IMAGES],
        "account": account_table(current.folder),
    }


def _unreadable(folder: Path) -> dict[str, str]:
    """Return image id -> reason for the images that a round could not detect on."""
    if not folder.exists():
        return {}
    shards = RotatedInstances.stream(folder)
    return {i: without_folders(reason) for shard in shards for i, reason in shard.skipped.items()}


def _history_table(history: pd.DataFrame) -> str:
    columns = ["round", "stage", "strategy", "n_queried", "n_labelled", "n_skipped", "n_boxes"]
    table = history[columns].rename(columns=lambda name: name.removeprefix("n_"))
    table["hours"] = (history["cost"] / 3600).map("{:.2f}".format)
    if "mAP" in history:
        table["mAP"] = (history["mAP"] * 100).map(_one_decimal)
    return table.to_html(index=False, border=0, na_rep="")


def _class_table(history: pd.DataFrame, classes: tuple[str, ...]) -> str | None:
    """The AP of each class (rows) after each round that measured it (columns); None if none did."""
    measured = [name for name in classes if f"AP/{name}" in history]
    if not measured:
        return None
    rounds = history.dropna(subset=[f"AP/{name}" for name in measured], how="all")
    table = pd.DataFrame({"class": measured})
    for _, row in rounds.iterrows():
        table[f"round {row['round']}"] = [_one_decimal(100 * row[f"AP/{name}"]) for name in measured]
    return table.to_html(index=False, border=0)


def _one_decimal(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.1f}"
