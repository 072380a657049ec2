"""One self-contained HTML page for one loop: curves, costs, and pictures of what was picked and learnt."""

from __future__ import annotations

from pathlib import Path

import jinja2
import pandas as pd

from ..data.instances import SHOWN_SCORE
from ..sampling import stopping
from ..storage.files import atomic_write
from ..workspace import REVIEW, Round, Workspace
from ..workspace import artefacts as _round_files
from ..workspace.progress import advise_on
from . import calibration as _report_scores
from . import corrections as _report_corrections
from .figures import PICKED, _address, _detections, _picked_figure, curves_figure, tested_figure


def write_report(workspace: Workspace, path: str | Path | None = None) -> Path:
    """Write the report of a workspace; by default to ``report.html`` in it."""
    path = Path(path) if path else workspace.folder / "report.html"
    history = workspace.history()
    history = history[history["stage"] != "new"]  # of which there is nothing to tell
    template = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    ).get_template("page.html.j2")
    changes = _report_corrections.current(workspace)
    judged = _report_scores.judged(workspace)
    page = template.render(
        name=workspace.folder.name,
        classes=workspace.classes,
        counts=workspace.counts(),
        metric=_last(history),
        curves=_address(curves_figure(history, workspace.classes), "png"),
        history=_history_table(history, workspace.classes),
        effort=_report_corrections.by_round(workspace, changes),
        changes=_report_corrections.by_class(changes),
        changed=_address(_report_corrections.figure(changes), "png"),
        rounds=[_round(workspace, r) for r in workspace.rounds() if r.stage != "new"],
        advice=advise_on(workspace),
        forecasts=_forecasts(history),
        scores=_report_scores.sentence(judged),
        believed=_address(_report_scores.figure(judged), "png"),
        tested=_address(tested_figure(workspace), "webp"),
        untested=max((r.metrics.get("test_images_skipped", 0) for r in workspace.rounds()), default=0),
        shown=SHOWN_SCORE,
        told=_report_corrections.TOLD,
    )
    with atomic_write(path) as file:
        file.write(page)
    return path


def _last(history: pd.DataFrame) -> tuple[float, float] | None:
    known = history["mAP"].dropna() if "mAP" in history else pd.Series(dtype=float)
    return (float(known.iloc[0]), float(known.iloc[-1])) if len(known) else None


def _history_table(history: pd.DataFrame, classes: tuple[str, ...]) -> str:
    columns = ["round", "stage", "strategy", "n_queried", "n_labelled", "n_skipped", "n_boxes"]
    table = history[columns].rename(columns={"n_queried": "asked"}).rename(columns=_plain)
    table["hours"] = (history["cost"] / 3600).map("{:.2f}".format)
    for name in ["mAP", *(f"AP/{name}" for name in classes)]:
        if name in history:
            table[name.replace("/", " ", 1)] = (history[name] * 100).map(lambda v: "" if pd.isna(v) else f"{v:.1f}")
    return table.to_html(index=False, border=0, na_rep="")


def _forecasts(history: pd.DataFrame) -> str | None:
    """What rounds were forecast to gain beside what they gained, in points, as HTML; None before there is one."""
    table = stopping.forecasts(history) if "mAP" in history else pd.DataFrame()
    if not len(table):
        return None
    points = table[["forecast", "measured"]].mul(100).map(lambda v: "" if pd.isna(v) else f"{v:.1f}")
    return table[["round"]].join(points).to_html(index=False, border=0)


def _plain(column: str) -> str:
    return column.removeprefix("n_")


def _round(workspace: Workspace, current: Round) -> dict[str, object]:
    asked = workspace.query(current.number)
    ranking = pd.read_csv(current.folder / "ranking.csv", converters={"image_id": str})
    again = current.strategy == REVIEW
    found = _detections(current.folder / ("held_out.parquet" if again else "detections"))
    whys = _round_files.read_explanations(current.folder)
    some = asked["image_id"].tolist()[:PICKED]
    return {
        "number": current.number,
        "strategy": current.strategy,
        "asked": len(asked),
        "pool": len(ranking),
        "blind": found is None,
        "again": again,
        "why": [(image_id, whys.get(image_id, "")) for image_id in some],
        "picture": _address(_picked_figure(workspace, asked.head(PICKED), found), "webp"),
        "skipped": list(found.skipped.items())[:20] if found is not None else [],
        "account": _report_corrections.account(current.folder),
    }
