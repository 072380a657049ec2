"""One self-contained HTML page for one loop: learning curves, costs, and pictures of what was queried and learnt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from ..data import SHOWN_SCORE
from ..storage.files import atomic_write
from ..workspace import IMPORTED, LATE, REVIEW, Round, Workspace
from ..workspace.artefacts import read_explanations
from ..workspace.progress import advise_on
from .calibration import describe_scores, judge_scores, reliability_figure
from .corrections import (
    ACCOUNT_ROWS,
    account_table,
    corrections_figure,
    current_corrections,
    table_by_class,
    table_by_round,
)
from .figures import QUERIED_IMAGES, curves_figure, data_url, evaluation_figure, load_detections, query_figure

UNREADABLE_IMAGES = 20  # named per round


def write_report(workspace: Workspace, path: str | Path | None = None) -> Path:
    """Write the report of a workspace, by default to ``report.html`` in it."""
    path = Path(path) if path else workspace.folder / "report.html"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.get_template("page.html.j2").render(**_content(workspace))
    with atomic_write(path) as file:
        file.write(page)
    return path


def _content(workspace: Workspace) -> dict[str, Any]:
    history = workspace.history()
    history = history[history["stage"] != "new"]  # nothing has happened in a new round
    rounds = [r for r in workspace.rounds() if r.stage != "new" and r.strategy not in (IMPORTED, LATE)]
    changes = current_corrections(workspace)
    judged = judge_scores(workspace)
    return {
        "name": workspace.folder.name,
        "classes": workspace.classes,
        "counts": workspace.counts(),
        "shown_score": SHOWN_SCORE,
        "first_and_last_map": _first_and_last_map(history),
        "curves": data_url(curves_figure(history, workspace.classes), "png"),
        "history": _history_table(history, workspace.classes),
        "n_unreadable_test_images": max((r.metrics.get("test_images_skipped", 0) for r in rounds), default=0),
        "changes_by_round": table_by_round(workspace, changes),
        "changes_by_class": table_by_class(changes),
        "changes_figure": data_url(corrections_figure(changes), "png"),
        "advice": advise_on(workspace),
        "scores": describe_scores(judged) if judged else None,
        "reliability": data_url(reliability_figure(judged), "png") if judged else None,
        "test_images": data_url(evaluation_figure(workspace), "webp"),
        "rounds": [_round_content(workspace, r) for r in rounds],
        "account_rows": ACCOUNT_ROWS,
    }


def _round_content(workspace: Workspace, current: Round) -> dict[str, Any]:
    query = workspace.query(current.number)
    ranking = pd.read_csv(current.folder / "ranking.csv", converters={"image_id": str})
    again = current.strategy == REVIEW
    detections = load_detections(workspace, current.folder / ("held_out.parquet" if again else "detections"))
    explanations = read_explanations(current.folder)
    first = query.head(QUERIED_IMAGES)
    return {
        "number": current.number,
        "strategy": current.strategy,
        "n_queried": len(query),
        "n_ranked": len(ranking),
        "untrained": detections is None,
        "again": again,
        "explanations": [(image_id, explanations.get(image_id, "")) for image_id in first["image_id"]],
        "picture": data_url(query_figure(workspace, first, detections), "webp"),
        "unreadable": [] if detections is None else list(detections.skipped.items())[:UNREADABLE_IMAGES],
        "account": account_table(current.folder),
    }


def _first_and_last_map(history: pd.DataFrame) -> tuple[float, float] | None:
    values = history["mAP"].dropna() if "mAP" in history else pd.Series(dtype=float)
    return (float(values.iloc[0]), float(values.iloc[-1])) if len(values) else None


def _history_table(history: pd.DataFrame, classes: tuple[str, ...]) -> str:
    columns = ["round", "stage", "strategy", "n_queried", "n_labelled", "n_skipped", "n_boxes"]
    table = history[columns].rename(columns=lambda name: name.removeprefix("n_"))
    table["hours"] = (history["cost"] / 3600).map("{:.2f}".format)
    for name in ["mAP", *(f"AP/{name}" for name in classes)]:
        if name in history:
            table[name.replace("/", " ", 1)] = (history[name] * 100).map(_one_decimal)
    return table.to_html(index=False, border=0, na_rep="")


def _one_decimal(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.1f}"
