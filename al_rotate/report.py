"""One self-contained HTML page for one loop: curves, costs, and pictures of what was picked and learnt."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from . import images, labelled, plots
from ._files import whole
from .instances import RotatedInstances
from .workspace import Round, Workspace

PICKED = 6  # images shown a round
TESTED = 4  # test images followed through the rounds
SHOWN = 0.3  # least score of a drawn detection


def write_report(workspace: Workspace, path: str | Path | None = None) -> Path:
    """Write the report of a workspace; by default to ``report.html`` in it."""
    path = Path(path) if path else workspace.folder / "report.html"
    history = workspace.history()
    template = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    ).get_template("report.html.j2")
    page = template.render(
        name=workspace.folder.name,
        classes=workspace.classes,
        counts=workspace.counts(),
        metric=_last(history),
        curves=_png(curves_figure(history, workspace.classes)),
        history=_history_table(history),
        effort=_effort(workspace),
        rounds=[_round(workspace, r) for r in workspace.rounds() if r.stage != "new"],
        tested=_png(tested_figure(workspace)),
        shown=SHOWN,
    )
    with whole(path) as file:
        file.write(page)
    return path


def _last(history: pd.DataFrame) -> tuple[float, float] | None:
    known = history["mAP"].dropna() if "mAP" in history else pd.Series(dtype=float)
    return (float(known.iloc[0]), float(known.iloc[-1])) if len(known) else None


def curves_figure(history: pd.DataFrame, classes: tuple[str, ...]) -> Figure | None:
    """mAP against images and boxes, and each class's; None before a round was measured."""
    if "mAP" not in history or history["mAP"].isna().all():
        return None
    figure = Figure(figsize=(11, 3.1), layout="constrained")
    axes = figure.subplots(1, 3)
    plots.learning_curve(history, "n_labelled", ax=axes[0], color="#0a6cff")
    plots.learning_curve(history, "n_boxes", ax=axes[1], color="#0a6cff")
    plots.class_curves(history, classes, ax=axes[2])
    return figure


def _history_table(history: pd.DataFrame) -> str:
    columns = ["round", "stage", "strategy", "n_queried", "n_labelled", "n_skipped", "n_boxes"]
    table = history[columns].copy()
    table["hours"] = (history["cost"] / 3600).map("{:.2f}".format)
    for name in history.columns:
        if name == "mAP" or name.startswith("AP/"):
            table[name] = (history[name] * 100).map(lambda v: "" if pd.isna(v) else f"{v:.1f}")
    return table.to_html(index=False, border=0, na_rep="")


def _effort(workspace: Workspace) -> str | None:
    ledger = workspace.ledger()
    if not len(ledger):
        return None
    columns = ["n_boxes", "n_added", "n_moved", "n_relabelled", "n_deleted"]
    table = ledger.groupby("round")[[*columns, "seconds"]].sum(min_count=1)
    table.insert(0, "images", ledger.groupby("round").size())
    table["minutes"] = (table.pop("seconds") / 60).round(1)
    return table.reset_index().to_html(index=False, border=0, na_rep="not known")


def _round(workspace: Workspace, current: Round) -> dict[str, object]:
    asked = workspace.query(current.number)
    ranking = pd.read_csv(current.folder / "ranking.csv", dtype={"image_id": str}).set_index("image_id")
    found = _detections(current.folder / "detections")
    labels = workspace.labels()
    some = asked["image_id"].tolist()[:PICKED]
    pictures = {image_id: images.read(path) for image_id, path in workspace.paths(some).items()}
    aspect = max(picture.shape[0] / picture.shape[1] for picture in pictures.values())
    figure = Figure(figsize=(1.9 * PICKED, 2 * (1.9 * aspect + 0.25)), layout="constrained")
    axes = figure.subplots(2, PICKED, squeeze=False)
    for column in axes.T:
        for ax in column:
            ax.set_axis_off()
    for column, (image_id, picture) in zip(axes.T, pictures.items(), strict=False):
        before = found[image_id] if found is not None and image_id in found else None
        after = labels[image_id] if image_id in labels else None
        plots.show_boxes(picture, before, ax=column[0], title=image_id, least_score=SHOWN)
        plots.show_boxes(picture, after, ax=column[1], title="labelled" if after else "not labelled yet")
    return {
        "number": current.number,
        "strategy": current.strategy,
        "asked": len(asked),
        "pool": len(ranking),
        "why": [_why(image_id, ranking) for image_id in some],
        "picture": _png(figure),
        "skipped": list(found.skipped.items())[:20] if found is not None else [],
    }


def _why(image_id: str, ranking: pd.DataFrame) -> str:
    row = ranking.loc[image_id]
    parts = [f"rank {row['rank']:.0f} of {len(ranking)}"] if "rank" in row else []
    parts.append(f"score {row['score']:.3f}")
    parts += [f"{n.replace('_', ' ')} {row[n]:.3f}" for n in ranking.columns if "uncertainty" in n and pd.notna(row[n])]
    return f"{image_id}: {', '.join(parts)}, {row['n_boxes']:.0f} predicted boxes"


def tested_figure(workspace: Workspace) -> Figure | None:
    """The same test images after every round: what the rounds have taught. None without a test set."""
    file = workspace.folder / "test.parquet"
    rounds = [r for r in workspace.rounds() if (r.folder / "test_detections").exists() and r.stage == "trained"]
    if not file.exists() or not rounds:
        return None
    labels, files = labelled.read(file)
    chosen = _telling(labels, TESTED)
    if len(rounds) > 4:
        rounds = [rounds[i] for i in np.linspace(0, len(rounds) - 1, 4).round().astype(int)]
    pictures = {image_id: images.read(files[image_id]) for image_id in chosen}
    aspect = max(picture.shape[0] / picture.shape[1] for picture in pictures.values())
    figure = Figure(figsize=(2.6 * len(chosen), (2.6 * aspect + 0.25) * len(rounds) + 0.3), layout="constrained")
    axes = figure.subplots(len(rounds), len(chosen), squeeze=False)
    for row, current in zip(axes, rounds, strict=True):
        found = _detections(current.folder / "test_detections")
        for ax, (image_id, picture) in zip(row, pictures.items(), strict=True):
            one = found[image_id] if found is not None and image_id in found else None
            title = f"round {current.number}: {image_id}"
            plots.show_boxes(picture, one, labels[image_id], ax, title, least_score=SHOWN)
    plots.class_legend(figure, labels.subset(chosen))
    return figure


def _telling(labels: RotatedInstances, n: int) -> list[str]:
    """Up to n images that show as many classes as possible, the rarest first, none of them crowded."""
    frequency = np.bincount(labels.labels, minlength=1)
    chosen: list[str] = []
    seen: set[int] = set()
    for _ in range(min(n, len(labels))):

        def worth(position: int) -> tuple[float, int]:
            one = set(labels.labels[labels.offsets[position] : labels.offsets[position + 1]].tolist())
            return sum(1 / frequency[label] for label in one - seen), -abs(int(labels.counts[position]) - 8)

        left = [k for k in range(len(labels)) if labels.image_ids[k] not in chosen]
        calm = [k for k in left if labels.counts[k] <= 25] or left
        best = max(calm, key=worth)
        chosen.append(labels.image_ids[best])
        seen |= set(labels[chosen[-1]].labels.tolist())
    return chosen


def _detections(folder: Path) -> RotatedInstances | None:
    return RotatedInstances.load(folder) if folder.exists() else None


def _png(figure: Figure | None) -> str | None:
    """The figure as the address of an image inside the page."""
    if figure is None:
        return None
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
